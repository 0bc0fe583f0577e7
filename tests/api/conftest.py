"""Clips of every kind, and one analysis of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.driving import run
from tests.media import face_clip, scene, silence, speech, write_clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made media by name: talking, two faces, in and out, no face, sound alone, picture that begins late."""
    media = tmp_path_factory.mktemp("media")
    sound, rate = speech(3.0)
    parts = [scene(1, n / 25) for n in range(15)] + [scene(0)] * 30 + [scene(1, n / 25) for n in range(15)]
    return {
        "talking": face_clip(media / "talking.mp4", 2.4),
        "two faces": face_clip(media / "two faces.mp4", 1.2, faces=2, voice=False),
        "in and out": write_clip(media / "in and out.mp4", parts),
        "nobody": write_clip(media / "nobody.mp4", [scene(0)] * 20, sound=silence(0.8)),
        "voice": write_clip(media / "voice.wav", sound=sound, rate=rate, sound_codec="pcm_s16le"),
        "late": write_clip(media / "late.mp4", [scene(1)] * 20, sound=sound, rate=rate, picture_begins_s=0.84),
    }


@pytest.fixture(scope="session")
def analysed(clips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the results of `bimodal analyze` on all of them."""
    out = tmp_path_factory.mktemp("analysed")
    code, _, err = run("analyze", *clips.values(), "--out", out)
    assert code == 0, err
    return out
