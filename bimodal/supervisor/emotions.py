"""The set of emotions of a config: what its results are about, by what its models know."""

from __future__ import annotations

import functools
from pathlib import Path

from bimodal.config import Config
from bimodal.models.catalog import resolve
from bimodal.models.contract import Kind, Metadata, fused_labels, used_labels
from bimodal.models.emotions import EmotionSet, further_names
from bimodal.models.scan import metadata_of, output_names

AFFECT = "arousal_dominance_valence"
"""Output of speech models that give dominance."""


def set_of_config(config: Config) -> EmotionSet:
    """What the results of a config are about.

    Raises CatalogError where a model is unknown, ArtifactError where one is no artifact, or knows none of the emotions;
    or where a fusion model that is used does not know exactly them.
    """
    models = config.models
    named: list[tuple[Kind, str]] = [("face-static", name) for name in models.face_static]
    named += [("speech", name) for name in models.voices]
    named += [("face-dynamic", models.face_dynamic)] if models.face_dynamic != "none" else []
    chosen = EmotionSet(config.emotions)
    found: dict[str, None] = {}
    dominance = False
    for kind, name in named:
        path = Path(resolve(name))
        status = path.stat()
        metadata, outputs = _read(path, kind, (status.st_mtime_ns, status.st_size))
        used_labels(metadata, path, chosen)
        found |= dict.fromkeys(_further(metadata, config))
        dominance = dominance or (kind == "speech" and AFFECT in outputs)
    if config.fusion.strategy == "learned":
        path = Path(resolve(models.fusion))
        fused_labels(metadata_of(path, "fusion"), path, chosen)
    return EmotionSet(config.emotions, tuple(found), dominance)


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
