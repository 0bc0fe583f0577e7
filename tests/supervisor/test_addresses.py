"""Files at addresses, in fsspec's file system in memory."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.extras import MissingPackageError
from bimodal.supervisor.addresses import (
    Folders,
    below,
    describe,
    fetch,
    file_system,
    find,
    folder_of,
    is_address,
    join,
    scheme_of,
    walk,
)
from bimodal.workers.errors import SourceError

pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system with a study in it."""
    system, _ = file_system("memory://")
    for name in ("study/a.mp4", "study/p01/b.wav", "study/p01/c.mp4", "study/.hidden/d.mp4", "study/notes.txt"):
        system.pipe_file(f"/{name}", name.encode())
    yield system
    system.rm("/", recursive=True)


def test_a_folder_gives_all_files_below_it_with_addresses_that_fetch_them(memory: Any, tmp_path: Path) -> None:
    found = {folder: list(files) for folder, files in walk("memory://study")}
    assert found == {"": ["a.mp4", "notes.txt"], "p01": ["b.wav", "c.mp4"]}
    for _, files in walk("memory://study"):
        for name, file in files.items():
            fetch(file.address, tmp_path / name, expected=file.bytes, mtime_ns=file.mtime_ns)
            assert (tmp_path / name).stat().st_mtime_ns == file.mtime_ns
    assert (tmp_path / "b.wav").read_bytes() == b"study/p01/b.wav"


@pytest.mark.parametrize(
    ("pattern", "base", "names"),
    [
        ("memory://study/*.mp4", "memory://study", ["memory://study/a.mp4"]),
        ("memory://study/p*", "memory://study", ["memory://study/p01/b.wav", "memory://study/p01/c.mp4"]),
        ("memory://study/p*/*.wav", "memory://study", ["memory://study/p01/b.wav"]),
    ],
)
def test_a_pattern_finds_files_and_what_its_folders_hold(
    memory: Any, pattern: str, base: str, names: list[str]
) -> None:
    assert [file.address for file in find(pattern, base)] == names


def test_a_file_is_known_by_the_listing_of_its_folder(memory: Any) -> None:
    folders = Folders()
    assert folders.file("memory://study/a.mp4").bytes == len("study/a.mp4")
    assert folders.file("memory://study/none.mp4").bytes == 0
    assert folders.siblings("memory://study/p01/x") == ["b.wav", "c.mp4"]
    assert folders.siblings("memory://nowhere/x") == []


def test_what_can_not_be_fetched_is_said_in_a_sentence(memory: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^memory://study/none\.mp4 can't be fetched: .*FileNotFoundError"):
        fetch("memory://study/none.mp4", tmp_path / "x")
    with pytest.raises(SourceError, match="has changed since it was listed: 11 bytes, not 3"):
        fetch("memory://study/a.mp4", tmp_path / "x", expected=3)
    with pytest.raises(SourceError, match="wrong://a can't be used"):
        file_system("wrong://a")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(importlib.import_module("fsspec.core"), "url_to_fs", missing)
    with pytest.raises(
        MissingPackageError, match=r"^s3:// needs a further package: pip install 'bimodal-emotion\[s3\]'"
    ):
        file_system("s3://bucket/a")


def test_what_stores_say_of_a_file_is_read_in_each_ones_words() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    s3 = describe("s3://b/a", {"size": 3, "ETag": '"abc"', "LastModified": at})
    assert (s3.bytes, s3.etag, s3.mtime_ns) == (3, "abc", int(at.timestamp()) * 10**9)
    gcs = describe("gs://b/a", {"size": 3, "etag": "x", "updated": "2026-11-01T00:00:00+00:00"})
    assert (gcs.etag, gcs.mtime_ns) == ("x", s3.mtime_ns)
    assert describe("sftp://h/a", {"size": 3, "mtime": at.timestamp()}).mtime_ns == s3.mtime_ns
    assert describe("http://h/a", {"size": None}) == ("http://h/a", 0, 0, None)


def test_addresses_are_told_from_paths() -> None:
    assert is_address("s3://bucket/a")
    assert not is_address("/a/b")
    assert not is_address("C:/a")
    assert scheme_of("S3://b") == "s3"
    assert folder_of("s3://bucket/a/b.mp4") == "s3://bucket/a"
    assert folder_of("memory://b.mp4") == "memory://"


@settings(max_examples=50)
@given(st.lists(st.text("abc./", min_size=1, max_size=5), min_size=1, max_size=4))
def test_what_is_joined_lies_below(parts: list[str]) -> None:
    relative = "/".join(parts).strip("/")
    for root in ("s3://bucket", "s3://bucket/study/"):
        assert below(join(root, relative), root) == relative
    assert below("s3://bucketeer/a", "s3://bucket") is None
