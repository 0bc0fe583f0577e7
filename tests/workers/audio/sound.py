"""Sound for tests: made here, or read from a media file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def tone(seconds: float, rate: int, dbfs: float, frequency: float = 220.0) -> NDArray[np.float32]:
    """A sine whose root mean square level is `dbfs`."""
    times = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * frequency * times) * np.sqrt(2) * 10 ** (dbfs / 20)
    return np.asarray(wave, dtype=np.float32)


def noise(seconds: float, rate: int, dbfs: float) -> NDArray[np.float32]:
    """White noise, the same every time."""
    generator = np.random.default_rng(7)
    return (generator.standard_normal(round(seconds * rate)) * 10 ** (dbfs / 20)).astype(np.float32)


def read(path: Path, rate: int) -> NDArray[np.float32]:
    """The sound of a media file, mono."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    samples: NDArray[np.float32] = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return samples
