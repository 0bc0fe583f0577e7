"""What counts as growth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.attack import longest_pause
from tests.chaos.footprint import MOST_DESCRIPTORS, MOST_MEMORY_MB, Footprint, grown

BEFORE = Footprint(
    processes={"face": 2, "gone": 0},
    descriptors={"face": 16},
    memory_mb={"face": 50.0},
    sockets=frozenset({"mailbox.ipc"}),
    segments=2,
    shared_mb=44.0,
)


def test_what_is_as_it_was_or_less_has_not_grown() -> None:
    assert grown(BEFORE, BEFORE) == []
    assert grown(BEFORE, Footprint()) == []
    little = replace(BEFORE, descriptors={"face": 16 + MOST_DESCRIPTORS}, memory_mb={"face": 50 + MOST_MEMORY_MB})
    assert grown(BEFORE, little) == []


def test_a_recorder_loads_its_tables_once_and_no_second_time() -> None:
    fresh, loaded = (replace(BEFORE, memory_mb={"record": mb}) for mb in (17.0, 77.0))
    assert grown(fresh, loaded) == []
    assert grown(loaded, replace(BEFORE, memory_mb={"record": 137.0}))
    assert grown(fresh, replace(BEFORE, memory_mb={"record": 137.0}))


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (replace(BEFORE, processes={"face": 3}), "face: from 2 to 3 processes"),
        (replace(BEFORE, processes={"face": 2, "gone": 1}), "gone: from 0 to 1 processes"),
        (replace(BEFORE, descriptors={"face": 17 + MOST_DESCRIPTORS}), "face: from 16 to 21 descriptors"),
        (replace(BEFORE, memory_mb={"face": 75.0}), "face: from 50 to 75 MB of memory"),
        (replace(BEFORE, sockets=frozenset({"mailbox.ipc", "x.ipc"})), "session directory: x.ipc came"),
        (replace(BEFORE, segments=3), "shared memory: from 2 files, 44.0 MB to 3, 44.0 MB"),
        (replace(BEFORE, shared_mb=88.0), "shared memory: from 2 files, 44.0 MB to 2, 88.0 MB"),
    ],
)
def test_what_is_more_has_grown(after: Footprint, sentence: str) -> None:
    assert grown(BEFORE, after) == [sentence]


def test_the_longest_pause_begins_with_the_blow_or_with_an_event() -> None:
    assert longest_pause(1.0, []) == (0.0, 1.0)
    assert longest_pause(1.0, [3.0, 3.5]) == (2.0, 3.0)
    assert longest_pause(1.0, [1.5, 3.5, 4.0]) == (2.0, 3.5)
