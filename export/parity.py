"""Parity: compare a converted model's outputs with the original's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import ParityError
from bimodal.models.session import Artifact

Original = Callable[[Any], Mapping[str, NDArray[Any]]]
"""The original model: a batch of the artifact's input → its outputs under the artifact's names."""

Cases = Mapping[str, Sequence[Any]]
"""Inputs for both, by kind ("random", "real"): batches of any size; of an artifact with several inputs, by name."""


class Difference(msgspec.Struct, frozen=True):
    """Difference of an output of the artifact from the original's.

    Attributes:
        output: name of the output.
        inputs: kind of the inputs ("random", "pictures").
        cases: number of inputs.
        largest: largest absolute difference.
        reach: largest absolute value of the original's output, the scale of `largest`.
        tolerance: greatest acceptable `largest`.
        agreement: share of rows in which both name the same class; None if the output has no classes.
    """

    output: str
    inputs: str
    cases: int
    largest: float
    reach: float
    tolerance: float
    agreement: float | None = None

    def __str__(self) -> str:
        labels = "" if self.agreement is None else f", same label in {100 * self.agreement:.4g} %"
        return (
            f"{self.output} on {self.cases} {self.inputs}: "
            f"at most {self.largest:.1e} of ±{self.reach:.4g} away (tolerance {self.tolerance:.0e}){labels}"
        )


def measure(
    output: str,
    inputs: str,
    ours: Sequence[NDArray[np.floating]],
    original: Sequence[NDArray[np.floating]],
    tolerance: float,
) -> Difference:
    """Compare one output of both over all cases."""
    largest = max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(ours, original, strict=True))
    reach = max(float(np.abs(theirs).max()) for theirs in original)
    return Difference(output, inputs, len(ours), largest, reach, tolerance)


def compare(artifact: Artifact, original: Original, cases: Cases, tolerance: float = 1e-4) -> list[Difference]:
    """Run both on all cases. Returns one difference for every output and kind of input.

    Args:
        tolerance: absolute for probabilities; relative to the reach (at least 1) for every other output.

    Raises ParityError if the shapes differ.
    """
    found = []
    for inputs, batches in cases.items():
        if not batches:
            continue
        theirs = [original(batch) for batch in batches]
        first = artifact.inputs[0].name
        ours = [artifact.run(**(batch if isinstance(batch, dict) else {first: batch})) for batch in batches]
        for output in theirs[0]:
            found.append(
                _compare_output(output, inputs, [o[output] for o in ours], [t[output] for t in theirs], tolerance)
            )
    return found


def _compare_output(
    output: str, inputs: str, ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], tolerance: float
) -> Difference:
    for mine, other in zip(ours, theirs, strict=True):
        if mine.shape != other.shape:
            raise ParityError(f"'{output}' has shape {mine.shape} in the artifact, but {other.shape} in the original")
    mine, other = (np.concatenate(list(values)) for values in (ours, theirs))
    found = measure(output, inputs, [mine], [other], tolerance)
    if output == "probabilities":
        agreement = float((mine.argmax(axis=1) == other.argmax(axis=1)).mean())
        return msgspec.structs.replace(found, cases=len(mine), agreement=agreement)
    return msgspec.structs.replace(found, cases=len(mine), tolerance=tolerance * max(1.0, found.reach))


def require(name: str, differences: Sequence[Difference]) -> None:
    """Raise ParityError, naming the output, if one differs by more than its tolerance (or is not a number)."""
    for difference in differences:
        if not difference.largest <= difference.tolerance:
            raise ParityError(f"{name}: the converted model does not answer as the original: {difference}")


def as_metrics(differences: Sequence[Difference]) -> dict[str, object]:
    """Metrics for the metadata: largest difference by output and kind of input, two digits, and label agreement."""
    metrics: dict[str, object] = {
        f"parity_{item.output}_{item.inputs}": float(f"{item.largest:.1e}") for item in differences
    }
    for item in differences:
        if item.agreement is not None:
            metrics[f"agreement_{item.inputs}"] = round(item.agreement, 4)
    return metrics
