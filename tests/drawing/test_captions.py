"""Captions of events."""

from __future__ import annotations

import msgspec

from bimodal.broker.events import Speech, Verdict
from bimodal.drawing.captions import caption, headline, rows, shown_set
from bimodal.drawing.style import WARNING, Style
from bimodal.models.emotions import SEVEN
from tests.drawing.making import ANGRY, HAPPY, SILENCE, UNKNOWN, VERDICT, VOICE, event, face


def said(*pieces: object) -> str:
    return " | ".join(piece.text for piece in pieces)  # type: ignore[attr-defined]


def test_the_verdict_stands_first_and_conflict_is_a_warning() -> None:
    pieces = headline(event([face(1, (0, 0, 10, 10), speaks=True)]), Style(latency=True))
    assert said(*pieces) == "happy 61 % | conflict: face happy, voice anger | desk | 23 ms"
    assert pieces[1].colour == WARNING


def test_agreement_is_said_in_percent() -> None:
    agreeing = Speech(label="happy", probabilities=HAPPY, voice=0.9, age_ms=200.0)
    alike = Verdict(label="happy", confidence=0.61, agreement=0.81)
    agreed = event([face(1, (0, 0, 10, 10))], emotion=alike, speech=agreeing)
    assert "face and voice agree, 81 % alike" in said(*headline(agreed, Style()))
    differing = headline(event([face(1, (0, 0, 10, 10))], emotion=alike), Style())
    assert "face happy, voice anger, 81 % alike" in said(*differing)
    assert differing[1].colour != WARNING, "no contradiction yet"


def test_unknown_comes_with_its_reason() -> None:
    unknown = event(speech=SILENCE, emotion=UNKNOWN)
    assert said(*headline(unknown, Style(name=False))) == "unknown | no face, too quiet"
    found = rows(unknown)
    assert [row.reason for row in found.values()] == ["no face", "too quiet", "no face, too quiet"]
    assert all(row.probabilities is None for row in found.values())


def test_a_frame_that_could_not_be_looked_at_says_why() -> None:
    assert "not looked at: the worker died" in said(*headline(event(failed="the worker died"), Style()))


def test_rows_hold_the_speakers_face_the_voice_and_both() -> None:
    found = rows(event([face(1, (0, 0, 90, 90)), face(2, (0, 0, 10, 10), speaks=True)]))
    assert [found[name].probabilities for name in ("video", "speech", "fused")] == [HAPPY, ANGRY, HAPPY]
    smoothed = Verdict(label="happy", confidence=0.61, probabilities=HAPPY)
    alone = rows(event(speech=VOICE, emotion=smoothed))
    assert [alone[name].probabilities for name in ("video", "speech", "fused")] == [None, ANGRY, HAPPY]
    assert rows(event(speech=None))["speech"].reason == "no sound"


def test_a_caption_holds_track_label_and_confidence() -> None:
    assert caption(face(7, (0, 0, 1, 1))) == "#7 happy 61 %"


def test_what_makes_a_label_less_sure_stands_beside_it() -> None:
    dark = msgspec.structs.replace(face(1, (0, 0, 10, 10), speaks=True), doubts=("face is dark",))
    noisy = msgspec.structs.replace(VOICE, doubts=("voice is noisy",))
    pieces = headline(event([dark], speech=noisy), Style(name=False))
    assert said(*pieces).startswith("happy 61 % | face is dark, voice is noisy | ")


def test_strong_categories_are_in_headline_and_caption() -> None:
    told = msgspec.structs.replace(VERDICT, other={"contempt": 0.45, "boredom": 0.1})
    shown = event([msgspec.structs.replace(face(1, (0, 0, 9, 9)), other={"contempt": 0.3})], emotion=told)
    assert "contempt 45 %" in [piece.text for piece in headline(shown, Style())]
    assert caption(shown.faces[0]).endswith("contempt 30 %")
    assert not any("boredom" in piece.text for piece in headline(shown, Style()))
    assert shown_set(shown, Style()).categories == ("contempt", "boredom")
    assert shown_set(event(), Style()) == SEVEN
