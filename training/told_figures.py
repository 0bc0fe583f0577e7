"""Figures as the evaluating commands print them. Heavy imports wait until a command runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bimodal.models.contract import Crop
    from bimodal.training.evaluate import Evaluation
    from bimodal.training.live_crop import Comparison

ENOUGH = 50
"""Recalls of classes with fewer examples are too rough to be averaged with the others."""


def tell(evaluation: Evaluation, out: Path | None, json: Path | None) -> None:
    """Print an evaluation, and write what was asked for."""
    from bimodal.training.report import figures_json, write_json, write_report

    for line in lines_of(evaluation):
        typer.echo(line)
    if json is not None:
        write_json(json, figures_json(evaluation))
    if out is not None:
        typer.echo(f"report: {write_report(out, f'{evaluation.model} on {evaluation.data}', [evaluation])}")


def lines_of(evaluation: Evaluation) -> Iterator[str]:
    """What is printed of an evaluation."""
    from bimodal.training.metrics import mean_recall, per_class

    figures = evaluation.figures
    yield f"{evaluation.model} on {evaluation.data}, n = {figures.n}: {evaluation.protocol}"
    if evaluation.seen_in_training:
        yield "the model was trained on some of this data: these are no figures to report"
    yield (
        f"accuracy {figures.accuracy:.4f}  UAR {figures.uar:.4f}  macro F1 {figures.macro_f1:.4f}  "
        f"ECE {figures.ece:.4f}"
    )
    for label, row in per_class(figures).items():
        yield f"  recall of {label:<9}{row['recall']:.3f}  ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']})"
    mean, classes = mean_recall(figures, ENOUGH)
    if 0 < len(classes) < len(per_class(figures)):
        yield f"mean recall of those with {ENOUGH} examples or more: {mean:.4f} ({', '.join(classes)})"
    for protocol, other in evaluation.further.items():
        yield f"{protocol} (n = {other.n}): accuracy {other.accuracy:.4f}  UAR {other.uar:.4f}"
    for name, heard in evaluation.conditions.items():
        yield f"centre windows under {name}: UAR {heard:.4f}"
    if evaluation.cost is not None:
        cost = evaluation.cost
        yield (
            f"{cost.milliseconds:.2f} ms of one core an answer to {'×'.join(map(str, cost.of))} values (median of "
            f"{cost.answers}, one at a time); {cost.megabytes:.2f} MB"
        )
    yield "confusion (rows true, columns found)"
    width = max(len(label) for label in figures.labels)
    for label, counts in zip(figures.labels, figures.confusion, strict=True):
        yield f"  {label:>{width}} " + " ".join(f"{count:5d}" for count in counts)


def crop_table(comparison: Comparison) -> Iterator[str]:
    """Crops compared, as a Markdown table."""
    groups = [f"{name}: frames right (n = {count})" for name, count in comparison.frames.items()]
    pictures = f"(n = {comparison.pictures:,})"
    yield "| " + " | ".join(["crop", f"accuracy {pictures}", f"UAR {pictures}", *groups]) + " |"
    yield "|---" * (3 + len(groups)) + "|"
    learnt = comparison.rows[0].crop
    for row in comparison.rows:
        figures = [row.accuracy, row.uar, *row.clips.values()]
        yield "| " + " | ".join([_words(row.crop, learnt), *(f"{100 * value:.1f} %" for value in figures)]) + " |"


def _words(crop: Crop, learnt: Crop) -> str:
    if crop == learnt:
        return f"as the model asks: {crop.scale} × the mesh's box, moved by {crop.shift_y}, " + _turned(crop)
    if crop.rotate != learnt.rotate:
        return _turned(crop)
    if crop.shift_y != learnt.shift_y:
        return f"moved by {crop.shift_y:g}"
    return f"{crop.scale:g} × the mesh's box"


def _turned(crop: Crop) -> str:
    return "eyes level" if crop.rotate else "not turned"
