"""card.md beside an artifact: what its metadata say, in words. A card that a person wrote is left alone."""

from __future__ import annotations

import json
from pathlib import Path

from bimodal.models.contract import Metadata
from bimodal.training.loop import Say

MARK = "<!-- written by bimodal train; edit it, remove this line, and it will not be written over -->"

TITLES = {"conditions": "UAR of the centre window, heard under", "uar_folds": "UAR of the fold that leaves out"}
"""What the card calls figures that have names of their own."""

LIMITS = """## Limits
- Labels of acted or found examples: a shown emotion is not a felt one. Do not use this to judge people.
- Figures hold for people like those of the data, recorded like them."""


def write_card(folder: Path, metadata: Metadata, command: str, say: Say, about: str = "") -> None:
    """Write `folder`/card.md from an artifact's metadata, unless a person wrote the one that lies there.

    Args:
        command: that made the artifact.
        about: what only the maker knows, in words.
    """
    path = folder / "card.md"
    if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
        say(f"{path} was written by hand and stays as it is: compare its figures with the artifact's")
        return
    path.write_text(card_of(metadata, command, about), encoding="utf-8")


def card_of(metadata: Metadata, command: str, about: str = "") -> str:
    """The card's text."""
    metrics = dict(metadata.metrics or {})
    protocol, learnt = metrics.pop("protocol", ""), metrics.pop("trained_on", [])
    recall, intervals = metrics.pop("recall", {}), metrics.pop("recall_95", {})
    plain = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    lines = [
        MARK, f"# {metadata.name}", "",
        f"A {metadata.kind} model, version {metadata.version}: {metadata.source}. {about}".rstrip(), "",
        "| | |", "|---|---|", *_facts(metadata), "",
        "## Data and licence", f"{metadata.license}.",
        f"Trained on: {', '.join(str(part) for part in learnt) if isinstance(learnt, list) else learnt}.", "",
        "## Figures", f"{protocol}.", "",
        "| " + " | ".join(plain) + " |", "|" + "---|" * len(plain),
        "| " + " | ".join(str(value) for value in plain.values()) + " |", "",
    ]  # fmt: skip
    if isinstance(recall, dict) and recall:
        lines += ["| recall of | " + " | ".join(recall) + " |", "|---" * (len(recall) + 1) + "|"]
        lines += ["| | " + " | ".join(str(value) for value in recall.values()) + " |"]
        if isinstance(intervals, dict) and intervals:
            ends = [" – ".join(map(str, intervals.get(label, []))) for label in recall]
            lines += ["| 95 % interval (Wilson) | " + " | ".join(ends) + " |"]
        lines += [""]
    for name, value in metrics.items():
        if name not in plain:
            lines += [*_further(name, value), ""]
    return "\n".join([*lines, f"    {command}", "", LIMITS, ""])


def _further(name: str, value: object) -> list[str]:
    if isinstance(value, dict) and value and all(isinstance(figure, int | float) for figure in value.values()):
        rows = [f"| {what} | {figure} |" for what, figure in value.items()]
        return [f"| {TITLES.get(name, name)} | |", "|---|---|", *rows]
    return [f"{name}: {json.dumps(value, ensure_ascii=False)}"]


def _facts(metadata: Metadata) -> list[str]:
    facts: dict[str, object] = {
        "labels": ", ".join(metadata.labels or ()),
        "embedding space": metadata.embedding_space,
        "sample rate": metadata.sample_rate,
        "longest and shortest window, s": (
            f"{metadata.window_s}, {metadata.minimum_window_s}" if metadata.minimum_window_s else metadata.window_s
        ),
        "seconds between two steps": metadata.interval_s,
        "temperature, already applied": metadata.temperature,
    }
    if metadata.crop is not None:
        crop = metadata.crop
        facts["crop"] = f"{crop.scale} × the mesh's box, moved by {crop.shift_y} heights, eyes level: {crop.rotate}"
    return [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
