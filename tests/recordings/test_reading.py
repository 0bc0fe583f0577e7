"""Results that lost lines: what is read of them, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.recordings.reading import clips, complete, cut_short, read_events
from bimodal.recordings.recording import Recording
from tests.recordings.events import event, hop, opened


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Complete results of three frames and two hops."""
    kept = Recording(tmp_path, "clip", opened(has_sound=True), "clip.mp4", 0.0)
    for seq in range(3):
        kept.add(event(seq))
    for seq in range(2):
        kept.add_hop(hop(seq))
    kept.close(1.0)
    return tmp_path / "clip.jsonl"


def shorten(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def test_what_is_whole_has_nothing_to_tell(lines: Path) -> None:
    assert cut_short(lines) == []


def test_complete_results_that_lost_lines_are_told(lines: Path) -> None:
    shorten(lines, 5)
    assert cut_short(lines) == [f"{lines} is damaged: 2 of its 3 events can be read"]
    assert [one.seq for one in read_events(lines)] == [0, 1]
    spoken = lines.with_name("clip.speech.jsonl")
    spoken.write_bytes(spoken.read_bytes().splitlines(keepends=True)[0])
    (clip,) = clips(lines)
    assert clip.cut_short[1:] == [f"{spoken} is damaged: 1 of its 2 hops of the voice can be read"]


def test_lines_of_a_killed_recorder_are_all_that_there_ever_was(lines: Path) -> None:
    summary = lines.with_name("clip.summary.json")
    summary.unlink()
    shorten(lines, 5)
    assert cut_short(lines) == []
    (clip,) = clips(lines)
    complete(clip, lines.stat().st_mtime + 60)
    assert summary.is_file()
    assert cut_short(lines) == [], "the summary counts what was left"
    summary.write_text("{broken")
    assert cut_short(lines) == []
