"""A recorder of the Lab Streaming Layer finds the stream, reads its metadata, and gets every event at its time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from bimodal.broker.events import Verdict
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Hello, Job, seal
from bimodal.broker.sockets import bind, events_endpoint, make_private
from bimodal.broker.topics import topic_of
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.actor import ActorSettings
from bimodal.workers.errors import WorkerError
from bimodal.workers.lsl import CHANNELS, Layer, LslActor
from tests.workers.test_lsl_samples import announced, event, face

pylsl = pytest.importorskip("pylsl")

PATIENCE_S = 60.0
AGO_NS = 100 * 10**9


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[LslActor]:
    directory = tmp_path / "lsl-test"
    make_private(directory)
    settings = ActorSettings(
        name="lsl",
        incarnation=1,
        role="observer",
        directory=str(directory),
        slots=str(tmp_path),
        own={"streams": ["desk"], "machine_only": True},
    )
    mailbox = Mailbox(directory, "lsl", 1, Hello(role="observer"))
    started = LslActor(settings, mailbox)
    yield started
    started.close()
    mailbox.close()


@pytest.fixture
def bus(actor: LslActor, tmp_path: Path) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context[zmq.Socket[bytes]]()
    socket = bind(context, zmq.PUB, events_endpoint(tmp_path / "lsl-test"))
    yield socket
    socket.close(linger=0)
    context.term()


def found(kind: str) -> object:
    """The stream as a recorder finds it: by its source, which stays the same."""
    streams = pylsl.resolve_bypred(f"contains(source_id, ':lsl-test:desk:{kind}')", 1, PATIENCE_S)
    assert len(streams) == 1
    return streams[0]


def test_a_recorder_gets_events_with_names_units_and_the_time_of_the_grab(
    actor: LslActor, bus: zmq.Socket[bytes]
) -> None:
    numbers, labels = pylsl.StreamInlet(found("emotion")), pylsl.StreamInlet(found("labels"))
    info = numbers.info(PATIENCE_S)
    assert (info.name(), info.type(), info.nominal_srate()) == ("bimodal desk", "Emotion", pylsl.IRREGULAR_RATE)
    assert info.get_channel_labels()[:7] == [f"fused_{emotion}" for emotion in EMOTIONS]
    assert info.get_channel_units()[0] == "probability"
    assert info.desc().child_value("manufacturer") == "bimodal"
    assert labels.info(PATIENCE_S).type() == "Markers"
    numbers.open_stream(PATIENCE_S)
    labels.open_stream(PATIENCE_S)

    grab_ns = time.monotonic_ns() - AGO_NS
    said = event(face(1, "happy", 0.8), verdict=Verdict(label="happy", confidence=0.8))
    values = None
    end = time.monotonic() + PATIENCE_S
    while values is None and time.monotonic() < end:
        # Nobody knows when a subscriber has joined the bus: it is said until it is heard.
        for message in (_grabbed(grab_ns), said):
            bus.send_multipart([topic_of(message, "desk"), seal(message, epoch=1, sender="broker", incarnation=1)])
        actor.on_idle()
        values, timestamp = numbers.pull_sample(0.1)
    assert values is not None
    assert values[1] == pytest.approx(0.8)
    assert values[[channel.label for channel in CHANNELS].index("faces")] == 1.0
    age_s = pylsl.local_clock() - timestamp
    assert age_s == pytest.approx((time.monotonic_ns() - grab_ns) / 1e9, abs=1.0), "LSL's clock, at the grab"
    marker, _ = labels.pull_sample(PATIENCE_S)
    assert marker == ["happy"]
    assert labels.pull_sample(0.0)[0] is None, "one marker for each change, not for each event"
    assert actor.figures()["sent"] >= 1
    assert actor.finished() is None


def _grabbed(grab_ns: int) -> Job:
    return msgspec.structs.replace(announced(0), grab_ns=grab_ns)


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(WorkerError, match=r"pip install 'bimodal-emotion\[lsl\]'"):
        Layer(machine_only=True)
