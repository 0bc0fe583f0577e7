"""Metadata of the models of a config: the emotions of its results, and whether the models fit them and each other."""

from __future__ import annotations

import functools
from pathlib import Path

from bimodal.config import Config
from bimodal.config.schema import DETAILS
from bimodal.models.catalog import resolve
from bimodal.models.contract import Kind, Metadata, check_required, check_space, fused_labels, used_labels
from bimodal.models.emotions import EmotionSet, further_names
from bimodal.models.errors import MissingModelError
from bimodal.models.scan import metadata_of, output_names
from bimodal.supervisor.variants import file_of
from bimodal.workers.audio.settings import check_windows

AFFECT = "arousal_dominance_valence"
"""Output of speech models that give dominance."""


def set_of_config(config: Config) -> EmotionSet:
    """What the results of a config are about.

    Raises CatalogError where a model is unknown, ArtifactError where one is no artifact, or knows none of the emotions;
    or where a fusion model that is used does not know exactly them.
    """
    found: dict[str, None] = {}
    dominance = False
    for kind, name in _named(config):
        if kind in SAYING:
            path = Path(resolve(name))
            metadata, outputs = _fitting(kind, path, config)
            found |= dict.fromkeys(_further(metadata, config))
            dominance = dominance or (kind == "speech" and AFFECT in outputs)
    return EmotionSet(config.emotions, tuple(found), dominance)


def check_models(config: Config) -> list[str]:
    """Check the models of a config by their metadata, without opening them: their kinds and labels, and whether they go
    together.

    Returns why models that are not on this machine were not checked, a sentence each. Raises ArtifactError where one is
    no artifact or does not fit, CatalogError for a file of another format, ConfigError where `capture.window_s` is too
    short for one.
    """
    models = config.models
    missing: list[str] = []
    found: dict[str, Metadata] = {}
    for kind, name in _named(config):
        try:
            path = Path(file_of(config, name))
        except MissingModelError as error:
            missing.append(str(error))
            continue
        found[name], _ = _fitting(kind, path, config)
        check_required(found[name], str(path))
    dynamic, static = found.get(models.face_dynamic), found.get(models.face_static[0])
    if dynamic is not None and static is not None:
        check_space(dynamic, file_of(config, models.face_dynamic), static.embedding_space)
    check_windows([found[name] for name in models.voices if name in found], config.capture.window_s)
    return missing


SAYING: tuple[Kind, ...] = ("face-static", "speech", "face-dynamic", "fusion")
"""The kinds whose labels are emotions."""


def _named(config: Config) -> list[tuple[Kind, str]]:
    """The models that a config names, by kind; a fusion model only where it is used."""
    models = config.models
    details = DETAILS if models.face_details == "on" else models.face_details
    named: list[tuple[Kind, str]] = [("face-static", name) for name in models.face_static]
    named += [("speech", name) for name in models.voices]
    named += [
        ("face-dynamic", models.face_dynamic),
        ("fusion", models.fusion if config.fusion.strategy == "learned" else "none"),
        ("face-detector", models.face_detector),
        ("face-landmarks", models.face_landmarks),
        ("voice-activity", models.voice_activity if models.voices else "none"),
    ]
    if isinstance(details, tuple):
        named += [("face-landmarks", details[0]), ("face-blendshapes", details[1])]
    return [(kind, name) for kind, name in named if name != "none"]


def _fitting(kind: Kind, path: Path, config: Config) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata and names of outputs of a file. Raises ArtifactError where its kind or its labels do not fit."""
    status, chosen = path.stat(), EmotionSet(config.emotions)
    metadata, outputs = _read(path, kind, (status.st_mtime_ns, status.st_size))
    if kind == "fusion":
        fused_labels(metadata, path, chosen)
    elif kind in SAYING:
        used_labels(metadata, path, chosen)
    return metadata, outputs


@functools.lru_cache(maxsize=64)
def _read(path: Path, kind: Kind, _version: tuple[int, int]) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata and names of outputs of a file, read once for each of its versions."""
    return metadata_of(path, kind), tuple(output_names(path)) if kind == "speech" else ()


def _further(metadata: Metadata, config: Config) -> list[str]:
    """The categories that a model knows and that count."""
    labels, own = metadata.labels or (), metadata.categories or ()
    match config.categories:
        case "auto":
            return further_names(labels, own, config.emotions)
        case "none":
            return []
        case names:
            wanted = EmotionSet(config.emotions, names)
            known = {wanted.meant_by(label, own) for label in labels}
            return [name for name in names if name in known]
