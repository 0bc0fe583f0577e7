"""One speech window: gated for the right reason, or read without a number going wrong."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bimodal.models.emotions import EMOTIONS
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.audio.pipeline import NO_VOICE, NOT_ENOUGH, TOO_QUIET, SpeechPipeline, SpeechReading
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.errors import WorkerError
from tests.artifacts import make_speech, without_numbers
from tests.workers.audio.sound import noise, tone

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)


def is_sound(reading: SpeechReading) -> bool:
    """Never NaN, either gated or a distribution, and never both."""
    if not 0.0 <= reading.voice <= 1.0:
        return False
    if (reading.quality is None) != (reading.probabilities is None):
        return False
    if reading.probabilities is None:
        return reading.reason in (NO_VOICE, NOT_ENOUGH, TOO_QUIET)
    values = list(reading.probabilities.values())
    whole = math.isclose(sum(values), 1.0, abs_tol=1e-5)
    return reading.reason is None and whole and all(0.0 <= value <= 1.0 for value in values)


@settings(max_examples=150, deadline=None)
@given(
    seconds=st.floats(0, 5),
    rate=st.sampled_from(RATES) | st.integers(4_000, 192_000),
    dbfs=st.floats(-130, 3),
    fresh_s=st.floats(0, 6),
    lead_in_s=st.floats(0, 5),
)
def test_any_window_gives_a_sound_reading(
    tiny_speech: Artifact,
    tiny_voice_activity: Artifact,
    seconds: float,
    rate: int,
    dbfs: float,
    fresh_s: float,
    lead_in_s: float,
) -> None:
    pipeline = SpeechPipeline(tiny_speech, tiny_voice_activity, AudioSettings(lead_in_s=lead_in_s))
    window = noise(seconds, rate, dbfs)
    reading = pipeline(window, rate, round(fresh_s * rate))
    assert is_sound(reading)
    if reading.probabilities is not None:
        assert window.size / rate >= 0.5
        assert reading.voice >= AudioSettings().minimum_voice_share


@settings(max_examples=100, deadline=None)
@given(
    samples=hnp.arrays(np.float32, st.integers(0, 9_000), elements=st.floats(width=32)),
    rate=st.sampled_from(RATES),
    fresh=st.integers(-10, 10_000),
)
def test_any_numbers_at_all_give_a_sound_reading(
    pipeline: SpeechPipeline, samples: np.ndarray, rate: int, fresh: int
) -> None:
    assert is_sound(pipeline(samples, rate, fresh))


@pytest.mark.parametrize("rate", RATES)
def test_loud_sound_is_read(pipeline: SpeechPipeline, rate: int) -> None:
    reading = pipeline(tone(3.0, rate, -10.0), rate, rate // 4)
    assert reading.reason is None
    assert reading.voice == 1.0
    assert reading.probabilities is not None
    assert max(reading.probabilities, key=reading.probabilities.__getitem__) == "sad"
    assert set(reading.probabilities) == set(EMOTIONS)


def without_measures(reading: SpeechReading) -> SpeechReading:
    """A reading without its loudness, which every hop has (test_prosody.py)."""
    return msgspec.structs.replace(reading, measures=None)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("dbfs", [-120.0, -80.0, -61.0])
def test_silence_is_too_quiet(pipeline: SpeechPipeline, rate: int, dbfs: float) -> None:
    reading = pipeline(tone(3.0, rate, dbfs), rate, rate // 4)
    assert without_measures(reading) == SpeechReading(voice=0.0, probabilities=None, reason=TOO_QUIET)


def test_digital_silence_with_a_constant_offset_is_too_quiet(pipeline: SpeechPipeline) -> None:
    assert pipeline(np.full(48_000, 0.2, np.float32), 16_000, 4_000).reason == TOO_QUIET


def test_sound_above_the_floor_without_voice_is_no_voice(pipeline: SpeechPipeline) -> None:
    assert pipeline(tone(3.0, 16_000, -50.0), 16_000, 4_000).reason == NO_VOICE


def test_a_short_window_with_voice_is_not_enough_yet(pipeline: SpeechPipeline) -> None:
    assert pipeline(tone(0.45, 16_000, -10.0), 16_000, 4_000).reason == NOT_ENOUGH
    assert pipeline(tone(0.5, 16_000, -10.0), 16_000, 4_000).reason is None


def test_a_window_with_hardly_any_voice_is_not_enough_yet(pipeline: SpeechPipeline) -> None:
    click = np.concatenate([tone(2.872, 16_000, -90), tone(0.128, 16_000, -10)])
    assert without_measures(pipeline(click, 16_000, 4_096)) == SpeechReading(
        voice=0.5, probabilities=None, reason=NOT_ENOUGH
    )


@pytest.mark.parametrize(("lead_in_s", "heard_s"), [(0.0, 0.992), (0.5, 1.492), (9.0, 3.0)])
def test_older_silence_is_cut_off(tiny_speech: Artifact, lead_in_s: float, heard_s: float) -> None:
    """The tiny model answers by loudness, so it tells how much silence it heard before 31 steps of voice."""
    window = np.concatenate([np.zeros(32_128, np.float32), noise(0.992, 16_000, -20)])
    pipeline = SpeechPipeline(tiny_speech, None, AudioSettings(lead_in_s=lead_in_s))
    uncut = tiny_speech.run(waveform=window[None, -round(heard_s * 16_000) :])["probabilities"][0]
    assert list((pipeline(window, 16_000, 8_000).probabilities or {}).values()) == pytest.approx(uncut, abs=1e-5)


def test_the_model_gets_its_shortest_window_whatever_is_cut(tmp_path: Path) -> None:
    speech = open_artifact(make_speech(tmp_path / "model.onnx", minimum_window_s=2.0), provider="cpu")
    window = np.concatenate([np.zeros(40_000, np.float32), noise(0.5, 16_000, -20)])
    pipeline = SpeechPipeline(speech, None, AudioSettings(lead_in_s=0.0))
    uncut = speech.run(waveform=window[None, -32_000:])["probabilities"][0]
    assert list((pipeline(window, 16_000, 8_000).probabilities or {}).values()) == pytest.approx(uncut, abs=1e-5)


def test_a_graph_of_one_length_gets_its_window_uncut_or_filled_up(tmp_path: Path) -> None:
    speech = open_artifact(make_speech(tmp_path / "model.onnx", samples=32_000), provider="cpu")
    pipeline = SpeechPipeline(speech, None, AudioSettings(lead_in_s=0.0))
    short, window = noise(1.0, 16_000, -20), np.zeros(48_000, np.float32)
    window[-16_000:] = short
    expected = speech.run(waveform=window[None, -32_000:])["probabilities"][0]
    for sound in (short, window):
        assert list((pipeline(sound, 16_000, 8_000).probabilities or {}).values()) == pytest.approx(expected, abs=1e-5)


def test_several_models_are_averaged_each_on_its_own_window(tmp_path: Path) -> None:
    """Other lengths, rates and labels; an emotion that a model can't name is averaged over those that can."""
    long = open_artifact(make_speech(tmp_path / "long.onnx", window_s=2.0), provider="cpu")
    labels = ("neutral", "happy", "sad", "angry", "fear", "disgust")
    short = open_artifact(
        make_speech(tmp_path / "short.onnx", window_s=1.0, sample_rate=8_000, labels=labels, name="other"),
        provider="cpu",
    )
    window = np.concatenate([noise(1.0, 16_000, -40), noise(1.0, 16_000, -15)])
    settings = AudioSettings(lead_in_s=4.0)
    alone = [SpeechPipeline(each, None, settings)(window, 16_000, 8_000).probabilities or {} for each in (long, short)]
    both = SpeechPipeline([long, short], None, settings)(window, 16_000, 8_000).probabilities or {}
    assert sum(both.values()) == pytest.approx(1.0)
    mixed = {emotion: np.mean([each[emotion] for each in alone if emotion in each]) for emotion in alone[0]}
    total = sum(mixed.values())
    assert both == pytest.approx({emotion: value / total for emotion, value in mixed.items()}, abs=1e-3)
    assert "surprise" not in alone[1]
    assert "surprise" in both


def test_no_sound_at_all_is_not_enough_yet(pipeline: SpeechPipeline) -> None:
    assert pipeline(np.zeros(0, np.float32), 16_000, 0).reason == NOT_ENOUGH


@pytest.mark.parametrize(("old_dbfs", "new_dbfs", "reason"), [(-10, -90, TOO_QUIET), (-90, -10, None)])
def test_only_the_newest_hop_opens_the_gate(
    pipeline: SpeechPipeline, old_dbfs: float, new_dbfs: float, reason: str | None
) -> None:
    window = np.concatenate([tone(2.5, 16_000, old_dbfs), tone(0.5, 16_000, new_dbfs)])
    assert pipeline(window, 16_000, 8_000).reason == reason


def test_voice_is_the_share_of_the_hop(pipeline: SpeechPipeline) -> None:
    window = np.concatenate([tone(2.0, 16_000, -90), tone(0.512, 16_000, -10)])
    assert pipeline(window, 16_000, 16_384).voice == pytest.approx(0.5, abs=0.04)


def test_only_the_last_window_seconds_reach_the_model(tmp_path: Path, tiny_voice_activity: Artifact) -> None:
    speech = open_artifact(make_speech(tmp_path / "model.onnx", window_s=1.0), provider="cpu")
    pipeline = SpeechPipeline(speech, tiny_voice_activity, AudioSettings())
    late, window = tone(1.0, 16_000, -20), np.concatenate([tone(9.0, 16_000, -1), tone(1.0, 16_000, -20)])
    assert pipeline(window, 16_000, 4_000).probabilities == pipeline(late, 16_000, 4_000).probabilities


def test_foreign_labels_become_the_seven_emotions(tmp_path: Path, tiny_voice_activity: Artifact) -> None:
    path = make_speech(tmp_path / "model.onnx", labels=("calm", "contempt", "angry", "neutral"))
    pipeline = SpeechPipeline(open_artifact(path, provider="cpu"), tiny_voice_activity, AudioSettings())
    reading = pipeline(tone(3.0, 16_000, -10.0), 16_000, 4_000)
    assert is_sound(reading)
    assert set(reading.probabilities or {}) == {"neutral", "anger"}


def test_without_voice_activity_sound_above_the_floor_is_voice(tiny_speech: Artifact) -> None:
    pipeline = SpeechPipeline(tiny_speech, None, AudioSettings())
    assert pipeline(noise(3.0, 16_000, -40.0), 16_000, 4_000).voice == 1.0
    half = np.concatenate([noise(2.0, 16_000, -90), noise(1.0, 16_000, -40)])
    assert pipeline(half, 16_000, 32_000).voice == pytest.approx(0.5, abs=0.05)
    assert pipeline(noise(3.0, 16_000, -90.0), 16_000, 4_000).reason == TOO_QUIET


def test_settings_move_the_gate(tiny_speech: Artifact, tiny_voice_activity: Artifact) -> None:
    sound = tone(3.0, 16_000, -50.0)
    deaf = AudioSettings(energy_floor_dbfs=-45.0)
    assert SpeechPipeline(tiny_speech, tiny_voice_activity, deaf)(sound, 16_000, 4_000).reason == TOO_QUIET
    keen = AudioSettings(voice_threshold=0.0)
    assert SpeechPipeline(tiny_speech, tiny_voice_activity, keen)(sound, 16_000, 4_000).reason is None


def test_an_answer_that_is_no_number_is_an_error_and_no_silence(
    tiny_speech: Artifact, tiny_voice_activity: Artifact
) -> None:
    sound = tone(3.0, 16_000, -20.0)
    for speech, voice in (
        (without_numbers(tiny_speech, "probabilities"), tiny_voice_activity),
        (tiny_speech, without_numbers(tiny_voice_activity, "probability")),
    ):
        with pytest.raises(ArtifactError, match="answered with something that is no number"):
            SpeechPipeline(speech, voice, AudioSettings())(sound, 16_000, 4_000)


@pytest.mark.parametrize(("shape", "rate"), [((100, 2), 16_000), ((100,), 0), ((100,), -1)])
def test_what_is_no_mono_sound_is_refused(pipeline: SpeechPipeline, shape: tuple[int, ...], rate: int) -> None:
    with pytest.raises(WorkerError, match="must be mono with a rate"):
        pipeline(np.zeros(shape, np.float32), rate, 10)
