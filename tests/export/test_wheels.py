"""Only the files that the exporter knows come out of a wheel."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from bimodal.export.errors import SourceModelError
from bimodal.export.wheels import extract, verify

CONTENT = b"weights"
KNOWN = {"package/data/model.tflite": hashlib.sha256(CONTENT).hexdigest()}


def _wheel(path: Path, content: bytes = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/data/model.tflite", content)
    return path


def test_members_are_written_under_their_base_names(tmp_path: Path) -> None:
    extract(_wheel(tmp_path / "a.whl"), KNOWN, tmp_path)
    assert (tmp_path / "model.tflite").read_bytes() == CONTENT
    verify(tmp_path, KNOWN)


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceModelError, match="another model"):
        extract(_wheel(tmp_path / "a.whl", b"other"), KNOWN, tmp_path)


def test_missing_member_and_broken_wheel_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceModelError, match="no such model"):
        extract(_wheel(tmp_path / "a.whl"), {"package/other.tflite": "0"}, tmp_path)
    (tmp_path / "b.whl").write_text("no zip")
    with pytest.raises(SourceModelError, match=r"b\.whl is no archive with models in it, or it is damaged"):
        extract(tmp_path / "b.whl", KNOWN, tmp_path)
    with pytest.raises(SourceModelError, match=r"c\.task can't be used: no such file or directory$"):
        extract(tmp_path / "c.task", KNOWN, tmp_path)
    with pytest.raises(SourceModelError, match=r"holds no model\.tflite"):
        verify(tmp_path / "nowhere", KNOWN)
