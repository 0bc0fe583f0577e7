"""Loudness, and voice activity over the end of a window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.audio.pipeline import SILENCE_DBFS, VoiceActivity, level_dbfs, loud_steps
from tests.artifacts import make_voice_activity
from tests.workers.audio.sound import tone


@given(dbfs=st.floats(-110, -3.1))
def test_level_of_a_tone(dbfs: float) -> None:
    assert level_dbfs(tone(1.0, 16_000, dbfs)) == pytest.approx(dbfs, abs=0.05)


@pytest.mark.parametrize("size", [0, 1, 500])
def test_level_of_silence_is_a_number(size: int) -> None:
    assert level_dbfs(np.zeros(size, np.float32)) == SILENCE_DBFS


def test_loud_steps_end_where_the_sound_ends() -> None:
    sound = np.concatenate([tone(0.070, 16_000, -80), tone(0.032, 16_000, -20), tone(0.064, 16_000, -80)])
    assert loud_steps(sound, 16_000, -60.0).tolist() == [False, False, False, True, False, False]


def test_no_sound_has_no_loud_step() -> None:
    assert loud_steps(np.zeros(0, np.float32), 16_000, -60.0).tolist() == [False]


def test_steps_end_where_the_sound_ends(tiny_voice_activity: Artifact) -> None:
    """Of 1,536 samples with only the last 512 loud, the last step alone is voice."""
    sound = np.concatenate([np.zeros(64 + 1_024, np.float32), tone(0.032, 16_000, -10)])
    probabilities = VoiceActivity(tiny_voice_activity, "HQ").probabilities(sound, 16_000)
    assert (probabilities > 0.5).tolist() == [False, False, True]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 576, 577])
def test_short_sound_is_filled_up_with_silence_before_it(tiny_voice_activity: Artifact, size: int) -> None:
    probabilities = VoiceActivity(tiny_voice_activity, "HQ").probabilities(np.ones(size, np.float32), 16_000)
    assert len(probabilities) == (2 if size > 576 else 1)
    assert np.isfinite(probabilities).all()


@given(steps=st.integers(1, 40), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_there_is_one_probability_for_every_32_ms(tiny_voice_activity: Artifact, steps: int, rate: int) -> None:
    sound = tone(steps * 0.032 + 0.004, rate, -20)
    assert len(VoiceActivity(tiny_voice_activity, "HQ").probabilities(sound, rate)) == steps


def test_a_model_at_8_khz_goes_by_half_the_samples(tmp_path: Path) -> None:
    path = make_voice_activity(tmp_path / "model.onnx", sample_rate=8_000, samples=288)
    probabilities = VoiceActivity(open_artifact(path, provider="cpu"), "HQ").probabilities(
        tone(1.0, 48_000, -20), 48_000
    )
    assert len(probabilities) == 32
    assert probabilities[1:].min() > 0.9


def test_a_model_with_another_step_is_refused(tmp_path: Path) -> None:
    artifact = open_artifact(make_voice_activity(tmp_path / "model.onnx", samples=512), provider="cpu")
    with pytest.raises(ArtifactError, match="takes 512 samples a step"):
        VoiceActivity(artifact, "HQ")
