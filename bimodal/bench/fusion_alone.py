"""Fusion by itself: how many frames a second its one process could join, sockets left out."""

from __future__ import annotations

import time

import msgspec

from bimodal.bench.plan import Plan
from bimodal.bench.simulation_actors import FACES
from bimodal.broker.events import Emotion
from bimodal.broker.messages import Delivery, Face, FaceResult, LaneMessage, StreamOpened, decode, seal
from bimodal.supervisor.processes import processes
from bimodal.workers.fusion.actor import load
from bimodal.workers.fusion.dynamic import DynamicModel
from bimodal.workers.fusion.streams import Fusion
from bimodal.workers.settings import FusionActorSettings

STREAM, PERIOD_NS = "bench", 33_333_333
AT_ONCE = 200
ANY_DIMENSIONS = 128


def joined_per_s(plan: Plan) -> float:
    """Frames with one face that fusion turns into events, a second of CPU, with the config's models and settings."""
    rows = processes(plan.config, record=None)
    settings = next(row.settings for row in rows if isinstance(row.settings, FusionActorSettings))
    loaded = load(settings)
    fusion = Fusion(loaded.settings.fusion, loaded.dynamic, loaded.learned)
    opened = StreamOpened(stream=STREAM, run=1, policy="latest", source=STREAM, has_picture=True, has_sound=False)
    fusion.receive(opened, time.monotonic_ns())
    done, spent_s = 0, 0.0
    until = time.monotonic() + plan.seconds
    while not done or time.monotonic() < until:
        letters = [_letter(_result(done + number, loaded.dynamic)) for number in range(AT_ONCE)]
        begun = time.process_time()
        for letter in letters:
            body = decode(letter).body
            assert isinstance(body, Delivery)
            for event in fusion.receive(body.message, time.monotonic_ns()):
                assert isinstance(event, Emotion)
                _letter(event)
        spent_s += time.process_time() - begun
        done += AT_ONCE
    return done / spent_s


def _result(seq: int, dynamic: DynamicModel | None) -> FaceResult:
    faces: tuple[Face, ...] = FACES
    models: dict[str, str] = {}
    if dynamic is not None:
        # It takes only embeddings of its own size, and of the static model that it was trained for.
        embedding = bytes(2 * (dynamic.dimensions or ANY_DIMENSIONS))
        faces = tuple(msgspec.structs.replace(face, embedding=embedding) for face in FACES)
        models["face-static"] = dynamic.static or ""
    return FaceResult(
        number=seq + 1,
        stream=STREAM,
        run=1,
        seq=seq,
        pts_ns=seq * PERIOD_NS,
        grab_ns=time.monotonic_ns(),
        faces=faces,
        queue_ns=0,
        inference_ns=0,
        models=models,
    )


def _letter(message: LaneMessage) -> bytes:
    return seal(Delivery(number=1, message=message), epoch=1, sender="broker", incarnation=1)
