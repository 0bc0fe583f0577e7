"""Sound from the source's own rate to a model's rate."""

from __future__ import annotations

from typing import cast

import numpy as np
import soxr
from numpy.typing import NDArray

from bimodal.workers.audio.settings import Quality


def resample(samples: NDArray[np.float32], rate: int, wanted_rate: int, quality: Quality) -> NDArray[np.float32]:
    """float32 [n] at `rate` Hz → float32 [round(n · wanted_rate / rate)] at `wanted_rate` Hz, in one shot."""
    if rate == wanted_rate or samples.size == 0:
        return samples
    return cast("NDArray[np.float32]", soxr.resample(samples, rate, wanted_rate, quality=quality))


def newest(samples: NDArray[np.float32], seconds: float, rate: int) -> NDArray[np.float32]:
    """The last `seconds` of a window, or all of it where it is shorter."""
    return samples[max(0, samples.size - round(seconds * rate)) :]
