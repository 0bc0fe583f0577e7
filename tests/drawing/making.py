"""Events to draw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bimodal.broker.events import Emotion, Latency, Speech, TrackedFace, Verdict

HAPPY = {"neutral": 0.1, "happy": 0.61, "sad": 0.05, "surprise": 0.14, "fear": 0.04, "disgust": 0.02, "anger": 0.04}
ANGRY = {"neutral": 0.08, "happy": 0.02, "sad": 0.05, "surprise": 0.03, "fear": 0.1, "disgust": 0.02, "anger": 0.7}
VOICE = Speech(label="anger", probabilities=ANGRY, voice=0.9, age_ms=200.0)
SILENCE = Speech(label=None, probabilities=None, voice=0.0, age_ms=100.0, because="too quiet")
VERDICT = Verdict(label="happy", confidence=0.61, agreement=0.31, probabilities=HAPPY)
UNKNOWN = Verdict(label=None, confidence=None, because="no face, too quiet")


def face(track: int, box: tuple[int, int, int, int], *, speaks: bool = False, confidence: float = 0.61) -> TrackedFace:
    """A happy face."""
    weights = {"video": 0.7, "speech": 0.3} if speaks else {"video": 1.0, "speech": 0.0}
    return TrackedFace(
        track=track,
        box=box,
        score=0.9,
        static=HAPPY,
        dynamic=None,
        video=HAPPY,
        fused=HAPPY,
        label="happy",
        confidence=confidence,
        weights=weights,
    )


def event(faces: Iterable[TrackedFace] = (), **fields: Any) -> Emotion:
    """An event; a voice that disagrees with the face, unless `fields` say otherwise."""
    told: dict[str, Any] = {
        "stream": "desk",
        "seq": 1,
        "t": 3.2,
        "speech": VOICE,
        "emotion": VERDICT,
        "latency_ms": Latency(queue=1.0, inference=2.0, total=23.4),
        "models": {},
    }
    return Emotion(faces=tuple(faces), **(told | fields))
