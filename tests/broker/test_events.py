"""Functions that read an event: leading face, fused probabilities, accord."""

from __future__ import annotations

import pytest

from bimodal.broker.events import CONFLICT_BELOW, Changes, Speech, Verdict, accord, fused, leading
from tests.drawing.making import ANGRY, HAPPY, UNKNOWN, VOICE, event, face


def test_the_leading_face_is_who_speaks_else_who_the_verdict_is_of_else_the_largest() -> None:
    large, small = face(1, (0, 0, 90, 90), confidence=0.5), face(2, (0, 0, 10, 10), confidence=0.61)
    talking = face(3, (0, 0, 5, 5), speaks=True, confidence=0.4)
    assert leading(event([large, small, talking])) is talking
    assert leading(event([large, small])) is small
    assert leading(event([large, small], emotion=UNKNOWN)) is large
    assert leading(event()) is None


def test_the_verdicts_own_probabilities_come_first() -> None:
    smoothed = Verdict(label="happy", confidence=0.61, probabilities=HAPPY)
    assert fused(event(emotion=smoothed, speech=VOICE)) == HAPPY
    assert fused(event([face(1, (0, 0, 9, 9))], emotion=UNKNOWN)) is None, "nothing is invented"


def test_events_recorded_before_verdicts_had_probabilities_still_have_them() -> None:
    before = Verdict(label="anger", confidence=0.7)
    assert fused(event([face(1, (0, 0, 9, 9))], emotion=before)) == HAPPY
    assert fused(event(emotion=before, speech=VOICE)) == ANGRY
    assert fused(event(emotion=before, speech=None)) is None


@pytest.mark.parametrize(
    ("voice", "agreement", "expected"),
    [
        ("happy", 0.2, "agree"),
        ("anger", CONFLICT_BELOW, "differ"),
        ("anger", CONFLICT_BELOW - 0.01, "conflict"),
        (None, 0.2, "none"),
        ("anger", None, "none"),
    ],
)
def test_face_and_voice_contradict_where_they_name_different_emotions_and_are_unlike(
    voice: str | None, agreement: float | None, expected: str
) -> None:
    heard = Speech(label=voice, probabilities=ANGRY if voice else None, voice=0.9, age_ms=200.0)
    verdict = Verdict(label="happy", confidence=0.61, agreement=agreement, probabilities=HAPPY)
    assert accord(event([face(1, (0, 0, 9, 9))], emotion=verdict, speech=heard)) == expected
    assert accord(event(emotion=verdict, speech=heard)) == "none", "no face"


def test_changes_are_events_that_say_something_new() -> None:
    one, two = face(1, (0, 0, 90, 90)), face(2, (0, 0, 10, 10))
    told = [event([one]), event([one]), event([one, two]), event([one]), event([one], emotion=UNKNOWN), event()]
    changes = Changes()
    assert [changes.new(one) for one in told] == [True, False, True, True, True, True]
