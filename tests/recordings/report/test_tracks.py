"""Faces and voices over time: lanes lie on the time axis, and every label has a colour."""

from __future__ import annotations

from bimodal.broker.events import FaceMeasures
from bimodal.models.emotions import EMOTIONS
from bimodal.recordings.report.charts import tenths
from bimodal.recordings.report.statistics import Tally
from bimodal.recordings.report.tracks import MOST_SEGMENTS, css_of, follow, voices
from bimodal.recordings.segments import Segment
from tests.recordings.report.test_page import doing, felt


def segment(start: float, end: float, label: str = "happy", **fields: object) -> Segment:
    return Segment(start, end, fields.pop("track", 1), label, 0.7, 10, **fields)  # type: ignore[arg-type]


def tally_of_seconds(seconds: int, **measures: object) -> Tally:
    tally = Tally()
    for seq in range(25 * seconds):
        tally.add(doing(felt(seq, "happy"), FaceMeasures(**measures)), seq / 25)  # type: ignore[arg-type]
    return tally


def test_segments_lie_on_the_time_axis() -> None:
    found = [segment(0.0, 1.0), segment(1.0, 4.0, "sad"), segment(2.0, 3.0, "speaks", kind="turn")]
    found += [segment(0.0, 2.0, "anger", track=2), segment(0.5, 2.5, "fear", track=None, kind="voice")]
    tally = tally_of_seconds(4)
    one = follow(tally, found, [1])[1]
    assert [(part.label, part.left, part.width) for part in one.segments] == [("happy", 0, 25), ("sad", 25, 75)]
    assert [(part.left, part.width) for part in one.turns] == [(50, 25)]
    assert one.segments[0].title == "0:00.0–0:01.0 happy 70 %"
    assert one.affect is None
    assert one.details == []
    (voice,) = voices(tally, found)
    assert [part.label for part in voice.segments] == ["fear"]


def test_what_a_face_does_is_lines() -> None:
    tally = tally_of_seconds(
        2, yaw_deg=20.0, pitch_deg=-3.0, roll_deg=0.0, valence=0.5, arousal=-0.5, mouth_open=0.1,
        units={"au12_derived": 0.6, "au4_derived": 0.01},
    )  # fmt: skip
    one = follow(tally, [], [1])[1]
    assert one.affect is not None
    assert [line.name for line in one.affect.lines] == ["valence", "arousal"]
    assert [(chart.name, chart.low, chart.high) for chart in one.details] == [
        ("head pose", "−30°", "30°"),
        ("mouth open", "0", "0.5"),
        ("action units (derived)", "0", "1"),
    ]
    assert [line.name for line in one.details[2].lines] == ["AU12"]


def test_of_very_many_the_longest_are_shown_in_their_order() -> None:
    found = [segment(n / 100, n / 100 + (0.5 if n % 2 else 0.1)) for n in range(2 * MOST_SEGMENTS + 50)]
    one = follow(tally_of_seconds(10), found, [1])[1]
    assert (len(one.segments), one.hidden) == (MOST_SEGMENTS, MOST_SEGMENTS + 50)
    assert [part.start for part in one.segments] == sorted(part.start for part in one.segments)


def test_every_label_has_a_class_that_is_one_word() -> None:
    assert [css_of(emotion) for emotion in EMOTIONS] == list(EMOTIONS)
    for label in ("contempt", "two words", '"><b>'):
        assert css_of(label) == css_of(label)
        assert css_of(label).isalnum()


def test_tenths() -> None:
    assert [tenths(value) for value in (0.0, 72.34, 3723.96)] == ["0:00.0", "1:12.3", "1:02:04.0"]
