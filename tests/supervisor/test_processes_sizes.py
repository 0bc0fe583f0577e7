"""Workers and threads from the cores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimodal.config import WorkersConfig
from bimodal.supervisor.processes import sizes
from bimodal.values import convert

threads = st.one_of(st.just("auto"), st.integers(1, 16))


def workers(face: object, audio: object = 1) -> WorkersConfig:
    return convert({"face": {"count": face}, "audio": {"count": audio}}, WorkersConfig)


@given(threads, st.integers(1, 64))
def test_auto_never_takes_more_threads_than_there_are_cores(wanted: str | int, cores: int) -> None:
    found = sizes(workers("auto", "auto"), wanted, cores)
    assert found.face * found.threads <= max(cores, found.threads)
    assert found.face >= 1
    assert found.audio == 1
    if wanted != "auto":
        assert found.threads == wanted


@given(st.integers(1, 64), threads, st.integers(1, 64))
def test_numbers_are_kept_and_threads_fill_what_is_left(face: int, wanted: str | int, cores: int) -> None:
    found = sizes(workers(face, 3), wanted, cores)
    assert (found.face, found.audio) == (face, 3)
    if wanted == "auto":
        assert found.threads == max(1, cores // face)


@given(st.integers(1, 8), st.integers(0, 8), st.integers(1, 64))
def test_what_follows_the_load_begins_small_and_leaves_room(least: int, more: int, cores: int) -> None:
    found = sizes(workers({"min": least, "max": least + more}), "auto", cores)
    assert found.face == least
    assert found.threads * (least + more) <= max(cores, least + more)
