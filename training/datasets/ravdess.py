"""RAVDESS speech (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391), always split by actor.

On disk: `Actor_*/03-01-EE-II-SS-RR-AA.flac` or `.wav`: modality 03 (sound only), channel 01 (speech), emotion,
intensity, statement, repetition, actor. Files of song (channel 02) and of other modalities are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS, emotion_of
from bimodal.training.errors import DatasetError

SAMPLE_RATE = 16_000
EMOTION_CODES = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
SUFFIXES = (".flac", ".wav")
VOICE_DB = 35.0
FAINTEST = 1e-10
"""Smallest power, −100 dB."""
NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


@dataclass(frozen=True)
class Clip:
    """One recording: path, actor, and the acted emotion as index into EMOTIONS; calm counts as neutral.

    `voice` names the speaker of another data set than RAVDESS, as in `emo-db/03`.
    """

    path: Path
    actor: int
    emotion: int
    voice: str = ""

    @property
    def part(self) -> str:
        """Its part of the data set, as named in an artifact's `trained_on`."""
        return self.voice or f"ravdess/Actor_{self.actor:02d}"


@dataclass(frozen=True)
class Recording:
    """A decoded clip.

    Attributes:
        waveform: float32 [S], mono, 16 kHz, −1…1.
        voice: (first, last + 1) sample of the voice: the stretch within 35 dB of the loudest 32 ms.
        rate: samples a second.
    """

    clip: Clip
    waveform: NDArray[np.float32]
    voice: tuple[int, int]
    rate: int = SAMPLE_RATE


def load_ravdess(folder: Path, rate: int = SAMPLE_RATE) -> tuple[Recording, ...]:
    """Load every speech clip under `folder`. Raises DatasetError as find_clips and decode do."""
    return tuple(record(clip, decode(clip.path, rate), rate) for clip in find_clips(folder))


def record(clip: Clip, waveform: NDArray[np.float32], rate: int = SAMPLE_RATE) -> Recording:
    """Make a recording, locating its voice."""
    return Recording(clip, waveform, voice_bounds(waveform, rate), rate)


def voice_bounds(waveform: NDArray[np.float32], rate: int) -> tuple[int, int]:
    """Locate the voice in float32 [S], S at least 1: (first, last + 1) sample; (0, S) for silence.

    The stretch from the first to the last 32 ms frame (one each 10 ms) within 35 dB of the loudest, as
    librosa.effects.trim(top_db=35).
    """
    frame, hop = round(0.032 * rate), round(0.01 * rate)
    squares = np.pad(waveform, frame // 2) ** 2
    power = np.maximum(sliding_window_view(squares, frame)[::hop].mean(axis=1), FAINTEST)
    loud = np.flatnonzero(10 * np.log10(power / power.max()) > -VOICE_DB)
    return int(loud[0]) * hop, min(len(waveform), (int(loud[-1]) + 1) * hop)


def parse_name(path: Path) -> Clip | None:
    """Parse a file name: its clip, or None if it is not sound-only speech.

    Raises DatasetError for a name that is not RAVDESS's.
    """
    match = NAME.fullmatch(path.stem)
    if match is None or match[3] not in EMOTION_CODES:
        raise DatasetError(f"{path} is not named as RAVDESS names its files (03-01-EE-II-SS-RR-AA)")
    if (match[1], match[2]) != ("03", "01"):
        return None
    emotion = emotion_of(EMOTION_CODES[match[3]])
    return Clip(path, int(match[7]), EMOTIONS.index(str(emotion)))


def find_clips(folder: Path) -> tuple[Clip, ...]:
    """Find every speech clip under `folder`, sorted by actor and name.

    Raises DatasetError if there is none.
    """
    paths = [path for path in folder.glob("Actor_*/*") if path.suffix.lower() in SUFFIXES]
    clips = [clip for path in paths if (clip := parse_name(path)) is not None]
    if not clips:
        raise DatasetError(f"{folder} holds no RAVDESS speech: it needs Actor_*/03-01-….flac or .wav")
    return tuple(sorted(clips, key=lambda clip: (clip.actor, clip.path.name)))


def actor_folds(actors: Sequence[int], folds: int) -> Iterator[tuple[frozenset[int], frozenset[int]]]:
    """(actors to train on, actors to validate on) for each fold; every actor is validated on exactly once.

    Neighbouring actors share a fold, so that an even number has as many men (odd) as women (even).
    Raises DatasetError if there are fewer actors than folds, or fewer than two folds.
    """
    names = sorted(set(actors))
    if not 2 <= folds <= len(names):
        raise DatasetError(f"{folds} folds need 2 folds and as many actors at least, but there are {len(names)} actors")
    for part in np.array_split(np.array(names), folds):
        validation = frozenset(int(actor) for actor in part)
        yield frozenset(names) - validation, validation


def decode(path: Path, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Decode the first sound track as float32 [S], mono, resampled to `rate` Hz, −1…1.

    Raises DatasetError if the file is missing or holds no sound.
    """
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    parts: list[NDArray[np.float32]] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                parts.extend(_samples(resampler.resample(frame)))
            parts.extend(_samples(resampler.resample(None)))
    except (av.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"{path} can't be decoded: {error}") from error
    if not parts:
        raise DatasetError(f"{path} holds no sound")
    return np.concatenate(parts)


def _samples(frames: Sequence[av.AudioFrame]) -> list[NDArray[np.float32]]:
    return [np.asarray(frame.to_ndarray(), dtype=np.float32).reshape(-1) for frame in frames]
