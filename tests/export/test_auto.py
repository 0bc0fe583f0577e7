"""A file is adopted as it looks; its answers are drawn before anything is written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.export.auto import Trial, draw, export_auto
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.pixels import Pixels
from bimodal.export.onnx.description import Description
from bimodal.models.session import open_artifact
from tests.export import foreign_files as files


def test_values_are_tried_drawn_and_written_only_if_wanted(tmp_path: Path) -> None:
    source = files.headed(tmp_path / "theirs.onnx", "Softmax", names="{0: 'angry', 1: 'happy', 2: 'sad'}")
    said: list[str] = []
    picture, out = tmp_path / "sheet.png", tmp_path / "out"
    assert export_auto(source, Description(), out, said.append, picture=picture, agree=lambda: False) is None
    assert not out.exists()
    sheet = cv2.imread(str(picture))
    assert sheet is not None
    assert sheet.shape[1] > 900
    given = Description(name="mine", pixels=Pixels(scale=0.5))
    made = export_auto(source, given, out, said.append, picture=picture, agree=lambda: True)
    assert made == out / "mine/model.onnx"
    assert open_artifact(made, "face-static", provider="cpu").metadata.labels == ("angry", "happy", "sad")
    assert any("0…255 is proposed" in line for line in said), "its weights are made for whole pixels"


def test_sound_is_tried_too(tmp_path: Path) -> None:
    source = files.wav2vec2(tmp_path / "voice.onnx", mask=False)
    given = Description(labels=("neutral", "happy", "anger", "sad"), sample_rate=16_000, window_s=1.0)
    picture = tmp_path / "sheet.png"
    made = export_auto(source, given, tmp_path / "out", lambda _: None, picture=picture, agree=lambda: True)
    assert made is not None
    assert np.ptp(cv2.imread(str(picture))) > 0


def test_what_can_not_be_told_by_its_looks_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x80\x02}q")
    with pytest.raises(SourceModelError, match="can't be adopted by its looks: a pickle of PyTorch"):
        export_auto(tmp_path / "a.bin", Description(), tmp_path, print, picture=tmp_path / "x.png", agree=lambda: True)


def test_a_picture_needs_an_ending_of_one(tmp_path: Path) -> None:
    answers = np.full((1, 2), 0.5, np.float32)
    trial = Trial("form", Description(), tmp_path / "model.onnx", ("happy", "sad"), answers, ())
    with pytest.raises(SourceModelError, match=r"answers can't be written as a picture: name a \.png file"):
        draw([trial], np.zeros((1, 8, 8, 3), np.uint8), tmp_path / "answers")
