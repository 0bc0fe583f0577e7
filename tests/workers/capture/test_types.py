"""What a source suffers: each part for itself, in the log once, and how long a file turned out to be."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest

from bimodal.workers.capture.checks import uneven
from bimodal.workers.capture.types import Damage, OpenSource, SourceInfo, SourceProblems

SECOND = 1_000_000_000
FILE = SourceInfo(
    has_picture=True,
    has_sound=True,
    width=640,
    height=360,
    fps=25,
    frames_estimate=250,
    duration_ns=10 * SECOND,
    sample_rate=48000,
    live=False,
    name="talk.mp4",
    promised_ns=10 * SECOND,
)


def test_one_part_that_is_well_does_not_hide_another_that_suffers() -> None:
    problems = SourceProblems()
    problems.report("picture", "the camera is gone")
    problems.report("sound", None)
    problems.report("damage", "3 damaged packets were skipped")
    assert problems.text() == "the camera is gone; 3 damaged packets were skipped"
    problems.report("picture", None)
    assert problems.text() == "3 damaged packets were skipped"
    assert problems.any_of("picture", "damage")
    assert not problems.any_of("picture", "source")


def test_the_log_has_a_sentence_once_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    problems = SourceProblems()
    with caplog.at_level(logging.INFO):
        for wait_s in (0.5, 1, 2, 4):
            problems.report("source", f"the server is gone; trying again in {wait_s} s")
        problems.report("source", "the server wants a password; trying again in 8 s")
        problems.report("source", None)
        problems.report("source", None)
    assert [record.getMessage() for record in caplog.records] == [
        "the server is gone; trying again in 0.5 s",
        "the server wants a password; trying again in 8 s",
        "over: the server wants a password; trying again in 8 s",
    ]


def test_what_is_said_for_a_while_is_forgotten() -> None:
    problems = SourceProblems()
    problems.report("memory", "no room", for_s=-1.0)
    problems.report("damage", "1 damaged packet was skipped", for_s=3600.0)
    assert problems.text() == "1 damaged packet was skipped"


def test_damage_is_counted() -> None:
    problems = SourceProblems()
    damage = Damage(problems)
    damage("Invalid data found")
    assert problems.text() == "1 damaged packet was skipped (invalid data found)"
    threads = [threading.Thread(target=damage, args=("Invalid data found",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems.text() == "5 damaged packets were skipped (invalid data found)"


def test_a_source_s_own_trouble_stands_beside_those_of_its_parts() -> None:
    source = OpenSource(info=FILE)
    assert source.degraded_reason is None
    source.degraded_reason = "waiting for a visitor"
    source.problems.report("sound", "no microphone")
    assert source.degraded_reason == "waiting for a visitor; no microphone"
    source.degraded_reason = None
    assert source.degraded_reason == "no microphone"


@pytest.mark.parametrize(
    ("face_s", "speech_s", "frames", "info", "all_read", "sentence"),
    [
        (9.96, 10.0, 250, FILE, True, None),
        (9.2, 9.5, 231, FILE, True, None),
        (4.0, 4.0, 100, FILE, True, "it is cut off: of 10.0 s, 4.0 s are there"),
        (4.0, None, 100, FILE, False, None),
        (4.0, None, 250, FILE, True, None),
        (None, 4.0, 0, replace(FILE, frames_estimate=None), True, "it is cut off: of 10.0 s, 4.0 s are there"),
        (4.0, 4.0, 100, replace(FILE, promised_ns=None), True, None),
        (4.0, 10.0, 250, FILE, True, "its picture ends 6.0 s before its sound"),
        (9.96, 2.0, 250, FILE, True, "its sound ends 8.0 s before its picture"),
        (None, None, 0, FILE, True, None),
    ],
)
def test_a_file_that_is_shorter_than_it_says_or_uneven_is_named(
    face_s: float | None, speech_s: float | None, frames: int, info: SourceInfo, all_read: bool, sentence: str | None
) -> None:
    ends = {"face": face_s, "speech": speech_s}
    ends_ns = {kind: round(end * SECOND) for kind, end in ends.items() if end is not None}
    assert uneven(info, ends_ns, frames, all_read=all_read) == sentence  # type: ignore[arg-type]
