"""How a voice sounds in one hop: pitch, loudness, voiced share, and speaking rate over the window. Pure numpy."""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import VoiceMeasures

FRAME_S, STEP_S = 0.04, 0.01
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
"""Range of the pitch of voices, from low men's to high children's."""
APERIODIC = 0.15
"""Largest aperiodicity of a voiced frame; YIN's own threshold is 0.1 to 0.15."""
SILENT_DB = 35.0
"""Frames so much below the loudest one of the hop have no pitch."""
LEAST_FRAMES = 3
"""Fewer voiced frames of a hop than this are chance."""
FLOOR_DB = -120.0


def loudness_of(hop: NDArray[np.float32], rate: int) -> VoiceMeasures:
    """Measure the loudness of a hop, float32 [n], mono, −1…1, at `rate` Hz; nothing of it is a voice."""
    return VoiceMeasures(
        voiced=0.0,
        loudness_dbfs=_decibels(float(np.mean(np.square(hop, dtype=np.float64)))) if hop.size else FLOOR_DB,
        loudness_lufs=loudness_lufs(hop, rate),
    )


def with_voice(
    loudness: VoiceMeasures,
    heard: NDArray[np.float32],
    rate: int,
    hop_s: float,
    voiced: NDArray[np.bool_],
    step_s: float,
) -> VoiceMeasures:
    """Add pitch, voiced share and speaking rate to the loudness of a window's newest hop.

    Args:
        heard: the window, float32 [n], mono, at `rate` Hz.
        hop_s: seconds of the hop, at the window's end.
        voiced: which steps of `step_s` hold voice; the last one ends where the sound ends.
    """
    size = max(1, round(hop_s * rate))
    pitch = fundamental(heard[-(size + round(FRAME_S * rate)) :], rate)
    with_pitch = pitch[pitch > 0]
    enough = with_pitch.size >= LEAST_FRAMES
    low, middle, high = np.percentile(with_pitch, (10, 50, 90)).tolist() if enough else (None, None, None)
    return msgspec.structs.replace(
        loudness,
        f0_hz=middle,
        f0_low_hz=low,
        f0_high_hz=high,
        voiced=float(with_pitch.size / pitch.size) if pitch.size else 0.0,
        rate_hz=speaking_rate(heard, rate, voiced, step_s),
    )


# Pitch: YIN


def fundamental(sound: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Fundamental frequency in Hz every 10 ms, float64 [frames]; 0 where a frame has none.

    YIN: A. de Cheveigné and H. Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111
    (2002): the first dip of the cumulative mean normalised difference function below a threshold, refined by a
    parabola. Lone jumps by an octave are taken out by a median over three frames.

    Args:
        sound: float32 [n], mono, at `rate` Hz.
    """
    frame, step = round(FRAME_S * rate), max(1, round(STEP_S * rate))
    longest, shortest = math.ceil(rate / LOWEST_HZ) + 1, max(2, math.floor(rate / HIGHEST_HZ))
    if sound.size < frame or longest >= frame:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), frame)[::step]
    frames = frames - frames.mean(axis=1, keepdims=True)
    normalised = _normalised_difference(frames, longest)
    inside = normalised[:, shortest:longest]
    dips = (inside[:, 1:-1] < inside[:, :-2]) & (inside[:, 1:-1] <= inside[:, 2:])
    deep = dips & (inside[:, 1:-1] < APERIODIC)
    energy = np.square(frames).sum(axis=1)
    loud = energy > max(float(energy.max()) * 10 ** (-SILENT_DB / 10), 1e-9 * frame)
    found = deep.any(axis=1) & loud
    lag = shortest + 1 + np.argmax(deep, axis=1)
    rows = np.arange(len(frames))
    before, at, after = (normalised[rows, lag + shift] for shift in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend > 0, (before - after) / np.where(bend > 0, 2 * bend, 1.0), 0.0)
    pitch: NDArray[np.float64] = np.where(found, rate / (lag + shift), 0.0)
    return _smoothed(pitch)


def _normalised_difference(frames: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """YIN's d′(τ) of frames [N, size] for lags 0 … longest, [N, longest + 1]."""
    count, size = frames.shape
    width = size - longest
    length = 1 << (size + width - 1).bit_length()
    spectrum = np.fft.rfft(frames, length)
    window = np.fft.rfft(frames[:, :width], length)
    correlation = np.fft.irfft(spectrum * window.conj(), length)[:, : longest + 1]
    squares = np.concatenate((np.zeros((count, 1)), np.cumsum(np.square(frames), axis=1)), axis=1)
    power = squares[:, width : width + longest + 1] - squares[:, : longest + 1]
    difference = np.maximum(power[:, :1] + power - 2 * correlation, 0.0)
    difference[:, 0] = 0.0
    mean = np.cumsum(difference, axis=1) / np.maximum(1, np.arange(longest + 1))
    normalised: NDArray[np.float64] = np.ones_like(difference)
    np.divide(difference, mean, out=normalised, where=mean > 0)
    normalised[:, 0] = 1.0
    return normalised


def _smoothed(pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace a frame by the median of it and its neighbours where all three have a pitch."""
    if pitch.size < 3:
        return pitch
    around = np.stack((pitch[:-2], pitch[1:-1], pitch[2:]))
    whole = (around > 0).all(axis=0)
    smoothed = pitch.copy()
    smoothed[1:-1] = np.where(whole, np.median(around, axis=0), pitch[1:-1])
    return smoothed


# Loudness

# ITU-R BS.1770-4: the two stages of the K-weighting at 48 kHz, as (b, a).
_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
K_RATE = 48_000
K_OFFSET = -0.691


def loudness_lufs(sound: NDArray[np.float32], rate: int) -> float:
    """Loudness of mono float32 [n] in LUFS: ITU-R BS.1770-4 without gates, over all of it; at least −120.

    The K-weighting is applied to the spectrum: it weights the energy of each frequency.
    """
    if sound.size == 0:
        return FLOOR_DB
    power = np.square(np.abs(np.fft.rfft(sound.astype(np.float64))))
    power[1 : (sound.size + 1) // 2] *= 2
    # A product of vectors would wake the threads of BLAS, for more CPU time than all else here takes.
    weighted = float(np.sum(power * _k_weights(sound.size, rate))) / sound.size**2
    return max(FLOOR_DB, _decibels(weighted) + K_OFFSET)


@lru_cache(maxsize=8)
def _k_weights(size: int, rate: int) -> NDArray[np.float64]:
    """Power response of the K-weighting for the frequencies of a spectrum of `size` samples at `rate` Hz."""
    frequencies = np.minimum(np.fft.rfftfreq(size, 1 / rate), K_RATE / 2)
    turn = np.exp(-2j * math.pi * frequencies / K_RATE)
    powers = np.stack((np.ones_like(turn), turn, turn**2))
    response: NDArray[np.float64] = np.ones_like(frequencies)
    for above, below in (_SHELF, _HIGH_PASS):
        response *= np.square(np.abs((np.array(above) @ powers) / (np.array(below) @ powers)))
    return response


def _decibels(mean_square: float) -> float:
    return max(FLOOR_DB, 10 * math.log10(max(mean_square, 1e-30)))


# Speaking rate

DIP_DB = 2.0
BELOW_PEAK_DB = 20.0
LEAST_VOICE_S = 0.5
SMOOTHING_S = 0.06


def speaking_rate(sound: NDArray[np.float32], rate: int, voiced: NDArray[np.bool_], step_s: float) -> float | None:
    """Syllables per second of voice, estimated; None with less than half a second of voice.

    Syllable nuclei as peaks of the intensity with dips of 2 dB between them, in voiced parts (N. H. de Jong and
    T. Wempe, "Praat script to detect syllable nuclei and measure speech rate automatically", Behavior Research Methods
    41 (2009)).

    Args:
        sound: float32 [n], mono, at `rate` Hz.
        voiced: which steps of `step_s` hold voice; the last one ends where the sound ends.
    """
    voice_s = float(np.count_nonzero(voiced)) * step_s
    step = max(1, round(STEP_S * rate))
    count = sound.size // step
    if voice_s < LEAST_VOICE_S or count < 3:
        return None
    blocks = np.square(sound[sound.size - count * step :].astype(np.float64)).reshape(count, step).mean(axis=1)
    kernel = np.hanning(round(SMOOTHING_S / STEP_S) + 3)[1:-1]
    level = 10 * np.log10(np.maximum(np.convolve(blocks, kernel / kernel.sum(), mode="same"), 1e-12))
    places = voiced.size - 1 - ((count - 1 - np.arange(count)) * STEP_S / step_s).astype(int)
    speaks = np.where(places >= 0, voiced[np.maximum(places, 0)], False)
    if not speaks.any():
        return None
    least = float(level[speaks].max()) - BELOW_PEAK_DB
    return _peaks(level, speaks & (level >= least)) / voice_s


def _peaks(level: NDArray[np.float64], allowed: NDArray[np.bool_]) -> int:
    """Number of peaks of a course in dB with a dip of at least DIP_DB between any two, counted where allowed."""
    found, highest, place, lowest = 0, -math.inf, 0, math.inf
    rising = True
    for index, value in enumerate(level.tolist()):
        if rising:
            if value > highest:
                highest, place = value, index
            elif highest - value >= DIP_DB:
                found += bool(allowed[place])
                rising, lowest = False, value
        elif value < lowest:
            lowest = value
        elif value - lowest >= DIP_DB:
            rising, highest, place = True, value, index
    return found + bool(rising and highest > -math.inf and allowed[place] and lowest < math.inf)
