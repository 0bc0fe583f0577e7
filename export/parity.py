"""Does a converted model answer as its original does?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.errors import ParityError


class Difference(msgspec.Struct, frozen=True):
    """How far an output of the artifact lies from the original's.

    Attributes:
        output: name of the output.
        inputs: what was fed ("random", "pictures").
        cases: how many inputs.
        largest: largest absolute difference.
        reach: largest absolute value of the original's output, so that `largest` can be judged.
        tolerance: what `largest` may be.
    """

    output: str
    inputs: str
    cases: int
    largest: float
    reach: float
    tolerance: float

    def __str__(self) -> str:
        return (
            f"{self.output} on {self.cases} {self.inputs}: "
            f"at most {self.largest:.1e} of ±{self.reach:.4g} away (tolerance {self.tolerance:.0e})"
        )


def measure(
    output: str,
    inputs: str,
    ours: Sequence[NDArray[np.floating]],
    original: Sequence[NDArray[np.floating]],
    tolerance: float,
) -> Difference:
    """Compare the same output of both for every case."""
    largest = max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(ours, original, strict=True))
    reach = max(float(np.abs(theirs).max()) for theirs in original)
    return Difference(output, inputs, len(ours), largest, reach, tolerance)


def require(name: str, differences: Sequence[Difference]) -> None:
    """Raises ParityError naming the first output that is further away than its tolerance (or not a number)."""
    for difference in differences:
        if not difference.largest <= difference.tolerance:
            raise ParityError(f"{name}: the converted model does not answer as the original: {difference}")


def as_metrics(differences: Sequence[Difference]) -> dict[str, object]:
    """For the metadata: largest difference by output and kind of input, two digits."""
    return {f"parity_{item.output}_{item.inputs}": float(f"{item.largest:.1e}") for item in differences}
