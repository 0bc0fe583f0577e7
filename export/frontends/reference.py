"""The same front ends with librosa, numpy and scipy, one waveform at a time: the reference for the graphs."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray

from bimodal.export.frontends.layout import AddChannel, MeanOfFeatures, Stack, Stretch, Turn
from bimodal.export.frontends.levels import Fit, Rms, Scale, Standardise, Trim, ZeroCrossings
from bimodal.export.frontends.spectrum import Decibels, LogMel, Mel, Mfcc
from bimodal.export.frontends.speech import SpeechFrontend

Array = NDArray[Any]


def features(frontend: SpeechFrontend, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the features of a waveform float32 [S]: float32, without the batch axis."""
    values: Array = waveform
    for step in frontend.steps:
        values = apply(step, values)
    return np.ascontiguousarray(values, np.float32)


@singledispatch
def apply(step: object, values: Array) -> Array:  # noqa: ARG001
    """Apply a step to one waveform [S] or to features [T, F]."""
    raise TypeError(f"no reference for {type(step).__name__}")


@apply.register
def _(step: Scale, values: Array) -> Array:
    scaled: Array = values * np.float32(step.by)
    return scaled


@apply.register
def _(step: Standardise, values: Array) -> Array:
    exact: Array = values.astype(np.float64)
    standardised: Array = (exact - exact.mean()) / np.sqrt(exact.var() + step.epsilon)
    return standardised


@apply.register
def _(step: Trim, values: Array) -> Array:
    trimmed, _ = librosa.effects.trim(values, top_db=step.top_db, frame_length=step.frame, hop_length=step.hop)
    return np.pad(trimmed, (0, values.size - trimmed.size))


@apply.register
def _(step: Fit, values: Array) -> Array:
    return librosa.util.fix_length(values, size=step.samples)


@apply.register
def _(step: Rms, values: Array) -> Array:
    return librosa.feature.rms(y=values, frame_length=step.frame, hop_length=step.hop).T


@apply.register
def _(step: ZeroCrossings, values: Array) -> Array:
    return librosa.feature.zero_crossing_rate(values, frame_length=step.frame, hop_length=step.hop).T


@apply.register
def _(step: LogMel, values: Array) -> Array:
    return _decibels(step.decibels, _mel(step.mel, values)).T


@apply.register
def _(step: Mfcc, values: Array) -> Array:
    return librosa.feature.mfcc(
        S=_decibels(step.decibels, _mel(step.mel, values)), sr=step.mel.rate, n_mfcc=step.coefficients
    ).T


@apply.register
def _(step: Stack, values: Array) -> Array:
    return np.concatenate([apply(feature, values) for feature in step.of], axis=1)


@apply.register
def _(step: Stretch, values: Array) -> Array:
    places = np.linspace(0, len(values) - 1, step.steps)
    return np.stack([np.interp(places, np.arange(len(values)), column) for column in values.T], axis=1)


@apply.register
def _(step: MeanOfFeatures, values: Array) -> Array:  # noqa: ARG001
    means: Array = values.mean(axis=1, keepdims=True)
    return means


@apply.register
def _(step: Turn, values: Array) -> Array:  # noqa: ARG001
    return values.T


@apply.register
def _(step: AddChannel, values: Array) -> Array:  # noqa: ARG001
    return values[..., None]


def _mel(mel: Mel, values: Array) -> Array:
    return librosa.feature.melspectrogram(
        y=values,
        sr=mel.rate,
        n_fft=mel.fft,
        win_length=mel.window or None,
        hop_length=mel.hop,
        n_mels=mel.bands,
        fmin=mel.lowest,
        fmax=mel.highest or None,
        center=mel.centre,
        pad_mode=mel.padding,
    )


def _decibels(decibels: Decibels, power: Array) -> Array:
    reference = np.max if decibels.reference == "largest" else 1.0
    return librosa.power_to_db(power, ref=reference, amin=decibels.floor, top_db=decibels.top_db)
