"""Messages and probabilities as tests of fusion need them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bimodal.broker.events import Probabilities
from bimodal.broker.messages import (
    Dropped,
    Face,
    FaceResult,
    JobFailed,
    Modality,
    SpeechResult,
    StreamEnded,
    StreamOpened,
)
from bimodal.models.emotions import EMOTIONS

MS = 1_000_000
HOP_NS = 200 * MS
FRAME_NS = 40 * MS


def sure(label: str, share: float = 0.88, of: tuple[str, ...] = EMOTIONS) -> Probabilities:
    """`share` on one emotion, the rest spread evenly over the others of `of`."""
    return {emotion: share if emotion == label else (1 - share) / (len(of) - 1) for emotion in of}


def face(
    x: float = 100.0,
    *,
    y: float = 100.0,
    side: float = 80.0,
    mouth: float = 0.0,
    probabilities: Probabilities | None = None,
    embedding: list[float] | None = None,
    score: float = 1.0,
    sharpness: float = 1.0,
) -> Face:
    return Face(
        box=(x, y, side, side),
        score=score,
        sharpness=sharpness,
        mouth=mouth,
        probabilities=sure("happy") if probabilities is None else probabilities,
        embedding=None if embedding is None else np.array(embedding, dtype="<f2").tobytes(),
    )


def opened(**changes: object) -> StreamOpened:
    fields: dict[str, object] = {
        "stream": "film",
        "run": 1,
        "policy": "every",
        "source": "film.mp4",
        "has_picture": True,
        "has_sound": True,
        "hop_ns": HOP_NS,
    }
    return StreamOpened(**(fields | changes))  # type: ignore[arg-type]


def frame(seq: int, *faces: Face, pts_ns: int | None = None, run: int = 1, stream: str = "film") -> FaceResult:
    pts = seq * FRAME_NS if pts_ns is None else pts_ns
    return FaceResult(
        number=1,
        stream=stream,
        run=run,
        seq=seq,
        pts_ns=pts,
        grab_ns=pts,
        faces=faces,
        queue_ns=MS,
        inference_ns=2 * MS,
        models={"face-static": "static@1"},
    )


def hop(
    seq: int,
    label: str | None = "sad",
    *,
    voice: float = 1.0,
    pts_ns: int | None = None,
    because: str | None = None,
    run: int = 1,
) -> SpeechResult:
    """Hop `seq` of sound that starts at 0; `label` None: gated."""
    pts = (seq + 1) * HOP_NS if pts_ns is None else pts_ns
    return SpeechResult(
        number=1,
        stream="film",
        run=run,
        seq=seq,
        pts_ns=pts,
        grab_ns=pts,
        voice=voice,
        probabilities=sure(label) if label is not None else None,
        because=because if label is not None or because is not None else "no voice",
        models={"speech": "speech@1"} if label is not None else {},
    )


def failed(modality: Modality, seq: int, because: str = "the picture is broken", stale: bool = False) -> JobFailed:
    pts = seq * FRAME_NS if modality == "face" else (seq + 1) * HOP_NS
    return JobFailed(
        number=1,
        stream="film",
        run=1,
        modality=modality,
        seq=seq,
        pts_ns=pts,
        grab_ns=pts,
        because=because,
        stale=stale,
    )


def dropped(modality: Modality, seq: int) -> Dropped:
    return Dropped(stream="film", run=1, modality=modality, seq=seq, because="replaced by a newer one")


def ended(modality: Modality, count: int, run: int = 1) -> StreamEnded:
    return StreamEnded(stream="film", run=run, modality=modality, count=count)


@st.composite
def distributions(draw: st.DrawFn, known: tuple[str, ...] | None = None) -> Probabilities:
    """Probabilities over `known`, or over any emotions."""
    if known is None:
        known = tuple(draw(st.lists(st.sampled_from(EMOTIONS), min_size=1, unique=True)))
    size = len(known)
    masses = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size).filter(lambda values: sum(values) > 0.01))
    return {emotion: mass / sum(masses) for emotion, mass in zip(known, masses, strict=True)}
