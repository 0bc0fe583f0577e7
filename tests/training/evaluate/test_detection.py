"""The bench of face detection: matching, figures, annotations in WIDER Face's form, peers, the command."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.command import evaluate
from bimodal.training.evaluate.detection import (
    FOUND,
    MISSED,
    Box,
    Found,
    Labelled,
    by_size,
    composed,
    cutouts_of,
    draw,
    empty,
    finders_of,
    matches,
    measure,
    opencv_finder,
    our_finder,
    wider_pictures,
)
from bimodal.workers.demo import DEMO

BLANK = np.zeros((100, 100, 3), np.uint8)


def test_each_face_takes_one_detection_the_best_first() -> None:
    faces: list[Box] = [(0, 0, 10, 10), (4, 0, 10, 10)]
    assert matches(faces, [(4, 0, 10, 10), (1, 0, 10, 10)]) == [1, 0]
    assert matches(faces, [(4, 0, 10, 10)]) == [None, 0]
    assert matches(faces, [(50, 50, 10, 10)]) == [None, None]
    assert matches([], [(0, 0, 1, 1)]) == []


def test_figures_count_faces_found_ones_and_false_ones() -> None:
    pictures = [
        Labelled(BLANK, [(0, 0, 10, 10), (50, 50, 20, 20)]),
        Labelled(BLANK, [], ignored=[(0, 0, 10, 10)]),
        Labelled(BLANK, []),
    ]
    found = measure(lambda _: [(0, 0, 10, 10)], pictures)
    assert (found.faces, found.found, found.false, found.pictures) == (2, 1, 1, 3)
    assert found.recall == 0.5
    assert Found(0, 0, 0, 1, 0.0).recall == 1


def _wider(folder: Path) -> Path:
    (folder / "a").mkdir()
    cv2.imwrite(str(folder / "a/one.png"), BLANK)
    cv2.imwrite(str(folder / "none.png"), BLANK)
    lines = ["a/one.png", "3", "1 2 30 40 0 0 0 0 0 0", "5 5 10 10 2 0 0 1 0 0", "9 9 0 0 0 0 0 0 0 0"]
    lines += ["none.png", "0", "0 0 0 0 0 0 0 0 0 0"]
    (folder / "gt.txt").write_text("\n".join(lines))
    return folder / "gt.txt"


def test_annotations_in_wider_faces_form_are_read(tmp_path: Path) -> None:
    one, none = wider_pictures(_wider(tmp_path), tmp_path)
    assert one.boxes == [(1, 2, 30, 40)]
    assert one.ignored == [(5, 5, 10, 10)]
    assert none.boxes == []
    rows = by_size([one])
    assert [len(pictures[0].boxes) for pictures in rows.values()] == [0, 0, 1, 0, 0]


def test_broken_annotations_are_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "gt.txt"
    broken.write_text("a.png\nmany\n")
    with pytest.raises(DatasetError, match=r"WIDER Face's form after 'a\.png'"):
        list(wider_pictures(broken, tmp_path))
    broken.write_text("a.png\n1\n1 2 3 4 0 0 0 0 0 0\n")
    with pytest.raises(DatasetError, match="can't be read as a picture"):
        list(wider_pictures(broken, tmp_path))


def test_small_faces_beside_a_close_up_and_none_in_empty_pictures() -> None:
    """The shipped portrait's face in composed pictures, as a face worker finds it."""
    cutouts = cutouts_of(DEMO.parent)
    find = our_finder("yunet-n", 24)
    found = measure(find, composed(cutouts, "24 to 60 px beside a close-up", 8))
    assert found.faces >= 36
    assert found.recall >= 0.9
    assert measure(find, empty(20)).false == 0


@pytest.mark.shared
def test_opencv_with_the_authors_file_is_a_peer(shared: Path) -> None:
    picture = cv2.cvtColor(cv2.imread(str(DEMO.parent / "portrait.jpg")), cv2.COLOR_BGR2RGB)
    found = opencv_finder(shared / "models/yunet_n_dynamic.onnx")(np.asarray(picture, np.uint8))
    assert len(found) == 1


def test_what_is_found_can_be_looked_at(tmp_path: Path) -> None:
    cutouts = cutouts_of(DEMO.parent)
    draw(our_finder("yunet-n", 24), cutouts, tmp_path / "found.png")
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "found.png")), cv2.COLOR_BGR2RGB)
    assert (picture == FOUND).all(axis=2).sum() > 500
    assert (picture == MISSED).all(axis=2).sum() < 500
    for place in (tmp_path / "no" / "found.png", tmp_path / "found", tmp_path):
        with pytest.raises(DatasetError, match="can't be written"):
            draw(lambda _: [], cutouts, place)


def test_an_unknown_peer_and_a_missing_file_are_named(tmp_path: Path) -> None:
    for word, sentence in (
        ("dlib=x", "must be one of opencv=FILE"),
        ("opencv", "must be one of"),
        ("haar=x", "no file x"),
    ):
        with pytest.raises(DatasetError, match=sentence):
            finders_of([], [word], 24)


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        evaluate,
        [
            "detection",
            "--wider",
            str(_wider(tmp_path)),
            "--pictures",
            str(tmp_path),
            "--empty",
            "2",
            "--json",
            str(tmp_path / "f.json"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "| WIDER, 32 to 64 px | 1 | 0.000, 0, " in result.output
    assert "| no face | 0 | 1.000, 0, " in result.output
    assert '"false"' in (tmp_path / "f.json").read_text()
    said = CliRunner().invoke(evaluate, ["detection"])
    assert said.exit_code == 1
    assert "--faces" in said.output
