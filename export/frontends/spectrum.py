"""Pieces that work on spectra: log-mel power and MFCC, as librosa computes them.

The DFT is a matrix product on folded frames. Cosines are equal, and sines opposite, at a sample and its mirror image in
the frame; even and odd frequencies are again equal or opposite at the mirror image in a half. Folding twice leaves a
quarter of the work and weights of a plain matrix or convolution.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.levels import Count, Padding, Positive, frames, padded, part

Matrix = NDArray[np.float64]


class Mel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of power in mel bands, as in librosa.feature.melspectrogram.

    Attributes:
        rate: sample rate in Hz that the mel filters assume.
        fft, window, hop: samples of the transform, of the Hann window in its middle (0: as many as the transform) and
            between two frames.
        bands, lowest, highest: number of mel bands (Slaney's), and their ends in Hz (0: half the rate).
        centre: centre frames on their time, with half a transform of padding on both sides.
        padding: the kind of padding.
    """

    rate: Count
    fft: Annotated[int, Meta(ge=4, le=65_536, multiple_of=4)] = 2048
    window: Annotated[int, Meta(ge=0, le=65_536, multiple_of=2)] = 0
    hop: Count = 512
    bands: Count = 128
    lowest: Annotated[float, Meta(ge=0)] = 0.0
    highest: Annotated[float, Meta(ge=0)] = 0.0
    centre: bool = True
    padding: Padding = "constant"

    def power(self, draft: Draft, waveform: str) -> str:
        """Power in bands: [N, S] → [N, T, bands]."""
        sound = padded(draft, waveform, self.fft // 2, self.padding) if self.centre else waveform
        filters = self._filters().T
        even, odd = (
            draft.node("MatMul", power, draft.floats(filters[first::2]))
            for first, power in enumerate(self._spectrum(draft, sound))
        )
        return draft.node("Add", even, odd)

    def _spectrum(self, draft: Draft, sound: str) -> tuple[str, str]:
        """Power of [N, P] at even and odd frequencies: [N, T, fft / 4 + 1] and [N, T, fft / 4]."""
        half, quarter = self.fft // 2, self.fft // 4
        framed = frames(draft, sound, self.fft, self.hop)
        outer = part(draft, framed, 0, quarter)
        # Sample 0 is its own mirror image and its window is 0: it is only a placeholder.
        mirror = part(draft, framed, self.fft - 1, self.fft - quarter)
        outer_mirror = draft.node("Concat", part(draft, framed, 0, 0), mirror, axis=2)
        inner, inner_mirror = part(draft, framed, half, quarter), part(draft, framed, half, half + quarter)
        outer_window, inner_window = (draft.floats(window) for window in self._windows())

        def folded(operator: str) -> tuple[str, str]:
            """Sum and difference of the two quarters of a frame, each combined with its mirror image."""
            first = draft.node("Mul", draft.node(operator, outer, outer_mirror), outer_window)
            second = draft.node("Mul", draft.node(operator, inner, inner_mirror), inner_window)
            return draft.node("Add", first, second), draft.node("Sub", first, second)

        cosine_even, cosine_odd = folded("Add")
        sine_odd, sine_even = folded("Sub")
        return (
            self._power_at(draft, cosine_even, sine_even, np.arange(0, half + 1, 2)),
            self._power_at(draft, cosine_odd, sine_odd, np.arange(1, half + 1, 2)),
        )

    def _power_at(self, draft: Draft, cosine: str, sine: str, frequencies: NDArray[np.int64]) -> str:
        angles = 2 * np.pi * (np.outer(np.arange(self.fft // 4 + 1), frequencies) % self.fft) / self.fft
        real = draft.node("MatMul", cosine, draft.floats(np.cos(angles)))
        imaginary = draft.node("MatMul", sine, draft.floats(np.sin(angles)))
        return draft.node("Add", draft.node("Mul", real, real), draft.node("Mul", imaginary, imaginary))

    def _windows(self) -> tuple[Matrix, Matrix]:
        """The Hann window from a frame's end to its quarter, and from its middle to its quarter."""
        half, quarter = self.fft // 2, self.fft // 4
        size = self.window or self.fft
        inside = np.arange(half + 1) - (self.fft - size) // 2
        window = np.where(inside >= 0, 0.5 - 0.5 * np.cos(2 * np.pi * inside / size), 0.0)
        window[[0, quarter, half]] /= 2  # these places are the mirror images of themselves, and would count twice
        return window[: quarter + 1], window[: quarter - 1 : -1]

    def _filters(self) -> NDArray[np.float32]:
        import librosa

        found: NDArray[Any] = librosa.filters.mel(
            sr=self.rate, n_fft=self.fft, n_mels=self.bands, fmin=self.lowest, fmax=self.highest or None
        )
        return found


class Decibels(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power in decibels, as in librosa.power_to_db, for each item of the batch by itself.

    Attributes:
        reference: the power at 0 dB: 1, or the largest.
        floor: smallest power.
        top_db: greatest distance below the largest; None for no limit.
    """

    reference: Literal["one", "largest"] = "one"
    floor: Positive = 1e-10
    top_db: Positive | None = 80.0

    def of(self, draft: Draft, power: str) -> str:
        """Convert [N, T, bands] to decibels, same shape."""
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
