"""Bytes that have passed the scan are not walked again; whatever differs is, and so is what others could have noted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bimodal.models import scanned
from bimodal.models.errors import ArtifactError
from bimodal.models.scanned import MOST_KEPT, Notes, own_notes, scan_once
from bimodal.models.session import open_artifact
from tests.artifacts import make_face_static

GOOD, BAD = b"good", b"bad"


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes that were walked; BAD ones are refused."""
    found: list[bytes] = []

    def walk(data: bytes, path: str) -> None:
        found.append(data)
        if data == BAD:
            raise ArtifactError(f"{path} is bad")

    monkeypatch.setattr(scanned, "scan", walk)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "scanned"


def noted(folder: Path, data: bytes = GOOD) -> Path:
    """The note of these bytes."""
    (note,) = folder.glob(f"*/{hashlib.sha256(data).hexdigest()}")
    return note


def test_bytes_that_have_passed_are_walked_once(walked: list[bytes], folder: Path) -> None:
    for data in (GOOD, GOOD, b"other", GOOD):
        scan_once(data, "m.onnx", Notes(folder))
    assert walked == [GOOD, b"other"]
    assert (folder.stat().st_mode & 0o777, noted(folder).stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_is_refused_is_refused_each_time(walked: list[bytes], folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"m\.onnx is bad"):
            scan_once(BAD, "m.onnx", Notes(folder))
    assert walked == [BAD, BAD]


def test_notes_that_others_could_have_written_are_not_believed(walked: list[bytes], folder: Path) -> None:
    scan_once(GOOD, "m.onnx", Notes(folder))
    place = noted(folder).parent
    for open_to_others in (folder, place):
        open_to_others.chmod(0o777)
        scan_once(GOOD, "m.onnx", Notes(folder))
        open_to_others.chmod(0o700)
    assert len(walked) == 3
    scan_once(GOOD, "m.onnx", Notes(folder))
    note = noted(folder)
    note.unlink()
    note.symlink_to("/etc/passwd")
    scan_once(GOOD, "m.onnx", Notes(folder))
    moved = folder.with_name("moved")
    folder.rename(moved)
    folder.symlink_to(moved)
    scan_once(GOOD, "m.onnx", Notes(folder))
    assert len(walked) == 5


def test_other_rules_begin_with_nothing_passed(
    walked: list[bytes], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_once(GOOD, "m.onnx", Notes(folder))
    monkeypatch.setattr(scanned, "rules_version", lambda: "newer")
    scan_once(GOOD, "m.onnx", Notes(folder))
    assert len(walked) == 2
    assert [place.name for place in folder.iterdir()] == ["newer"], "nothing is kept for rules that are gone"


def test_notes_are_bounded_and_the_newest_stay(walked: list[bytes], folder: Path) -> None:
    notes = Notes(folder)
    for number in range(MOST_KEPT + 5):
        scan_once(b"%d" % number, "m.onnx", notes)
    assert len(list(folder.glob("*/*"))) == MOST_KEPT
    assert noted(folder, b"%d" % (MOST_KEPT + 4))


def test_a_place_that_cant_be_written_costs_time_only(walked: list[bytes], folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    for _ in range(2):
        scan_once(GOOD, "m.onnx", Notes(folder))
    assert len(walked) == 2


def test_a_model_that_is_changed_after_it_was_opened_is_scanned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = make_face_static(tmp_path / "m.onnx")
    open_artifact(path, provider="cpu")
    assert own_notes() is not None
    assert noted(tmp_path / "cache" / "bimodal" / "scanned", path.read_bytes())
    path.write_bytes(path.read_bytes() + b"\x0a")
    with pytest.raises(ArtifactError, match="no ONNX file"):
        open_artifact(path, provider="cpu")
