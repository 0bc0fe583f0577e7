"""To which source a result belongs, and when it may be replaced."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bimodal.broker.paths import pack
from bimodal.recordings.identity import belongs_to, refusal
from bimodal.recordings.recording import SUMMARY, RecordError
from bimodal.recordings.records import Host, SessionRecord
from bimodal.recordings.writers import FileRecording, SourceChecksum
from tests.recordings.events import event, opened

HOST = Host(name="h", system="s", machine="m", cores=1, python="3")


def record(folder: Path, source: Path, given: str | None = None, *, overwrite: bool = False) -> None:
    """Write the results of a source, as the recorder does."""
    session = SessionRecord(
        kind="analysis",
        session="s",
        started=datetime(2026, 1, 1).astimezone().isoformat(),
        bimodal="0",
        host=HOST,
        libraries={},
        config={},
        models=[],
    )
    check = SourceChecksum(source.name, source, given)
    recording = FileRecording(folder, opened(source=source.name), session, check, lambda: 0.0, overwrite=overwrite)
    recording.add(event(0))
    recording.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "p01").mkdir()
    path = tmp_path / "p01" / "session.mp4"
    path.write_bytes(b"the first person")
    return path


def test_a_record_says_path_size_and_checksum(tmp_path: Path, source: Path) -> None:
    record(tmp_path / "out", source)
    found = belongs_to(tmp_path / "out", "clip")
    assert found is not None
    assert (found.file, found.path, found.bytes, len(found.sha256 or "")) == (str(source), "session.mp4", 16, 64)


def test_the_same_source_may_be_done_again(tmp_path: Path, source: Path) -> None:
    assert refusal(tmp_path, "clip", pack(source), source) is None
    record(tmp_path / "out", source)
    source.write_bytes(b"cut anew")
    assert refusal(tmp_path / "out", "clip", pack(source), source) is None


@pytest.mark.parametrize("before", [False, True])
def test_whenever_it_is_killed_the_same_source_may_be_done_again_and_no_mixture_counts(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    files = len(list_of(tmp_path / "whole", source))
    replace = Path.replace
    for most in range(files):
        out = tmp_path / f"killed{most}"
        if before:
            record(out, source)
        left = iter(range(most))

        def renamed(path: Path, to: Path, left: Iterator[int] = left) -> Path:
            if next(left, None) is None:
                raise OSError(5, "as if it had been killed here")
            return replace(path, to)

        with monkeypatch.context() as context:
            context.setattr(Path, "replace", renamed)
            with pytest.raises(RecordError):
                record(out, source)
        assert refusal(out, "clip", pack(source), source) is None
        assert not (out / f"clip{SUMMARY}").exists()


def list_of(out: Path, source: Path) -> list[str]:
    record(out, source)
    return sorted(path.name for path in out.iterdir())


@pytest.mark.parametrize("content", [b"the first person", b"the second"])
def test_another_file_is_refused_even_with_the_same_bytes(tmp_path: Path, source: Path, content: bytes) -> None:
    record(tmp_path / "out", source)
    other = tmp_path / "session.mp4"
    other.write_bytes(content)
    sentence = refusal(tmp_path / "out", "clip", pack(other), other)
    assert sentence is not None
    assert str(source) in sentence
    assert "--overwrite" in sentence


def test_a_study_that_was_moved_is_the_same(tmp_path: Path, source: Path) -> None:
    record(tmp_path / "out", source)
    moved = source.rename(tmp_path / "moved.mp4")
    assert refusal(tmp_path / "out", "clip", pack(moved), moved) is None
    moved.write_bytes(b"another film....")
    assert refusal(tmp_path / "out", "clip", pack(moved), moved) is not None


def test_stdin_and_addresses_are_known_by_their_bytes(tmp_path: Path, source: Path) -> None:
    for given in ("-", "https://host/a.mp4"):
        folder = tmp_path / str(len(given))
        record(folder, source, given)
        assert refusal(folder, "clip", given, source) is None
        other = tmp_path / "other"
        other.write_bytes(b"other media here")
        assert refusal(folder, "clip", given, other) is not None


def test_results_that_tell_nothing_are_not_replaced(tmp_path: Path, source: Path) -> None:
    (tmp_path / "clip.jsonl").write_text("")
    assert "don't say of which file" in (refusal(tmp_path, "clip", pack(source), source) or "")


def test_what_was_made_from_other_results_goes_with_them(tmp_path: Path, source: Path) -> None:
    record(tmp_path / "out", source)
    for name in ("clip.html", "clip.annotated.mp4", "other.html"):
        (tmp_path / "out" / name).write_text("of the first person")
    other = tmp_path / "session.mp4"
    other.write_bytes(b"the second")
    record(tmp_path / "out", other, overwrite=True)
    assert {path.name for path in (tmp_path / "out").glob("*[lm][p4]*")} == set()
    assert (tmp_path / "out" / "other.html").exists()
    assert not (tmp_path / "out" / "clip.html").exists()
