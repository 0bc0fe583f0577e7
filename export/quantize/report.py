"""Compare an artifact with its INT8 version on inputs not used for calibration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import QuantizationError
from bimodal.models.contract import label_map, set_of_model
from bimodal.models.emotions import LabelMap
from bimodal.models.session import Artifact

PAIRS = 40
WARM = 3


class Side(msgspec.Struct, frozen=True):
    """One of the two: size of the file, median time of one input on one thread, accuracy (None without labels)."""

    megabytes: float
    milliseconds: float
    accuracy: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Gain and loss of a quantization.

    Attributes:
        speedup: median of time(fp32) / time(INT8) of runs in turn.
        agreement: share of inputs on which both name the same class.
        loss: points of accuracy that INT8 loses; without labels, points of changed answers, an upper bound.
        examples, labelled: number of inputs measured on, and of those with a label that the model knows.
        calibrated_on: number of inputs calibrated on; none of them is measured on.
        reduce_range: True for 7-bit weights, for CPUs without VNNI.
    """

    name: str
    fp32: Side
    int8: Side
    speedup: float
    agreement: float
    loss: float
    examples: int
    labelled: int
    calibrated_on: int
    reduce_range: bool


def compare(
    fp32: Artifact,
    int8: Artifact,
    inputs: Iterable[NDArray[Any]],
    emotions: Sequence[str | None],
    *,
    calibrated_on: int,
    reduce_range: bool,
) -> Report:
    """Run both on every input (batches of one), and time them in turn."""
    labels = label_map(fp32.metadata, set_of_model(fp32.metadata))
    left, right, batch = _answers(fp32, int8, labels, inputs)
    labelled = [number for number, emotion in enumerate(emotions) if emotion in labels.known]
    first, second = (_accuracy(answers, emotions, labelled) for answers in (left, right))
    agreement = float(np.mean([mine == theirs for mine, theirs in zip(left, right, strict=True)]))
    lost = first - second if first is not None and second is not None else 1.0 - agreement
    times = against_the_clock(fp32, int8, batch)
    sides = [
        Side(round(artifact.path.stat().st_size / 1e6, 3), round(float(np.median(taken)) * 1e3, 4), accuracy)
        for artifact, taken, accuracy in zip((fp32, int8), times, (first, second), strict=True)
    ]
    return Report(
        name=int8.metadata.name,
        fp32=sides[0],
        int8=sides[1],
        speedup=round(float(np.median(times[0] / times[1])), 2),
        agreement=round(agreement, 4),
        loss=round(100 * lost, 3),
        examples=len(left),
        labelled=len(labelled),
        calibrated_on=calibrated_on,
        reduce_range=reduce_range,
    )


def require(report: Report, most_loss: float) -> None:
    """Raise QuantizationError if the loss exceeds `most_loss` points."""
    if report.loss > most_loss:
        what = "of accuracy" if report.labelled else "of agreement (there were no labels)"
        raise QuantizationError(
            f"{report.name} loses {report.loss:.2f} points {what} on {report.labelled or report.examples} inputs, more "
            f"than the {most_loss:g} allowed (--most-loss): nothing was written or installed"
        )


def against_the_clock(first: Artifact, second: Artifact, batch: NDArray[Any]) -> NDArray[np.float64]:
    """Time both in turn, so that other load affects both alike: seconds [2, PAIRS]."""
    taken = np.zeros((2, PAIRS + WARM))
    for turn in range(PAIRS + WARM):
        for side, artifact in enumerate((first, second)):
            begin = time.perf_counter()
            artifact.run(**{artifact.inputs[0].name: batch})
            taken[side, turn] = time.perf_counter() - begin
    return taken[:, WARM:]


def card(report: Report, original: Artifact, source: Path) -> str:
    """The model card of the INT8 artifact, in Markdown."""
    metadata = original.metadata
    return (
        f"# {report.name}\n\n{metadata.name} {metadata.version} ({source.name}) in 8-bit integers, made by "
        f"`bimodal export quantize`.\nPreprocessing and softmax are the original's.\n\n"
        f"| | fp32 | INT8 |\n|---|---|---|\n"
        + "".join(f"| {' | '.join(row)} |\n" for row in rows(report))
        + f"\nMeasured on {report.examples} inputs that were not among the {report.calibrated_on} calibrated on.\n\n"
        f"Licence: {metadata.license}. Source: {metadata.source}.\n"
    )


def rows(report: Report) -> list[tuple[str, str, str]]:
    """The rows of the printed table: name, fp32, INT8."""
    return [
        ("size, MB", f"{report.fp32.megabytes:.2f}", f"{report.int8.megabytes:.2f}"),
        ("one input, one thread, ms", f"{report.fp32.milliseconds:.2f}", f"{report.int8.milliseconds:.2f}"),
        ("speed", "1×", f"{report.speedup:.2f}×"),
        ("accuracy", _percent(report.fp32), _percent(report.int8)),
        ("same answer", "", f"{100 * report.agreement:.2f} %"),
        ("loss, points", "", f"{report.loss:.2f}"),
    ]


def _answers(
    fp32: Artifact, int8: Artifact, labels: LabelMap, inputs: Iterable[NDArray[Any]]
) -> tuple[list[str], list[str], NDArray[Any]]:
    """The emotion named by each for every input, and the last input."""
    left: list[str] = []
    right: list[str] = []
    batch = np.zeros(0)
    for batch in inputs:
        for artifact, answers in ((fp32, left), (int8, right)):
            probabilities = labels.apply(artifact.run(**{artifact.inputs[0].name: batch})["probabilities"])[0]
            answers.append(max(probabilities, key=probabilities.__getitem__))
    return left, right, batch


def _percent(side: Side) -> str:
    return "no labels" if side.accuracy is None else f"{100 * side.accuracy:.2f} %"


def _accuracy(answers: Sequence[str], emotions: Sequence[str | None], labelled: Sequence[int]) -> float | None:
    if not labelled:
        return None
    return round(float(np.mean([answers[number] == emotions[number] for number in labelled])), 5)
