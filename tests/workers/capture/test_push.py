"""What programs push becomes a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bimodal.broker.frames import Ring
from bimodal.broker.rings import ring_name
from bimodal.broker.visitors import Left, Media, PageAt, PushedFrame, PushedSound
from bimodal.workers.capture.browser import AWAY_NS
from bimodal.workers.capture.push import KEPT_NS, Kind, Pushes
from bimodal.workers.capture.types import Connected, Picture, Sound

S = 1_000_000_000
SHAPE = (4, 6, 3)


class Program:
    """A program with slots of its own."""

    def __init__(self, folder: Path, visit: int) -> None:
        self.visit = visit
        self.ring = Ring(folder, ring_name("robot", visit, "face", 0), 4, 4 * 6 * 3)

    def frame(self, t: float, value: int = 7) -> PushedFrame:
        generation = self.ring.write(0, np.full(SHAPE, value, np.uint8))
        return PushedFrame(
            visit=self.visit, pts_ns=round(t * S), grab_ns=5, ring=self.ring.name, slot=0, generation=generation,
            shape=SHAPE, size=(60, 40),
        )  # fmt: skip

    def sound(self, t: float, rate: int = 16000) -> PushedSound:
        return PushedSound(visit=self.visit, pts_ns=round(t * S), grab_ns=5, rate=rate)


def pushes(folder: Path, kind: Kind = True) -> Pushes:
    return Pushes("robot", folder, 0, 720, kind)


def test_a_frame_stays_in_the_programs_slot_and_has_its_time(tmp_path: Path) -> None:
    found = pushes(tmp_path)
    program = Program(tmp_path, 1)
    connected, picture = found.take(program.frame(0.5), b"", 100 * S)
    assert isinstance(connected, Connected)
    assert (connected.info.has_picture, connected.info.has_sound, connected.info.live) == (True, True, True)
    assert isinstance(picture, Picture)
    assert (picture.pts_ns, picture.size) == (S // 2, (60, 40))
    assert picture.placed is not None
    assert picture.placed.ring == program.ring.name
    assert not picture.pixels.flags.owndata, "a view of the slot"
    assert picture.pixels.min() == 7
    (later,) = found.take(program.frame(0.4), b"", 100 * S)
    assert isinstance(later, Picture)
    assert later.pts_ns == S // 2 + 1, "time does not run backwards"


def test_sound_comes_as_it_is_also_before_the_first_picture(tmp_path: Path) -> None:
    found = pushes(tmp_path)
    samples = np.linspace(-1, 1, 160, dtype="<f4")
    connected, sound = found.take(Program(tmp_path, 1).sound(2.0), samples.tobytes(), 0)
    assert isinstance(connected, Connected)
    assert isinstance(sound, Sound)
    assert (sound.pts_ns, sound.rate) == (2 * S, 16000)
    assert np.array_equal(sound.samples, samples)
    assert found.take(Program(tmp_path, 2).sound(2.0), b"\0\0\0", 0) == []


def test_of_two_programs_the_first_stays_and_the_next_goes_on_on_its_line(tmp_path: Path) -> None:
    found = pushes(tmp_path)
    first, second = Program(tmp_path, 1), Program(tmp_path, 2)
    found.take(first.frame(0.0), b"", 10 * S)
    assert found.take(second.frame(0.0), b"", 11 * S) == []
    assert found.degraded_reason(11 * S) is None
    found.take(Left(1, "closed"), b"", 12 * S)
    assert found.degraded_reason(12 * S) == "waiting for a program that pushes into it (bimodal.push('robot'))"
    (picture,) = found.take(second.frame(0.0), b"", 13 * S)
    assert isinstance(picture, Picture)
    assert picture.pts_ns == 3 * S, "as long after the first as it was"
    # One that was killed says nothing: five seconds of silence count as its end.
    third = Program(tmp_path, 3)
    assert found.take(third.frame(0.0), b"", 13 * S + AWAY_NS - 1) == []
    assert len(found.take(third.frame(0.0), b"", 13 * S + 2 * AWAY_NS)) == 1


def test_slots_of_a_program_that_left_are_removed_a_while_later(tmp_path: Path) -> None:
    found = pushes(tmp_path)
    program = Program(tmp_path, 1)
    found.take(program.frame(0.0), b"", 0)
    found.take(Left(1, "closed"), b"", S)
    found.sweep(S + KEPT_NS)
    assert program.ring.path.exists()
    found.sweep(S + KEPT_NS + 1)
    assert not program.ring.path.exists()


def test_a_slot_that_is_gone_or_overwritten_is_a_frame_that_came_too_late(tmp_path: Path) -> None:
    found = pushes(tmp_path)
    program = Program(tmp_path, 1)
    old = program.frame(0.0)
    program.frame(0.1)
    assert found.take(old, b"", 0) == []
    program.ring.unlink()
    assert Pushes("robot", tmp_path, 0, 720, True).take(old, b"", 0) == []


@pytest.mark.parametrize("kind", ["picture", "sound"])
def test_a_stream_of_one_kind_announces_no_other(tmp_path: Path, kind: Kind) -> None:
    connected, _ = pushes(tmp_path, kind).take(Program(tmp_path, 1).frame(0.0), b"", 0)
    assert isinstance(connected, Connected)
    assert (connected.info.has_picture, connected.info.has_sound) == (kind == "picture", kind == "sound")


def test_a_browser_may_fill_it_while_no_program_does(tmp_path: Path) -> None:
    found = pushes(tmp_path)
    assert found.take(PageAt("http://127.0.0.1:8484/"), b"", 0) == []
    import cv2

    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    media = Media(visit=9, kind="picture", captured_ns=0, sent_ns=0, arrived_ns=S, position=0)
    items = found.take(media, jpeg, S)
    assert [type(item) for item in items] == [Connected, Picture]
    assert found.degraded_reason(S) is None
    assert found.take(Program(tmp_path, 1).frame(0.0), b"", S) == [], "the browser was first"
