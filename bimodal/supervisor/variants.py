"""Which variant of the models a config means on this machine."""

from __future__ import annotations

from bimodal.config import Config
from bimodal.models.catalog import resolve
from bimodal.models.precision import Choice, choice_here


def choice_of(config: Config, here: Choice | None = None) -> Choice:
    """The variant that `runtime.precision` means; `here`: what suits this machine by itself.

    A dynamic face model learnt from embeddings in floating point: `auto` keeps to these where there is one.
    """
    chosen = here or choice_here(config.runtime.precision, config.runtime.provider)
    if config.runtime.precision == "auto" and chosen.precision == "int8" and config.models.face_dynamic != "none":
        return chosen._replace(precision="fp32", reason="auto: the dynamic face model learnt from floating point")
    return chosen


def file_of(config: Config, name: str) -> str:
    """Path of a configured model's file, in that variant. Raises CatalogError."""
    return str(resolve(name, precision=choice_of(config).precision))
