"""What a converted Keras network and its original are compared on: random and real inputs, one and five at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.faces import as_numpy
from bimodal.export.frontends.speech import SpeechFrontend
from bimodal.export.keras_recipe import FaceFrontend
from bimodal.export.real_inputs import faces_of, sounds_of

Cases = dict[str, list[NDArray[Any]]]


def cases(frontend: SpeechFrontend | FaceFrontend, real: Sequence[Path]) -> Cases:
    """Batches of the artifact's input, by kind.

    Args:
        real: sounds or pictures; none leaves real inputs out.

    Raises SourceModelError where a file can't be read.
    """
    if isinstance(frontend, SpeechFrontend):
        size = round(frontend.window_s * frontend.sample_rate)
        drawn: NDArray[Any] = np.stack([made_sound(size, frontend.sample_rate, seed) for seed in range(5)])
        found = [_fitted(sound, size) for sound in sounds_of(real, frontend.sample_rate)]
        given: NDArray[Any] = np.stack(found) if found else drawn[:0]
    else:
        shape = (5, frontend.size, frontend.size, 3)
        drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        given = faces_of(real, frontend.crop, frontend.size)
    return {"random": one_and_five(drawn), "real": one_and_five(given)}


def reference(frontend: SpeechFrontend | FaceFrontend, batch: NDArray[Any]) -> NDArray[np.float32]:
    """What the original would have been fed: librosa's features, or numpy's pixels.

    Raises SourceModelError where the steps of a front end do not fit together.
    """
    if isinstance(frontend, FaceFrontend):
        return as_numpy(frontend.pixels, batch)
    from bimodal.export.frontends.reference import features

    try:
        return np.stack([features(frontend, waveform) for waveform in batch])
    except Exception as error:  # librosa, numpy and scipy each raise their own where steps do not fit together
        reason = " ".join(str(error).split())[:300]
        raise SourceModelError(f"the front end's steps do not fit together: {reason}") from error


def one_and_five(inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """The first one alone, then all in batches of five."""
    return [inputs[:1], *(inputs[n : n + 5] for n in range(0, len(inputs), 5))] if len(inputs) else []


def made_sound(size: int, rate: int, seed: int) -> NDArray[np.float32]:
    """float32 [size]: noise and a gliding tone between stretches of near-silence, the same every time."""
    random = np.random.default_rng(seed)
    time = np.arange(size) / rate
    tone = np.sin(2 * np.pi * (100 + 60 * seed) * time * (1 + 0.1 * time))
    begin, end = np.sort(random.uniform(0, time[-1], 2))
    envelope = np.where((time >= begin) & (time <= end), 0.2, 2e-4)
    return (envelope * (tone + 0.5 * random.standard_normal(size))).astype(np.float32)


def _fitted(sound: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.pad(sound[:size], (0, max(0, size - sound.size)))
