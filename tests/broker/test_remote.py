"""Workers on other machines: they say what workers say, under names of their own, and are gone when they are silent."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.errors import MessageError, SlotError, VersionError
from bimodal.broker.messages import (
    Assignment,
    Body,
    ExpectedWorker,
    FaceResult,
    Gone,
    Heartbeat,
    Hello,
    Instruct,
    JobFailed,
    ModelFile,
    Ready,
    Reconfigure,
    StreamEnded,
    decode,
    failed,
)
from bimodal.broker.remote import SILENT_NS, RemotePeers, admit
from bimodal.broker.remote_mailbox import MOST_HELD, ReceivedData
from bimodal.broker.router import Out, Router, Send
from tests.broker.making import job, opened
from tests.broker.test_messages import emotion, sealed

NOW_NS = 10**12


def result(grab_ns: int, inference_ns: int) -> FaceResult:
    return FaceResult(
        number=1, stream="a", run=1, seq=1, pts_ns=0, grab_ns=grab_ns, faces=(), queue_ns=7, inference_ns=inference_ns
    )


def test_its_name_begins_with_the_name_of_its_key() -> None:
    admitted = admit(sealed(Ready(last=1), sender="fusion"), "laptop", NOW_NS)
    assert admitted.sender == "laptop: fusion"


@pytest.mark.parametrize(
    "body",
    [
        Hello(role="fusion"),
        Hello(role="worker"),
        Hello(role="capture", modality="face"),
        Gone(name="face 1", incarnation=1),
        Reconfigure(to="broker", revision=1, settings={}),
        StreamEnded(stream="a", run=1, modality="face", count=1),
        opened("a", "latest"),
        job("a", 1),
        emotion(),
    ],
)
def test_it_can_say_nothing_but_what_a_worker_says(body: Body) -> None:
    with pytest.raises(MessageError, match="not a worker's to send"):
        admit(sealed(body), "laptop", NOW_NS)


@pytest.mark.parametrize(
    ("user", "sender"), [("", "face 1"), ("laptop", ""), ("laptop", "x" * 65), ("laptop", "a\x1b[2J")]
)
def test_names_are_proper(user: str, sender: str) -> None:
    with pytest.raises(MessageError, match="no proper name"):
        admit(sealed(Ready(), sender=sender), user, NOW_NS)


def test_its_heartbeat_speaks_for_itself_only() -> None:
    beat = Heartbeat(name="broker", incarnation=99, state="failed", pid=1)
    admitted = admit(sealed(beat), "laptop", NOW_NS).body
    assert isinstance(admitted, Heartbeat)
    assert (admitted.name, admitted.incarnation, admitted.pid) == ("laptop: face 1", 2, 0)


def test_its_clock_does_not_count() -> None:
    admitted = admit(sealed(result(NOW_NS - 50, 20)), "laptop", NOW_NS).body
    assert isinstance(admitted, FaceResult)
    assert admitted.queue_ns == 30
    late = admit(sealed(result(NOW_NS + 50, 20)), "laptop", NOW_NS).body
    assert isinstance(late, FaceResult)
    assert late.queue_ns == 0


def test_who_is_silent_is_gone() -> None:
    peers = RemotePeers()
    assert peers.on_message("laptop: face 1", 5, b"a", 0) == []
    assert peers.expire(SILENT_NS) == []
    assert peers.expire(SILENT_NS + 1) == [Gone(name="laptop: face 1", incarnation=5)]
    assert "laptop: face 1" not in peers


def test_who_comes_by_another_connection_is_gone_first() -> None:
    peers = RemotePeers()
    peers.on_message("x", 5, b"a", 0)
    assert peers.on_message("x", 5, b"a", 1) == []
    assert peers.on_message("x", 5, b"b", 2) == [Gone(name="x", incarnation=5)]
    assert peers.on_message("x", 6, b"b", 3) == [Gone(name="x", incarnation=5)]
    assert peers.on_message("x", 5, b"c", 4) == []
    assert peers.address("x") == b"b"
    assert peers.disconnect_all() == [Gone(name="x", incarnation=6)]


def test_data_that_came_along_is_the_jobs() -> None:
    delivered, wanted = ReceivedData(), job("a", 1)
    pixels = np.arange(12, dtype=np.uint8)
    delivered.put(wanted, pixels.tobytes())
    assert delivered.reader(wanted.ring).holds(wanted)
    assert (delivered.view(wanted) == pixels.reshape(2, 2, 3)).all()
    assert not delivered.view(wanted).flags.writeable


@given(st.binary(max_size=40).filter(lambda data: len(data) != 12))
def test_data_of_another_size_is_not(data: bytes) -> None:
    delivered, wanted = ReceivedData(), job("a", 1)
    delivered.put(wanted, data)
    with pytest.raises(SlotError, match="did not come along"):
        delivered.view(wanted)


def test_only_the_newest_data_is_kept() -> None:
    delivered = ReceivedData()
    jobs = [msgspec.structs.replace(job("a", 0), generation=2 * turn) for turn in range(MOST_HELD + 1)]
    for each in jobs:
        delivered.put(each, bytes(12))
    assert not delivered.holds(jobs[0])
    assert all(delivered.holds(each) for each in jobs[1:])


def test_words_of_another_machine_are_cleaned() -> None:
    beat = Heartbeat(
        name="x", incarnation=1, state="ready", pid=7, because="\x1b[2J\nall is well\u202e" + "x" * 10_000,
        figures={f"f{number}\x07": 1.0 for number in range(100)}, models={"face-static": "a\n@1"},
        address="http://evil.example/",
    )  # fmt: skip
    body = admit(sealed(beat, sender="face 1"), "gpu", NOW_NS).body
    assert isinstance(body, Heartbeat)
    assert str(body.because).startswith(r"\x1b[2J\nall is well\u202e")
    assert len(str(body.because)) < 1000
    assert body.models == {"face-static": r"a\n@1"}
    assert len(body.figures) == 32
    assert all(name.isprintable() for name in body.figures)
    assert (body.name, body.pid, body.address) == ("gpu: face 1", 0, None)
    lost = admit(sealed(failed(job("a", 1), "no\nface")), "gpu", NOW_NS).body
    assert isinstance(lost, JobFailed)
    assert lost.because == r"no\nface"


def told(out: list[Out], to: str) -> list[str | None]:
    return [
        item.body.because for item in out if isinstance(item, Send) and item.to == to and hasattr(item.body, "because")
    ]


def test_a_worker_with_other_models_or_another_version_gets_no_jobs_and_both_sides_are_told() -> None:
    router = Router()
    router.hello("supervisor", 1, Hello(role="supervisor"), 0)
    router.hello("capture", 1, Hello(role="capture"), 0)
    home = Hello(role="worker", modality="face", product="1.0", models={"face-static": "aa", "face-detector": "dd"})
    router.hello("face 1", 1, home, 0)
    other = msgspec.structs.replace(home, models={"face-static": "bb", "face-detector": "dd"})
    _, out = router.hello("gpu: face 1", 1, other, 0)
    same = "give both machines the same files and the same runtime.precision"
    sentence = f"its models differ from those here (face-static): {same}"
    assert told(out, "gpu: face 1") == [sentence]
    assert told(out, "supervisor") == [sentence]
    router.handle("capture", opened("s", "latest"), 0)
    router.handle("gpu: face 1", Ready(), 0)
    router.handle("capture", job("s", 0), 0)
    assert router.dispatch.waiting() == 1, "it is no worker of this system"
    assert router.dispatch.workers()["face"] == 0
    beat = Heartbeat(name="gpu: face 1", incarnation=1, state="ready", pid=0)
    (published,) = router.handle("gpu: face 1", beat, 0)
    assert published.body.because == sentence  # type: ignore[union-attr]
    _, out = router.hello("old: face 1", 1, msgspec.structs.replace(home, product="0.9"), 0)
    assert told(out, "old: face 1") == ["it runs bimodal 0.9, and this machine 1.0"]
    # A swap here: the workers that take over have the other's models.
    _, out = router.hello("face 2", 1, other, 0)
    assert told(out, "gpu: face 1") == [None]
    assert [item.to for item in out if isinstance(item, Send) and isinstance(item.body, Assignment)] == ["gpu: face 1"]


def test_without_workers_here_others_must_have_the_models_that_are_expected_and_are_sent_them() -> None:
    router = Router()
    router.hello("supervisor", 1, Hello(role="supervisor"), 0)
    file = ModelFile("/models/a.onnx", "aa", 5)
    expected = ExpectedWorker(
        modality="face", product="1.0", models={"face-static": "aa"}, settings={"static": file.path}, files=(file,)
    )
    assert router.expect([expected], 0) == []
    said = Hello(role="worker", modality="face", product="1.0", models={"face-static": "bb"}, takes=True)
    _, out = router.hello("gpu: face 1", 1, said, 0)
    assert told(out, "gpu: face 1") == [
        "its models differ from those here (face-static): it is given those of this machine"
    ]
    instruct = Instruct(settings=expected.settings, files=expected.files)
    assert router.instructions() == [Send("gpu: face 1", instruct)]
    assert router.model_file("gpu: face 1", "aa") == file
    assert router.model_file("gpu: face 1", "bb") is None
    _, out = router.hello("gpu: face 1", 2, msgspec.structs.replace(said, models=expected.models), 0)
    assert told(out, "supervisor") == [None], "what was told of it is over"
    assert router.instructions() == []
    router.handle("gpu: face 1", Ready(), 0)
    assert router.dispatch.workers()["face"] == 1
    # A swap, and workers of this machine, which count for more.
    swapped = msgspec.structs.replace(expected, models={"face-static": "cc"})
    assert "its models differ" in str(told(router.expect([swapped], 0), "gpu: face 1"))
    _, out = router.hello("face 1", 1, msgspec.structs.replace(said, models=expected.models, takes=False), 0)
    assert told(out, "gpu: face 1") == [None]
    assert told(router.expect([], 0), "gpu: face 1") == []


def test_another_protocol_version_is_told_from_noise() -> None:
    later = msgspec.msgpack.encode(
        {"v": 2, "epoch": 0, "sender": "face 1", "incarnation": 1, "body": {"type": "greet"}}
    )
    with pytest.raises(VersionError, match="it speaks protocol version 2, and this machine 1"):
        decode(later)
    with pytest.raises(MessageError, match="not a message"):
        decode(b"noise")
