"""The one-page report: its figures, its picture, and that other people's words do no harm."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, FaceMeasures, Verdict
from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.recordings.reading import Clip, clips
from bimodal.recordings.recording import Recording
from bimodal.recordings.report import facts
from bimodal.recordings.report.charts import WIDTH, timeline
from bimodal.recordings.report.page import percent, render, tally_of, write_report
from bimodal.recordings.report.statistics import FINEST_S, MOST_BINS, Tally
from tests.recordings.events import event, event_lists, face, opened, speech

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def recorded(folder: Path, events: list[Emotion], name: str = "clip") -> Clip:
    recording = Recording(folder, name, opened(), "clip.mp4", 0.0)
    for one in events:
        recording.add(one)
    recording.close(1.0)
    (clip,) = clips(folder / f"{name}.jsonl")
    return clip


def felt(seq: int, label: str | None, confidence: float | None = 0.7, agreement: float | None = None) -> Emotion:
    verdict = Verdict(
        label=label, confidence=confidence, agreement=agreement, because=None if label else "no face, no voice"
    )
    return event(seq, faces=[face(label)] if label else [], heard=speech("sad") if agreement else None, verdict=verdict)


class Reader(HTMLParser):
    """Collects tags and text, and whatever would ask another host for something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outward: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outward += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "action", "xlink:href")]
        self.outward += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def test_shares_agreement_and_stretches_are_counted_right(tmp_path: Path) -> None:
    labels = ["happy"] * 50 + [None] * 25 + ["sad"] * 25
    events = [felt(seq, label, agreement=0.5 if seq < 40 else None) for seq, label in enumerate(labels)]
    clip = recorded(tmp_path, events)
    tally = tally_of(clip)
    shares = {share.emotion: share.fused for share in facts.shares(tally)}
    assert shares["happy"] == pytest.approx(2 / 3)
    assert shares["sad"] == pytest.approx(1 / 3)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert (tally.compared, tally.same_label, tally.agreement / tally.compared) == (40, 0, 0.5)
    assert tally.conflicts == {("happy", "sad"): 40}
    first, second = facts.stretches(tally, 0.04)
    assert (first.label, first.begin, first.end) == ("happy", "0:00.0", "0:02.0")
    assert first.seconds == pytest.approx(2.0)
    assert (second.label, second.seconds) == ("sad", pytest.approx(1.0))
    assert facts.reasons(tally.unknown, tally.frames) == [facts.Reason("no face, no voice", 25, 0.25)]


def test_the_page_says_it_and_asks_nobody(tmp_path: Path) -> None:
    clip = recorded(tmp_path, [felt(seq, "happy", agreement=0.5) for seq in range(50)])
    path = write_report(clip, NOW)
    assert path == tmp_path / "clip.html"
    found = read(path.read_text())
    assert found.outward == []
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(found.tags)
    assert "url(" not in path.read_text()
    assert "@import" not in path.read_text()
    assert "svg" in found.tags
    for words in ("Timeline", "Longest stretches", "What was unknown, and why", "not what anybody felt", "tiny@1"):
        assert words in found.text


def doing(one: Emotion, measures: FaceMeasures) -> Emotion:
    """The event with what its face does."""
    (seen,) = one.faces
    return msgspec.structs.replace(one, faces=(msgspec.structs.replace(seen, face=measures),))


def test_what_the_faces_do_is_folded_and_there_where_it_is_known(tmp_path: Path) -> None:
    plain = [felt(seq, "happy") for seq in range(50)]
    assert "What face 1 does" not in render(recorded(tmp_path, plain), NOW), "results of older versions"
    events = [
        doing(
            one,
            FaceMeasures(
                yaw_deg=-0.2 if one.seq < 25 else 10.0,
                valence=0.5,
                blink_ms=120.0 if one.seq == 30 else None,
                units={"au12_derived": 0.6, "au4_derived": 0.01},
            ),
        )
        for one in plain
    ]
    found = read(render(recorded(tmp_path, events, "does"), NOW))
    assert {"details", "summary", "polyline"} <= set(found.tags)
    for words in ("What face 1 does", "5° (0° … 10°)", "0.50 (0.50 … 0.50)", "1, 31 a minute, 120 ms", "AU12 60 %"):
        assert words in found.text
    assert "AU4" not in found.text


def test_a_stretch_leads_to_its_place_in_the_film(tmp_path: Path) -> None:
    clip = recorded(tmp_path, [felt(seq, "happy" if seq < 25 else "sad") for seq in range(50)], "a b")
    assert "No film lies beside this report" in render(clip, NOW)
    (tmp_path / "a b.annotated.mp4").write_bytes(b"")
    html = render(clip, NOW)
    found = read(html)
    assert {"video", "track", "script"} <= set(found.tags)
    assert set(found.outward) == {"video src", "track src", "a href"}
    assert 'href="a%20b.annotated.mp4#t=1.000" data-t="1.000"' in html
    captions = re.search('<track [^>]*src="data:text/vtt;base64,([^"]+)"', html)
    assert captions is not None
    text = base64.b64decode(captions[1]).decode()
    assert text.startswith("WEBVTT")
    assert "00:00:01.000 --> 00:00:02.000\nface 1: sad 70 %" in text


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    bad = msgspec.structs.replace(
        felt(0, None), emotion=Verdict(label=None, confidence=None, because=evil), models={"face-static": evil + "@1"}
    )
    html = render(recorded(tmp_path, [bad, felt(1, "happy")], name="<b onload=x>"), NOW)
    assert evil not in html
    assert "<b onload" not in html
    found = read(html)
    assert "script" not in found.tags
    assert found.outward == []
    assert evil in found.text


def test_a_recording_without_events_has_a_page(tmp_path: Path) -> None:
    assert "There are no events" in render(recorded(tmp_path, []), NOW)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=event_lists())
def test_any_events_make_a_page(tmp_path: Path, events: list[Emotion]) -> None:
    ordered = [msgspec.structs.replace(one, t=one.seq / 25) for one in events]
    html = render(recorded(tmp_path, ordered), NOW)
    assert read(html).outward == []


@given(st.lists(st.floats(0, 200_000), min_size=1, max_size=30), st.sampled_from(["happy", None]))
def test_everything_in_the_picture_lies_in_it(times: list[float], label: str | None) -> None:
    tally = Tally()
    for seq, t in enumerate(sorted(times)):
        tally.add(felt(seq, label), t)
    picture = timeline(tally)
    for row in picture.rows:
        for box in row.rectangles:
            assert -1e-6 <= box.x <= box.x + box.width <= WIDTH + 1e-6
            assert row.y - 1e-6 <= box.y <= box.y + box.height <= row.y + row.height + 1e-6
        for area in row.areas:
            across = [float(x) for x in re.findall(r"[MH](-?[\d.]+)", area.path)]
            down = [float(y) for y in re.findall(r"(?:V|M\S+ )(-?[\d.]+)", area.path)]
            assert -0.01 <= min(across) <= max(across) <= WIDTH + 0.01
            assert row.y - 0.1 <= min(down) <= max(down) <= row.y + row.height + 0.1
    assert len(picture.columns) <= MOST_BINS
    assert all(0 <= tick.x <= WIDTH + 1e-6 for tick in picture.ticks)


def test_what_lasts_a_frame_is_seen_in_a_short_clip() -> None:
    tally = Tally()
    for seq in range(200):  # 8 s
        tally.add(felt(seq, "fear" if seq == 101 else "happy"), seq / 25)
    picture = timeline(tally)
    assert picture.each == "frame"
    assert len(picture.columns) == 200
    (column,) = [one for one in picture.columns if "fused: fear" in one.title]
    assert (column.x, column.width) == pytest.approx((WIDTH * 101 / 200, WIDTH / 200))
    assert column.title.startswith("0:04.04–0:04.08")
    widths = [one.width for one in picture.columns]
    assert widths == pytest.approx([WIDTH / 200] * 200), "no seams and no gaps"


@pytest.mark.parametrize(
    ("frames", "frame_s", "each", "columns"),
    [(1, 0.04, "frame", 1), (20, 1.0, "frame", 20), (3_000, 1 / 30, "0.32 s", 313), (4, 30.0, "frame", 4)],
)
def test_columns_follow_the_length_of_the_clip(frames: int, frame_s: float, each: str, columns: int) -> None:
    tally = Tally()
    for seq in range(frames):
        tally.add(felt(seq, "happy"), seq * frame_s)
    picture = timeline(tally)
    assert (picture.each, len(picture.columns)) == (each, columns)
    (area,) = picture.rows[0].areas[1:2]
    assert area.path.count("M") == 1, "one run, without gaps"
    assert picture.columns[-1].x + picture.columns[-1].width == pytest.approx(WIDTH, abs=3)


def test_a_pause_is_a_gap() -> None:
    tally = Tally()
    for t in (0.0, 0.04, 0.08, 5.0, 5.04):
        tally.add(felt(0, "happy"), t)
    path = timeline(tally).rows[0].areas[0].path
    assert path.count("M") == 2
    assert tally.bins.width == FINEST_S


def test_further_categories_have_a_stack_of_their_own() -> None:
    tally = Tally(EmotionSet(EMOTIONS, ("contempt", "calm")))
    for seq in range(10):
        one = felt(seq, "happy")
        verdict = msgspec.structs.replace(one.emotion, other={"contempt": 0.4, "calm": 0.1})
        tally.add(msgspec.structs.replace(one, emotion=verdict), seq / 25)
    (row,) = [row for row in timeline(tally).rows if row.name == "other"]
    assert [area.kind for area in row.areas] == ["hue1", "hue2"], "in colours of their own"
    assert f"V{row.y + 0.4 * row.height:.1f}" in row.areas[0].path, "as high as its share, not as all of them"
    assert "other: contempt 40%, calm 10%" in timeline(tally).columns[0].title


def test_small_shares_are_not_nothing() -> None:
    assert [percent(share) for share in (0.0, 0.001, 0.01, 0.5, 1.0)] == ["0 %", "< 1 %", "1 %", "50 %", "100 %"]
    assert re.fullmatch(r"\d+ %", percent(0.333))
