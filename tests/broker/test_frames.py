"""Shared slots: what is written is what is read, and an overwritten slot is never taken for its frame."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker import frames
from bimodal.broker.errors import SlotError
from bimodal.broker.frames import Ring, RingCache, RingReader, SlotAllocator, slots_for
from bimodal.broker.messages import Job
from bimodal.broker.rings import remove_rings, ring_name
from tests.broker.making import job


def written(ring: Ring, slot: int, array: np.ndarray) -> Job:
    generation = ring.write(slot, array)
    base = job("a", slot, "face" if array.dtype == np.uint8 else "speech")
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    return Job(**{**fields, "ring": ring.name, "slot": slot, "generation": generation, "shape": array.shape})


def picture(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_pixels_and_samples_come_back_as_they_were(tmp_path: Path) -> None:
    ring = Ring(tmp_path, "r", 3, 4 * 1000)
    pixels = np.arange(8 * 5 * 3, dtype=np.uint8).reshape(8, 5, 3)
    samples = np.linspace(-1, 1, 1000, dtype=np.float32)
    first, second = written(ring, 0, pixels), written(ring, 2, samples)
    reader = RingReader(tmp_path / "r")
    np.testing.assert_array_equal(reader.view(first), pixels)
    np.testing.assert_array_equal(reader.view(second), samples)
    assert not reader.view(first).flags.writeable


def test_an_overwritten_slot_is_refused(tmp_path: Path) -> None:
    ring = Ring(tmp_path, "r", 2, 100)
    old = written(ring, 0, picture(1))
    reader = RingReader(tmp_path / "r")
    assert reader.holds(old)
    new = written(ring, 0, picture(2))
    assert not reader.holds(old)
    with pytest.raises(SlotError, match="overwritten"):
        reader.view(old)
    assert reader.view(new)[0, 0, 0] == 2


def test_a_slot_that_is_being_written_is_refused(tmp_path: Path) -> None:
    ring = Ring(tmp_path, "r", 1, 100)
    known = written(ring, 0, picture(1))
    # What a reader sees in the middle of a write: the generation is odd.
    with (tmp_path / "r").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        np.frombuffer(memory, dtype=np.uint64, count=1, offset=frames.PAGE)[0] += np.uint64(1)
    with pytest.raises(SlotError, match="overwritten"):
        RingReader(tmp_path / "r").view(known)


def test_a_job_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    ring = Ring(tmp_path, "r", 1, 100)
    known = written(ring, 0, picture(1))
    fields = {name: getattr(known, name) for name in known.__struct_fields__}
    reader = RingReader(tmp_path / "r")
    for lie in ({"shape": (5000, 5000, 3)}, {"slot": 1}, {"slot": -1}):
        with pytest.raises((SlotError, IndexError)):
            reader.view(Job(**{**fields, **lie}))


def test_a_reader_keeps_its_view_when_the_ring_is_unlinked(tmp_path: Path) -> None:
    ring = Ring(tmp_path, "r", 1, 100)
    known = written(ring, 0, picture(7))
    reader = RingReader(tmp_path / "r")
    ring.unlink()
    assert list(tmp_path.iterdir()) == []
    assert reader.view(known).max() == 7


def test_a_ring_that_is_gone_and_a_name_that_leads_elsewhere_are_refused(tmp_path: Path) -> None:
    cache = RingCache(tmp_path)
    for name in ("gone", "../r", ".hidden", "/etc/passwd"):
        with pytest.raises(SlotError):
            cache.reader(name)
    (tmp_path / "other").write_bytes(b"x" * 5000)
    with pytest.raises(SlotError, match="no ring"):
        cache.reader("other")


def test_the_shelf_lets_go_of_the_ring_used_longest_ago(tmp_path: Path) -> None:
    cache = RingCache(tmp_path, most=2)
    for name in ("a", "b", "c"):
        Ring(tmp_path, name, 1, 100)
    first = cache.reader("a")
    cache.reader("b")
    assert cache.reader("a") is first
    cache.reader("c")
    assert cache.reader("a") is first


def test_the_shelf_lets_go_of_rings_whose_files_are_gone(tmp_path: Path) -> None:
    cache = RingCache(tmp_path)
    old = Ring(tmp_path, ring_name("a", 1, "face", 0), 2, 100)
    shown = written(old, 0, picture(7))
    seen = cache.reader(old.name).view(shown)
    old.unlink()
    assert cache.reader(old.name).holds(shown), "nobody needs the room yet"
    Ring(tmp_path, ring_name("a", 2, "face", 0), 2, 100)
    cache.reader("a.2.face.0")
    with pytest.raises(SlotError, match="removed"):
        cache.reader(old.name)
    assert seen[0, 0, 0] == 7, "who still looks at it keeps it"


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for stream in ("a", "a.b", "a.1.face", "b"):
        for modality in ("face", "speech"):
            Ring(tmp_path, ring_name(stream, 3, modality, 0), 1, 100)  # type: ignore[arg-type]
    remove_rings(tmp_path, "a")
    assert {path.name.rsplit(".", 3)[0] for path in tmp_path.iterdir()} == {"a.b", "a.1.face", "b"}
    remove_rings(tmp_path / "nowhere", "a")


def test_full_shared_memory_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _offset: int, _size: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SlotError, match=r"is full: .* MB are needed"):
        Ring(tmp_path, "r", 4, 2**20)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.one_of(st.just("take"), st.integers(0, 7)), max_size=80))
def test_a_leased_slot_is_not_given_out_again_before_its_release(steps: list[str | int]) -> None:
    book = SlotAllocator(8, leased=True)
    out: set[int] = set()
    for step in steps:
        if step == "take":
            slot = book.take()
            assert (slot is None) == (len(out) == 8)
            if slot is not None:
                assert slot not in out
                out.add(slot)
        elif isinstance(step, int):
            book.release(step)
            out.discard(step)
        assert book.free == 8 - len(out)


@given(st.integers(1, 16), st.integers(1, 64))
def test_live_slots_go_round(slots: int, takes: int) -> None:
    book = SlotAllocator(slots, leased=False)
    assert [book.take() for _ in range(takes)] == [number % slots for number in range(takes)]


def test_a_budget_pays_for_slots_within_bounds() -> None:
    assert slots_for(64 * 2**20, 2**20) == 32
    assert slots_for(64 * 2**20, 4 * 2**20) == 16
    assert slots_for(2**20, 4 * 2**20) == 4
