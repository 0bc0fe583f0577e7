"""The measurement of measures runs with the models and functions of today, and puts them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.workers.audio import pipeline as audio
from bimodal.workers.audio import prosody
from bimodal.workers.face import pipeline as face
from bimodal.workers.face.measures import measures_of
from scripts.measure import face_measures
from tests.media import scene, speech, write_clip


def test_a_face_and_a_voice_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(face_measures, "ROUNDS", 1)
    monkeypatch.setattr(face_measures, "RUNS", 1)
    sound, rate = speech(3.6)
    clip = write_clip(tmp_path / "talk.mp4", [scene(1, n / 5) for n in range(18)], fps=5, sound=sound, rate=rate)
    face_measures.of_a_face(scene(1, 0.0))
    face_measures.of_a_voice(clip)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "without measures", "with the mesh's", "with a finer look", "without measures of a voice", "with them",
    ]  # fmt: skip
    assert vars(face)["measures_of"] is measures_of
    assert vars(audio)["loudness_of"] is prosody.loudness_of
