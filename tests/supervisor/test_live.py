"""Edits of the config file, as editors make them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bimodal.supervisor.live import POLL_EVERY_S, SETTLED_S, ConfigWatch
from bimodal.workers.errors import ConfigError

GOOD = "fusion: {video_weight: 0.6}\n"


class Editor:
    """A file, its watch, and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("fusion: {}\n")
        self.watch = ConfigWatch(path)
        self.now = 100.0

    def changes(self, seconds: float = 3.0) -> int:
        """Count the changes that are seen while so much time passes."""
        found, end = 0, self.now + seconds
        while self.now < end:
            found += self.watch.poll(self.now)
            self.now += POLL_EVERY_S / 2
        return found


@pytest.fixture
def editor(tmp_path: Path) -> Editor:
    return Editor(tmp_path / "config.yaml")


def test_nothing_happens_as_long_as_nothing_happens(editor: Editor) -> None:
    assert editor.changes() == 0


def test_an_edit_is_seen_once(editor: Editor) -> None:
    editor.path.write_text(GOOD)
    assert editor.changes() == 1
    assert editor.watch.load().fusion.video_weight == 0.6
    assert editor.changes() == 0


def test_a_file_renamed_over_it_is_an_edit_and_temporary_files_are_none(editor: Editor) -> None:
    beside = editor.path.with_name(".config.yaml.swp")
    beside.write_text(GOOD)
    editor.path.with_name("config.yaml~").write_text("old")
    assert editor.changes() == 0
    beside.replace(editor.path)
    assert editor.changes() == 1
    assert editor.watch.load().fusion.video_weight == 0.6


def test_a_link_that_is_moved_to_another_file_is_an_edit(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(GOOD)
    link = tmp_path / "link.yaml"
    link.symlink_to(tmp_path / "one")
    watch = ConfigWatch(link)
    (tmp_path / "new").symlink_to(tmp_path / "two")
    (tmp_path / "new").replace(link)
    assert not watch.poll(0.0)
    assert watch.poll(SETTLED_S + POLL_EVERY_S)


def test_a_file_that_is_still_being_written_is_not_read(editor: Editor) -> None:
    for number in range(10):
        editor.path.write_text(GOOD + "#" * number)
        assert editor.changes(SETTLED_S / 2) == 0
    assert editor.changes() == 1


def test_touching_it_is_an_edit(editor: Editor) -> None:
    os.utime(editor.path, ns=(1, 1))
    assert editor.changes() == 1


def test_a_file_that_is_empty_or_gone_is_refused_and_may_come_back(editor: Editor) -> None:
    editor.path.write_text("")
    assert editor.changes() == 1
    with pytest.raises(ConfigError, match="is empty"):
        editor.watch.load()
    editor.path.unlink()
    assert editor.changes() == 1
    with pytest.raises(ConfigError, match="there is no config file"):
        editor.watch.load()
    editor.path.write_text(GOOD)
    assert editor.changes() == 1
    assert editor.watch.load().fusion.video_weight == 0.6


def test_a_file_that_was_not_there_is_an_edit(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    watch = ConfigWatch(path)
    assert not watch.poll(0.0)
    path.write_text(GOOD)
    assert not watch.poll(1.0)
    assert watch.poll(2.0)
