"""Pieces that work on spectra: log-mel power and MFCC, as librosa computes them.

The DFT is a matrix product on folded frames: a periodic Hann window is symmetric, so the even and the odd half of a
frame carry its cosine and its sine part, which halves work and weights against a plain matrix or convolution.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from export.frontends.draft import Draft
from export.frontends.framing import Padding, frames, padded
from export.frontends.levels import Count, Positive

Matrix = NDArray[np.float64]


class Mel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the power in mel bands is computed, in the words of librosa.feature.melspectrogram.

    Attributes:
        rate: Hz that the mel filters believe the sound to have.
        fft, window, hop: samples of the transform, of the Hann window in its middle (0: as many as the transform) and
            between two frames.
        bands, lowest, highest: number of mel bands (Slaney's), and their ends in Hz (0: half the rate).
        centre: whether frames are centred on their time, with half a transform added on both sides.
        padding: what is added there.
    """

    rate: Count
    fft: Annotated[int, Meta(ge=4, le=65_536, multiple_of=2)] = 2048
    window: Annotated[int, Meta(ge=0, le=65_536, multiple_of=2)] = 0
    hop: Count = 512
    bands: Count = 128
    lowest: Annotated[float, Meta(ge=0)] = 0.0
    highest: Annotated[float, Meta(ge=0)] = 0.0
    centre: bool = True
    padding: Padding = "constant"

    def power(self, draft: Draft, waveform: str) -> str:
        """[N, S] → power in bands, [N, T, bands]."""
        half = self.fft // 2
        sound = padded(draft, waveform, half, self.padding) if self.centre else waveform
        places = np.arange(half + 1)
        forward, mirrored = frames(draft, sound, self.fft, self.hop, [places, (self.fft - places) % self.fft])
        cosines, sines = self._transforms()
        real = draft.node("MatMul", draft.node("Add", forward, mirrored), draft.floats(cosines))
        imaginary = draft.node("MatMul", draft.node("Sub", forward, mirrored), draft.floats(sines))
        power = draft.node("Add", draft.node("Mul", real, real), draft.node("Mul", imaginary, imaginary))
        return draft.node("MatMul", power, draft.floats(self._filters().T))

    def _transforms(self) -> tuple[Matrix, Matrix]:
        """Windowed cosines and sines, each [fft / 2 + 1 places, fft / 2 + 1 frequencies]."""
        half = self.fft // 2
        places = np.arange(half + 1)
        angles = 2 * np.pi * (np.outer(places, np.arange(half + 1)) % self.fft) / self.fft
        size = self.window or self.fft
        inside = places - (self.fft - size) // 2
        window = np.where(inside >= 0, 0.5 - 0.5 * np.cos(2 * np.pi * inside / size), 0.0)
        window[[0, half]] /= 2  # these two places are their own mirror images, and would count twice
        return window[:, None] * np.cos(angles), window[:, None] * np.sin(angles)

    def _filters(self) -> NDArray[np.float32]:
        import librosa

        found: NDArray[Any] = librosa.filters.mel(
            sr=self.rate, n_fft=self.fft, n_mels=self.bands, fmin=self.lowest, fmax=self.highest or None
        )
        return found


class Decibels(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power in decibels, in the words of librosa.power_to_db, for each of the batch by itself.

    Attributes:
        reference: the power that is 0 dB: 1, or the largest there is.
        floor: smaller powers count as this one.
        top_db: nothing lies further below the largest; None for no such limit.
    """

    reference: Literal["one", "largest"] = "one"
    floor: Positive = 1e-10
    top_db: Positive | None = 80.0

    def of(self, draft: Draft, power: str) -> str:
        """[N, T, bands] → the same shape."""
        logarithm = draft.node("Log", draft.node("Max", power, draft.floats(self.floor)))
        decibels = draft.node("Mul", logarithm, draft.floats(10 / np.log(10)))
        largest = draft.node("ReduceMax", decibels, draft.integers([1, 2]))
        if self.reference == "largest":
            decibels = draft.node("Sub", decibels, largest)
        if self.top_db is None:
            return decibels
        above = draft.floats(-self.top_db)
        lowest = above if self.reference == "largest" else draft.node("Add", largest, above)
        return draft.node("Max", decibels, lowest)


class LogMel(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="log_mel"):
    """librosa.power_to_db(librosa.feature.melspectrogram(…)), transposed: [N, S] → [N, T, bands]."""

    mel: Mel
    decibels: Decibels = Decibels()

    def __call__(self, draft: Draft, source: str) -> str:
        return self.decibels.of(draft, self.mel.power(draft, source))


class Mfcc(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="mfcc"):
    """librosa.feature.mfcc (DCT-II, ortho), transposed: [N, S] → [N, T, coefficients]."""

    mel: Mel
    coefficients: Count = 13
    decibels: Decibels = Decibels()

    def __call__(self, draft: Draft, source: str) -> str:
        bands = self.decibels.of(draft, self.mel.power(draft, source))
        return draft.node("MatMul", bands, draft.floats(cosine_transform(self.mel.bands)[: self.coefficients].T))


def cosine_transform(size: int) -> Matrix:
    """DCT-II with orthonormal rows, [size, size] (frequencies first)."""
    frequencies, places = np.arange(size)[:, None], np.arange(size)[None, :]
    matrix: Matrix = np.sqrt(2 / size) * np.cos(np.pi * frequencies * (2 * places + 1) / (2 * size))
    matrix[0] /= np.sqrt(2)
    return matrix
