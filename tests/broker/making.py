"""Messages that the broker's tests are made of."""

from __future__ import annotations

from bimodal.broker.messages import Job, Modality, Policy, StreamOpened


def job(stream: str, seq: int, modality: Modality = "face", run: int = 1, *, grab_ns: int = 0) -> Job:
    """A job of two by two pixels."""
    return Job(
        stream=stream,
        run=run,
        modality=modality,
        seq=seq,
        pts_ns=seq * 40_000_000,
        grab_ns=grab_ns,
        ring="ring",
        slot=seq % 4,
        generation=2,
        shape=(2, 2, 3),
    )


def opened(stream: str, policy: Policy, run: int = 1, *, has_sound: bool = True) -> StreamOpened:
    """A stream with picture."""
    return StreamOpened(
        stream=stream, run=run, policy=policy, source=f"{stream}.mp4", has_picture=True, has_sound=has_sound
    )
