"""Files for other programs, read back by independent readers: pympi-ling (ELAN), praatio (Praat)."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimodal.recordings.convert import formats_of
from bimodal.recordings.exports import FORMATS, Annotated, tier_of, tiers
from bimodal.recordings.recording import RecordError
from bimodal.recordings.segments import Segment, in_order
from tests.recordings.events import event, face, speech

DATE = "2026-01-02T03:04:05+01:00"
NASTY = 'a "b" <c> & d\x00'


def clip(found: list[Segment], duration_s: float = 10.0) -> Annotated:
    return Annotated("clip", "/films/ä clip.mp4", [event(0, faces=[face()], heard=speech())], found, duration_s, DATE)


SOME = [
    Segment(0.0, 1.5, 1, "happy", 0.8, 30, "face", 0.9),
    Segment(0.5, 2.0, None, "sad", 0.6, 3, "voice", 0.7, "left"),
    Segment(1.5, 4.0, 1, "neutral", 0.5, 60, "face", 0.6),
    Segment(1.0, 1.2, 1, "blink", 1.0, 1, "blink"),
    Segment(0.0, 3.0, 1, "speaks", 1.0, 70, "turn"),
    Segment(2.0, 4.0, 10, NASTY, 0.5, 60, "face", 0.6),
]


@st.composite
def courses(draw: st.DrawFn) -> list[Segment]:
    """Segments of two faces, none over another of the same face."""
    found = []
    for track in (1, 2):
        times = sorted(draw(st.lists(st.floats(0, 100), max_size=8)))
        labels = st.sampled_from(["happy", "sad"])
        found += [Segment(a, b, track, draw(labels), 0.5, 1, "face", 0.6) for a, b in itertools.pairwise(times)]
    return in_order(found)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(courses())
def test_elan_files_hold_every_stretch(tmp_path: Path, found: list[Segment]) -> None:
    eaf = pytest.importorskip("pympi.Elan")
    path = tmp_path / "clip.eaf"
    path.write_text(FORMATS["eaf"].make(clip([*found, *SOME])), encoding="utf-8")
    read = eaf.Eaf(str(path))
    wanted = tiers([*found, *SOME])
    assert set(read.get_tier_names()) == set(wanted)
    for name, stretches in wanted.items():
        assert [(a, b, v) for a, b, v in sorted(read.get_annotation_data_for_tier(name))] == [
            (a, b, label.replace("\x00", "")) for a, b, label in stretches
        ]
    assert read.media_descriptors[0]["MEDIA_URL"] == "file:///films/%C3%A4%20clip.mp4"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(courses())
def test_praat_files_hold_every_stretch(tmp_path: Path, found: list[Segment]) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    path = tmp_path / "clip.TextGrid"
    path.write_text(FORMATS["textgrid"].make(clip([*found, *SOME[:5]])), encoding="utf-8")
    read = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    wanted = tiers([*found, *SOME[:5]])
    assert list(read.tierNames) == list(wanted)
    for name, stretches in wanted.items():
        entries = [(round(e.start * 1000), round(e.end * 1000), e.label) for e in read.getTier(name).entries]
        assert entries == stretches


def test_quotes_in_praat_files_are_doubled() -> None:
    assert '"a ""b"" <c> & d' in FORMATS["textgrid"].make(clip(SOME))


def test_captions_are_cues_of_faces_and_voices() -> None:
    vtt, srt = FORMATS["webvtt"].make(clip(SOME)), FORMATS["srt"].make(clip(SOME))
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nface 1: happy 80 %\n")
    assert srt.startswith("1\n00:00:00,000 --> 00:00:01,500\nface 1: happy 80 %\n\n2\n")
    assert "&lt;c&gt; &amp; d" in vtt
    assert len(re.findall(" --> ", vtt)) == len(re.findall(" --> ", srt)) == 4
    assert "speaks" not in vtt


def test_a_boris_project_has_a_start_and_an_end_of_every_stretch() -> None:
    project = json.loads(FORMATS["boris"].make(clip(SOME)))
    events = project["observations"]["clip"]["events"]
    assert len(events) == 2 * len(SOME)
    assert [one[0] for one in events] == sorted(one[0] for one in events)
    subjects = {one["name"] for one in project["subjects_conf"].values()}
    codes = {one["code"] for one in project["behaviors_conf"].values()}
    assert {one[1] for one in events} == subjects == set(tiers(SOME))
    assert {one[2] for one in events} == codes


def test_the_long_table_has_a_row_for_each_measure() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv-long"].make(clip([])))))
    assert {row["who"] for row in rows} == {"face 1", "voice", "both"}
    value = next(row["value"] for row in rows if row["measure"] == "fused_happy")
    assert float(value) == pytest.approx(0.7)
    assert len({(row["t"], row["who"], row["measure"]) for row in rows}) == len(rows)


def test_tiers_of_nothing_and_of_every_kind() -> None:
    assert tiers([]) == {}
    assert [tier_of(one) for one in SOME] == ["face 1", "voice left", "face 1", "blink 1", "turn 1", "face 10"]
    assert list(tiers(SOME)) == ["face 1", "face 10", "voice left", "turn 1", "blink 1"]
    for name in FORMATS:
        FORMATS[name].make(clip([]))


def test_formats_are_named_with_commas_and_wrong_ones_in_a_sentence() -> None:
    assert formats_of("WebVTT, eaf") == ["eaf", "webvtt"]
    for wrong in ("", "docx", "eaf,docx"):
        with pytest.raises(RecordError, match="eaf, textgrid, webvtt, srt, boris, csv-long"):
            formats_of(wrong)
    assert datetime.fromisoformat(DATE)


def test_further_categories_are_of_their_face_or_voice() -> None:
    found = [
        Segment(0.0, 2.0, 3, "happy", 0.6, 50, "face", 0.9),
        Segment(0.5, 2.0, 3, "contempt", 0.7, 38, "other", 0.9),
        Segment(0.5, 2.0, None, "boredom", 0.6, 3, "other", 0.7),
        Segment(2.0, 3.0, None, "boredom", 0.6, 3, "other", 0.7, "left"),
    ]
    assert [tier_of(one) for one in found] == ["face 3", "other 3", "other", "other left"], "tiers hold no overlaps"
    for kind in ("webvtt", "srt"):
        text = FORMATS[kind].make(clip(found))
        for words in ("face 3: happy 60 %", "face 3: contempt 70 %", "voice: boredom 60 %", "voice left: boredom 60 %"):
            assert words in text
    project = json.loads(FORMATS["boris"].make(clip(found)))
    assert {one["name"] for one in project["subjects_conf"].values()} == {"face 3", "voice", "voice left"}


def test_elan_finds_the_film_from_where_its_file_lies(tmp_path: Path) -> None:
    for folder, wanted in ((Path("/films"), "./%C3%A4 clip.mp4"), (Path("/results/a"), "../../films/"), (None, "./")):
        text = FORMATS["eaf"].make(clip(SOME)._replace(folder=folder))
        found = re.search(r'RELATIVE_MEDIA_URL="([^"]*)"', text)
        assert found is not None
        assert found[1].startswith(wanted.replace("%C3%A4", "ä"))
