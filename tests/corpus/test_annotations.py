"""People's annotations: tables, ELAN and Praat; our own exports are read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.corpus.annotations import Annotation, read_annotations
from bimodal.recordings.exports import FORMATS, Annotated
from bimodal.recordings.segments import Segment
from bimodal.workers.errors import SourceError

SEGMENTS = [
    Segment(start=0.0, end=1.5, track=1, label="happy", confidence=0.8, frames=30),
    Segment(start=1.5, end=2.25, track=1, label="sad", confidence=0.7, frames=20),
]


@pytest.mark.parametrize(("name", "suffix"), [("eaf", ".eaf"), ("textgrid", ".TextGrid")])
def test_what_we_export_is_read_back(tmp_path: Path, name: str, suffix: str) -> None:
    clip = Annotated("talk", "/x/talk.mp4", [], SEGMENTS, 3.0, "2026-11-29T12:00:00+00:00")
    path = tmp_path / f"talk{suffix}"
    path.write_text(FORMATS[name].make(clip))  # type: ignore[index]
    found = read_annotations(path)
    assert [(one.clip, one.start, one.end, one.label) for one in found] == [
        ("talk", 0.0, 1.5, "happy"),
        ("talk", 1.5, 2.25, "sad"),
    ]


def test_tables_of_clips_and_of_stretches(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("File;Emotion;Rater\na.mp4;Angry;M\nb;calm;\nc;contempt;M\nd;;M\n", "utf-8-sig")
    assert read_annotations(path) == [
        Annotation("a.mp4", None, None, "anger", "M"),
        Annotation("b", None, None, "neutral"),
        Annotation("c", None, None, None, "M"),
    ]
    path.write_text("clip,start,end,label\na,0.5,2,happy\n")
    assert read_annotations(path) == [Annotation("a", 0.5, 2.0, "happy")]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "clip,start,label\na,1,sad\n", "only one of start and end"),
        ("a.csv", "clip,start,end,label\na,x,2,sad\n", "line 2 of .*: 'x' is no time in seconds"),
        ("a.csv", "clip,label\na,cheese\n", "line 2 of .*: label 'cheese'"),
        ("a.csv", "a,b\n1,2\n", "needs a column with the clip"),
        ("a.eaf", "<nothing", "is no file of ELAN"),
        ("a.eaf", "<!DOCTYPE x><x/>", "defines entities of its own"),
        ("a.eaf", "<x/>", "holds no annotation with an emotion"),
        ("a.TextGrid", "hello", "is no TextGrid of Praat"),
    ],
)
def test_what_can_not_be_read_is_said(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=sentence):
        read_annotations(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="can't be read: No such file"):
        read_annotations(tmp_path / "none.csv")
