"""Edits of the config file, as editors make them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import setproctitle

from bimodal.broker.control import StatusReply
from bimodal.config import load_config
from bimodal.supervisor import reconcile
from bimodal.supervisor.live import POLL_EVERY_S, SETTLED_S, ConfigWatch, LiveSystem
from bimodal.supervisor.processes import ProcessSpec
from bimodal.supervisor.session import Session
from bimodal.workers.errors import ConfigError
from tests.end_to_end.driving import PATIENCE_S
from tests.end_to_end.living import Living
from tests.end_to_end.test_swap_regressions import only_black

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


def test_every_one_of_several_files_is_watched(tmp_path: Path) -> None:
    paths = [tmp_path / "site.yaml", tmp_path / "camera.yaml"]
    paths[0].write_text("fusion: {video_weight: 0.5, speech_weight: 0.5}\n")
    watch, now = ConfigWatch(*paths), 100.0
    for path, text in ((paths[1], GOOD), (paths[0], "fusion: {speech_weight: 0.2}\n")):
        path.write_text(text)
        assert not watch.poll(now)
        assert watch.poll(now + 1.0)
        assert not watch.poll(now + 2.0)
        now += 10.0
    fusion = watch.load().fusion
    assert (fusion.video_weight, fusion.speech_weight) == (0.6, 0.2)
    paths[1].write_text("")
    assert [watch.poll(now), watch.poll(now + 1.0)] == [False, True]
    with pytest.raises(ConfigError, match=r"camera\.yaml is empty"):
        watch.load()


def test_files_of_secrets_are_watched_too(tmp_path: Path) -> None:
    config, token, other = tmp_path / "config.yaml", tmp_path / "token", tmp_path / "other"
    token.write_text("0123456789abcdef")
    config.write_text(f"outputs: {{view: {{token_file: '{token}'}}}}\n")
    secrets: set[Path] = set()
    load_config(config, secrets)
    assert secrets == {token}
    watch, now = ConfigWatch(config, secrets=secrets), 100.0

    def changes() -> int:
        nonlocal now
        now += 10.0
        return watch.poll(now) + watch.poll(now + 1.0) + watch.poll(now + 2.0)

    assert changes() == 0
    token.write_text("fedcba9876543210\n")
    assert changes() == 1
    assert watch.changed_secrets == (token,)
    assert watch.load().outputs.view.token == "fedcba9876543210"
    token.unlink()
    assert changes() == 1
    with pytest.raises(ConfigError, match=r"token_file': the file .* can't be read"):
        watch.load()
    token.write_text("0123456789abcdef")
    assert changes() == 1, "one that could not be read is watched on"
    watch.load()
    config.write_text(f"outputs: {{view: {{token: '${{file:{other}}}'}}}}\n")
    assert changes() == 1
    assert watch.changed_secrets == ()
    with pytest.raises(ConfigError, match="can't be read"):
        watch.load()
    other.write_text("0123456789abcdef")
    assert changes() == 1
    watch.load()
    token.write_text("no longer named by the config")
    assert changes() == 0


def test_a_regression_goes_back_to_the_last_good_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the model failed only after it was tried.
    monkeypatch.setattr(reconcile, "ENOUGH_FRAMES", 0)
    monkeypatch.setattr(reconcile, "MOST_FAILED", 10**6)
    title = setproctitle.getproctitle()
    living = Living(tmp_path)
    session = Session("test-rollback")
    system = LiveSystem(load_config(living.path), [living.path], session, tmp_path / "log")
    wanted = str(living.models["first"])

    def until(reached: Callable[[StatusReply], bool]) -> StatusReply:
        end = time.monotonic() + PATIENCE_S
        while True:
            system.step(0.05)
            reply = system.supervisor.report("test-rollback")
            if reached(reply):
                return reply
            assert time.monotonic() < end, reply

    def works(reply: StatusReply) -> bool:
        models = {model for process in reply.processes for model in process.models.values()}
        return not reply.changing and "first@1" in models and reply.streams[0].done["face"] > 50

    try:
        until(lambda reply: bool(reply.streams) and works(reply))
        living.write(models={"face-static": str(only_black(living, "later"))})
        reply = until(lambda reply: reply.refused is not None)
        assert str(reply.refused).startswith("it was rolled back to the config before: ")
        assert "failed after it" in str(reply.refused)
        done = reply.streams[0].done["face"]
        reply = until(lambda reply: works(reply) and reply.streams[0].done["face"] > done + 20)
        assert str(reply.because).startswith("a change was not made: it was rolled back"), (
            "it is said until the next edit"
        )
        assert wanted in {setting for row in system.supervisor.reconciler.rows() for setting in models_of(row)}
    finally:
        system.close()
        session.close()
        setproctitle.setproctitle(title)


def models_of(row: ProcessSpec) -> tuple[str, ...]:
    return getattr(row.settings, "static", ()) if row.role == "face" else ()
