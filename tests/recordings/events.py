"""Events for tests of keeping them: one plain maker, and any event at all as a hypothesis strategy."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from bimodal.broker.events import Emotion, FaceMeasures, Hop, Latency, Speech, TrackedFace, Verdict
from bimodal.broker.messages import StreamOpened
from bimodal.models.emotions import EMOTIONS


def one_hot(label: str, confidence: float = 0.7) -> dict[str, float]:
    rest = (1.0 - confidence) / (len(EMOTIONS) - 1)
    return {emotion: confidence if emotion == label else rest for emotion in EMOTIONS}


def face(label: str = "happy", *, track: int = 1, confidence: float = 0.7, video: str | None = None) -> TrackedFace:
    return TrackedFace(
        track=track,
        box=(10, 20, 30, 40),
        score=0.9,
        static=one_hot(label, confidence),
        dynamic=None,
        video=one_hot(video or label, confidence),
        fused=one_hot(label, confidence),
        label=label,
        confidence=confidence,
        weights={"video": 0.7, "speech": 0.3},
    )


def speech(label: str = "sad", confidence: float = 0.6) -> Speech:
    return Speech(label=label, probabilities=one_hot(label, confidence), voice=0.8, age_ms=120.0)


def event(
    seq: int,
    *,
    faces: Sequence[TrackedFace] = (),
    heard: Speech | None = None,
    verdict: Verdict | None = None,
    failed: str | None = None,
    models: dict[str, str] | None = None,
) -> Emotion:
    return Emotion(
        stream="clip",
        seq=seq,
        t=seq / 25,
        faces=tuple(faces),
        speech=heard,
        emotion=verdict or Verdict(label=None, confidence=None, because="no face, no voice"),
        latency_ms=Latency(queue=1.0, inference=2.0, total=4.0),
        models=models or {"face-static": "tiny@1"},
        failed=failed,
        run=3,
    )


def hop(seq: int, label: str | None = "sad", channel: str | None = None, **changes: object) -> Hop:
    return Hop(
        stream="clip",
        seq=seq,
        t=0.5 * (seq + 1),
        channel=channel,
        label=label,
        confidence=None if label is None else 0.6,
        probabilities=None if label is None else one_hot(label, 0.6),
        voice=0.9,
        because="no voice" if label is None else None,
        latency_ms=Latency(queue=1.0, inference=2.0, total=3.0),
        models={"speech": "tiny@1"},
        run=3,
        **changes,  # type: ignore[arg-type]
    )


def opened(**changes: object) -> StreamOpened:
    fields: dict[str, object] = {
        "stream": "clip",
        "run": 3,
        "policy": "every",
        "source": "clip.mp4",
        "has_picture": True,
        "has_sound": False,
        "fps": 25.0,
        **changes,
    }
    return StreamOpened(**fields)  # type: ignore[arg-type]


shares = st.floats(0, 1)
numbers = st.floats(0, 1e6)
labels = st.sampled_from(EMOTIONS)
probabilities = st.dictionaries(labels, shares, min_size=1)
reasons = st.text(max_size=40)

faces = st.builds(
    TrackedFace,
    track=st.integers(0, 10_000),
    box=st.tuples(*[st.integers(-100, 10_000)] * 4),
    score=shares,
    static=probabilities,
    dynamic=st.none() | probabilities,
    video=probabilities,
    fused=probabilities,
    label=labels,
    confidence=shares,
    weights=st.dictionaries(st.sampled_from(["video", "speech"]), shares),
    face=st.none()
    | st.builds(
        FaceMeasures,
        yaw_deg=st.none() | st.floats(-180, 180),
        eyes_closed=st.none() | st.booleans(),
        blink_ms=st.none() | shares,
        affect=st.sampled_from([None, "derived", "model"]),
        blend=st.none() | st.dictionaries(st.sampled_from(["jawOpen", "mouthSmileLeft"]), shares),
    ),
)
speeches = st.builds(
    Speech,
    label=st.none() | labels,
    probabilities=st.none() | probabilities,
    voice=shares,
    age_ms=numbers,
    because=st.none() | reasons,
)
verdicts = st.builds(
    Verdict,
    label=st.none() | labels,
    confidence=st.none() | shares,
    agreement=st.none() | shares,
    because=st.none() | reasons,
    probabilities=st.none() | probabilities,
)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Emotion]:
    """Events in order, with gaps now and then."""
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 5]), max_size=8))
    found, seq = [], -1
    for step in steps:
        seq += step
        found.append(
            Emotion(
                stream=draw(st.text(min_size=1, max_size=20)),
                seq=seq,
                t=draw(numbers),
                faces=tuple(draw(st.lists(faces, max_size=3))),
                speech=draw(st.none() | speeches),
                emotion=draw(verdicts),
                latency_ms=Latency(queue=draw(numbers), inference=draw(numbers), total=draw(numbers)),
                models=draw(st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=2)),
                failed=draw(st.none() | reasons),
            )
        )
    return found
