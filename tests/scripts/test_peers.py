"""The comparison with other programs: its protocol, its scores and its tables, without the programs themselves."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.bench.figures import BenchError
from bimodal.bench.loops import LoopRun
from scripts.measure.peers import environments
from scripts.measure.peers.compare import PeerLoop, Speed, each, filled, label_of, score, score_table, speed_table
from scripts.measure.peers.environments import HERE, PEERS, command
from scripts.measure.peers.pictures import Index, Labelled, Picture, _cut, blown_up, read, spread, write

PROGRAM = """
class FER:
    def __init__(self, mtcnn):
        assert not mtcnn
    def detect_emotions(self, bgr):
        if not bgr.any():
            return []
        small = {"box": [0, 0, 1, 1], "emotions": {"sad": 1.0}}
        return [small, {"box": [0, 0, 2, 2], "emotions": {"happy": float(bgr[0, 0, 2]), "angry": float(bgr[0, 0, 0])}}]
"""


def picture(red: int, blue: int = 0, size: tuple[int, int] = (4, 6)) -> Picture:
    found = np.zeros((*size, 3), np.uint8)
    found[..., 0], found[..., 2] = red, blue
    return found


def test_a_program_answers_for_each_picture_and_runs_for_a_time(tmp_path: Path) -> None:
    (tmp_path / "fer").mkdir()
    (tmp_path / "fer" / "__init__.py").touch()
    (tmp_path / "fer" / "fer.py").write_text(PROGRAM)
    index = write([picture(9, 1), picture(0), picture(1, 9, (2, 2))], tmp_path / "pictures.rgb")
    start = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r});"
        f"runpy.run_path({str(HERE / 'python_peer.py')!r}, run_name='__main__')"
    )
    loop = PeerLoop(
        [sys.executable, "-c", start, "fer"],
        {"pictures": {"path": index.path, "sizes": index.sizes}, "model": None}, what="fer", log=None,
    )  # fmt: skip
    try:
        answers = loop.answers(3)
        assert [label_of(faces) for faces in answers] == ["happy", None, "anger"], "the largest face counts"
        run = loop.run(0.05)
        assert isinstance(run, LoopRun)
        assert run.faces > 0
        assert loop.memory_mib > 0
    finally:
        loop.close()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=5), st.integers(0, 255))
def test_pictures_are_read_as_they_were_written(sizes: list[tuple[int, int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(pictures, Path(folder) / "pictures.rgb"))
    assert all(np.array_equal(one, other) for one, other in zip(pictures, found, strict=True))


@given(st.integers(0, 50), st.integers(1, 60))
def test_a_part_of_a_set_is_spread_over_all_of_it(count: int, limit: int) -> None:
    found = spread(range(count), limit)
    assert len(found) == min(count, limit)
    assert found == sorted(set(found))


def test_a_face_that_is_not_found_is_wrong() -> None:
    labelled = Labelled(name="set", pictures=(), labels=("happy", "happy", "anger", "sad"), of=8)
    happy, angry = [{"Happy": 0.9, "angry": 0.1}], [{"happy": 0.2, "Angry": 0.7, "contempt": 0.1}]
    found = score("fer", labelled, [happy, [], angry, angry])
    assert (found.count, found.of, found.found) == (4, 8, 0.75)
    assert (found.accuracy, found.accuracy_found) == (0.5, pytest.approx(2 / 3))
    assert found.uar == pytest.approx((0.5 + 1 + 0) / 3), "the mean recall of the classes that occur"
    silent = score("mediapipe", labelled, [[{}], [], [{}], [{}]])
    assert (silent.found, silent.accuracy) == (0.75, None)
    lines = score_table([found, silent])
    assert "75.0%" in lines[2]
    assert lines[3].count("–") == 3
    assert "4 of 8" in lines[2]


def test_pictures_that_were_left_out_have_no_face() -> None:
    one, other = [{"happy": 1.0}], [{"sad": 1.0}]
    assert filled([one, other], {0, 2}) == [[], one, [], other]
    assert filled([one], ()) == [one]


def test_a_face_is_cut_out_as_a_square_even_at_the_edge() -> None:
    face = _cut(picture(7, size=(40, 60)), [(-5, -5, 10, 20), (0, 0, 1, 1)])
    assert face is not None
    assert face.shape == (22, 22, 3)
    assert _cut(picture(7), []) is None
    assert blown_up(picture(7, size=(48, 48))).shape == (384, 384, 3)


def test_what_is_missing_is_one_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(BenchError, match="--make"):
        command(tmp_path, "human")
    done: list[str] = []

    def run(name: str) -> None:
        if name == "fer":
            raise BenchError("fer is not there")
        done.append(name)

    assert each(["fer", "human"], run, said.append) == ["fer"]
    assert (done, said) == (["human"], ["fer is not there"])


def test_versions_are_pinned() -> None:
    for peer in PEERS.values():
        for package in (*peer.packages, *peer.alone):
            assert "==" in package if peer.kind == "pip" else "@" in package[1:]
    assert environments.WITHOUT_WEIGHTS


def test_a_row_of_speeds_has_its_spread() -> None:
    speed = Speed(
        program="bimodal", frames_per_s=50.0, lowest=48.0, highest=51.0, median_ms=20.0, cpu_ms=19.0, memory_mib=150.4,
        faces_a_frame=1.0,
    )  # fmt: skip
    assert "50.0 (48.0 – 51.0) | 19.0 ms | 20.0 ms | 150 MiB | 1.00" in speed_table([speed])[2]
    assert Index("x", ((1, 2),)).sizes == ((1, 2),)
