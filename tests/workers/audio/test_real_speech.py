"""Real voices through the artifacts that ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr

from bimodal.models.session import Artifact
from bimodal.workers.audio.pipeline import NO_VOICE, TOO_QUIET, SpeechPipeline, SpeechReading
from bimodal.workers.audio.settings import AudioSettings
from tests.workers.audio.sound import noise, read, tone

HOP_S = 0.25


def readings(pipeline: SpeechPipeline, sound: np.ndarray, rate: int) -> list[SpeechReading]:
    """One reading for every hop, as capture cuts windows."""
    hop, window = round(HOP_S * rate), 3 * rate
    return [pipeline(sound[max(0, end - window) : end], rate, hop) for end in range(hop, sound.size + 1, hop)]


def label(reading: SpeechReading) -> str | None:
    chances = reading.probabilities
    return None if chances is None else max(chances, key=chances.__getitem__)


@pytest.fixture
def listening(tiny_speech: Artifact, silero: Artifact) -> SpeechPipeline:
    """Real voice activity before a tiny speech model: what is heard, not what it means."""
    return SpeechPipeline(tiny_speech, silero, AudioSettings())


@pytest.mark.shared
@pytest.mark.parametrize("clip", ["grid_bbaf2n.mpg", "grid_brbk7n.mpg", "grid_lbax4n.mpg", "mead_W015_neutral.mp4"])
def test_people_in_clips_are_heard(shared: Path, listening: SpeechPipeline, clip: str) -> None:
    found = readings(listening, read(shared / "data" / "clips" / clip, 44_100), 44_100)
    assert max(reading.voice for reading in found) > 0.9
    assert any(reading.probabilities is not None for reading in found)


@pytest.mark.shared
def test_actors_are_heard_and_the_silence_around_them_is_not(shared: Path, listening: SpeechPipeline) -> None:
    clips = [
        shared / "data" / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.flac"
        for actor in (1, 2)
        for emotion in (1, 3, 5, 8)
    ]
    for clip in clips:
        found = readings(listening, read(clip, 16_000), 16_000)
        assert found[0].reason == TOO_QUIET
        assert max(reading.voice for reading in found) == 1.0


@pytest.mark.shared
def test_a_room_without_a_voice_is_not_heard(shared: Path, listening: SpeechPipeline) -> None:
    found = readings(listening, read(shared / "data" / "clips" / "pyfeat_no_face.mp4", 48_000), 48_000)
    assert {reading.reason for reading in found} == {NO_VOICE}


@pytest.mark.parametrize("dbfs", [-20.0, -40.0])
def test_noise_and_tones_are_no_voice(listening: SpeechPipeline, dbfs: float) -> None:
    for sound in (noise(3.0, 16_000, dbfs), tone(3.0, 16_000, dbfs)):
        assert {reading.reason for reading in readings(listening, sound, 16_000)} == {NO_VOICE}


@pytest.mark.shared
def test_the_rate_of_the_source_hardly_matters(shared: Path, speech_compact: Artifact, silero: Artifact) -> None:
    """What 8 kHz leaves out (over 4 kHz) may change a word here and there; 44.1 and 48 kHz may not."""
    pipeline = SpeechPipeline(speech_compact, silero, AudioSettings())
    agreed: dict[int, list[bool]] = {8_000: [], 44_100: [], 48_000: []}
    for clip in sorted((shared / "data" / "ravdess" / "Actor_03").glob("*-01-01-03.flac")):
        sound = read(clip, 16_000)[:36_000]
        plain = label(pipeline(sound, 16_000, 4_000))
        for rate, same in agreed.items():
            changed = soxr.resample(sound, 16_000, rate)
            same.append(plain is not None and label(pipeline(changed, rate, rate // 4)) == plain)
    assert np.mean(agreed[44_100]) > 0.8
    assert np.mean(agreed[48_000]) > 0.8
    assert np.mean(agreed[8_000]) > 0.3
