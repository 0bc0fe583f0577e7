"""Model files that travel to workers on other machines: bounded, checked by sha256, kept by it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

import bimodal.broker.model_files as model_files
from bimodal.broker.messages import FilePiece, FileWanted, Instruct, ModelFile
from bimodal.broker.model_files import ModelFilesError, ModelReceiver, check, piece, with_paths


def file_of(path: Path, data: bytes) -> ModelFile:
    path.write_bytes(data)
    return ModelFile(str(path), hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ModelFile]:
    monkeypatch.setattr(model_files, "PIECE_BYTES", 10)
    return [file_of(tmp_path / "a.onnx", b"a" * 25), file_of(tmp_path / "b.onnx", b"b" * 10)]


def transfer(receiver: ModelReceiver, wanted: FileWanted | None, there: Sequence[ModelFile]) -> int:
    """Answer until nothing is asked for; the number of pieces."""
    pieces = 0
    while wanted is not None:
        file = next(one for one in there if one.sha256 == wanted.sha256)
        wanted = receiver.on_piece(piece(file, wanted.offset))
        pieces += 1
    return pieces


def test_files_come_piece_by_piece_and_settings_name_them_here(there: list[ModelFile], tmp_path: Path) -> None:
    receiver = ModelReceiver(tmp_path / "cache")
    settings = {"detector": there[0].path, "static": [there[1].path, "x"], "face": {"min_size": 40}}
    instruct = Instruct(settings=settings, files=tuple(there))
    assert transfer(receiver, receiver.on_instruct(instruct), there) == 4
    kept = [tmp_path / "cache" / f"{file.sha256}.onnx" for file in there]
    assert receiver.settings == {"detector": str(kept[0]), "static": [str(kept[1]), "x"], "face": {"min_size": 40}}
    assert kept[0].read_bytes() == b"a" * 25
    assert kept[0].stat().st_mode & 0o077 == 0
    assert receiver.on_instruct(instruct) is None, "the same once more"
    again = ModelReceiver(tmp_path / "cache")
    assert again.on_instruct(instruct) is None, "nothing is sent twice"
    assert again.settings == receiver.settings
    kept[1].write_bytes(b"changed")
    damaged = ModelReceiver(tmp_path / "cache")
    assert damaged.on_instruct(instruct) == FileWanted(there[1].sha256, 0)
    refused = ModelReceiver(tmp_path / "cache", refused=instruct)
    assert refused.on_instruct(instruct) is None
    assert refused.settings is None


def test_files_that_are_here_under_other_names_are_not_sent(there: list[ModelFile], tmp_path: Path) -> None:
    receiver = ModelReceiver(tmp_path / "cache", lambda _: tmp_path / "shipped.onnx")
    assert receiver.on_instruct(Instruct(settings={"static": there[0].path}, files=(there[0],))) is None
    assert receiver.settings == {"static": str(tmp_path / "shipped.onnx")}


def test_a_file_that_is_another_one_is_thrown_away(there: list[ModelFile], tmp_path: Path) -> None:
    receiver = ModelReceiver(tmp_path / "cache")
    lied = ModelFile(there[1].path, there[1].sha256, 10)
    wanted = receiver.on_instruct(Instruct(settings={}, files=(lied,)))
    assert wanted is not None
    with pytest.raises(ModelFilesError, match="its sha256 differs"):
        receiver.on_piece(FilePiece(wanted.sha256, 0, b"c" * 10))
    assert receiver.settings is None
    assert list((tmp_path / "cache").iterdir()) == []
    wanted = receiver.on_instruct(Instruct(settings={}, files=(lied,)))
    assert wanted is not None
    with pytest.raises(ModelFilesError, match="has changed on the other machine"):
        receiver.on_piece(FilePiece(wanted.sha256, 0, b"c" * 11))
    assert receiver.on_piece(FilePiece("0" * 64, 0, b"c")) is None, "nobody asked for it"


def test_a_file_that_changed_or_went_is_not_read(there: list[ModelFile]) -> None:
    Path(there[0].path).write_bytes(b"another size")
    assert piece(there[0], 0).data == b""
    Path(there[1].path).unlink()
    assert piece(there[1], 0).data == b""


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "names 0 model files"),
        ([ModelFile("a", "0" * 64, 1)] * 17, "names 17 model files"),
        ([ModelFile("a", "../../etc/passwd", 1)], "without its sha256"),
        ([ModelFile("a", "0" * 64, 2**30 + 1)], "it may have 1024"),
        ([ModelFile("a", "0" * 64, 0)], "has 0 MiB"),
        ([ModelFile("a", f"{n:064}", 2**30) for n in range(5)], "larger than 4 GiB together"),
    ],
)
def test_what_may_not_be_taken_over_is_said(files: list[ModelFile], sentence: str) -> None:
    with pytest.raises(ModelFilesError, match=sentence):
        check(files)


def test_paths_are_replaced_wherever_they_stand() -> None:
    assert with_paths({"a": ["x", ("y", 1)], "b": None}, {"x": "here"}) == {"a": ["here", ["y", 1]], "b": None}
