"""The wire protocol: what is sent is what arrives, and nothing else is taken for a message."""

from __future__ import annotations

import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker import messages
from bimodal.broker.errors import MessageError
from bimodal.broker.events import Emotion, Latency, Speech, TrackedFace, Verdict
from bimodal.broker.messages import MAX_MESSAGE_BYTES, Body, Envelope, Gone, Job, Ready, decode, encode
from bimodal.broker.topics import TOPICS, topic_of
from tests.broker.making import job

BODIES: tuple[type[messages.Message], ...] = typing.get_args(Body)


def sealed(body: Body, **changes: object) -> Envelope:
    fields: dict[str, object] = {"v": 1, "epoch": 5, "sender": "face 1", "incarnation": 2, "body": body}
    return Envelope(**{**fields, **changes})  # type: ignore[arg-type]


def emotion() -> Emotion:
    seven = {"neutral": 0.1, "happy": 0.9}
    face = TrackedFace(
        track=1,
        box=(1, 2, 3, 4),
        score=0.9,
        static=seven,
        dynamic=None,
        video=seven,
        fused=seven,
        label="happy",
        confidence=0.9,
        weights={"video": 1.0},
    )
    return Emotion(
        stream="desk",
        seq=7,
        t=0.28,
        faces=(face,),
        speech=Speech(label=None, probabilities=None, voice=0.0, age_ms=100.0, because="no voice"),
        emotion=Verdict(label="happy", confidence=0.9),
        latency_ms=Latency(queue=1.0, inference=2.0, total=3.0),
        models={"face-static": "x@1"},
    )


def test_what_is_sent_is_what_arrives() -> None:
    for body in (job("a", 3), Ready(last=4), emotion(), Gone(name="face 1", incarnation=3)):
        assert decode(encode(sealed(body))) == sealed(body)


def test_every_message_has_its_own_tag_and_a_docstring() -> None:
    tags = [typing.cast("str", body.__struct_config__.tag) for body in BODIES]
    assert len(set(tags)) == len(BODIES)
    assert all(body.__doc__ for body in BODIES)


def test_the_json_of_an_event_has_the_names_that_are_promised() -> None:
    event = msgspec.json.decode(msgspec.json.encode(emotion()))
    assert {"stream", "seq", "t", "faces", "speech", "emotion", "latency_ms", "models"} <= set(event)
    verdict = {"label", "confidence", "agreement", "because", "probabilities", "valence", "arousal", "affect"}
    assert set(event["emotion"]) == verdict
    assert set(event["latency_ms"]) == {"queue", "inference", "total", "waited"}


@given(st.binary(max_size=400))
def test_bytes_that_are_no_message_raise_one_known_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


@given(st.data())
def test_a_damaged_message_is_read_whole_or_refused(data: st.DataObject) -> None:
    whole = bytearray(encode(sealed(data.draw(st.sampled_from([job("a", 1), emotion()])))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        envelope = decode(bytes(whole))
    except MessageError:
        return
    assert isinstance(envelope.body, BODIES)


@pytest.mark.parametrize(
    "values",
    [
        {"v": 2, "epoch": 0, "sender": "a", "incarnation": 1, "body": {"type": "ready", "last": 0}},
        {"v": 1, "epoch": 0, "sender": "a", "incarnation": 1, "body": {"type": "unheard of"}},
        {"v": 1, "epoch": 0, "sender": 7, "incarnation": 1, "body": {"type": "ready"}},
        {"v": 1, "epoch": 0, "sender": "a", "incarnation": 1, "body": {"type": "job"}},
        {"v": 1},
        [1, 2, 3],
    ],
)
def test_other_versions_types_and_shapes_are_refused(values: object) -> None:
    with pytest.raises(MessageError):
        decode(msgspec.msgpack.encode(values))


def test_deep_nesting_and_oversize_are_refused() -> None:
    with pytest.raises(MessageError):
        decode(b"\x91" * 100_000)
    with pytest.raises(MessageError, match="larger than"):
        decode(b"\x00" * (MAX_MESSAGE_BYTES + 1))


def test_the_table_of_topics_names_every_published_message_once() -> None:
    assert len({row.pattern for row in TOPICS}) == len(TOPICS)
    assert topic_of(emotion(), "desk") == b"emotion.desk"
    assert topic_of(typing.cast("Job", job("a", 1)), "a") == b"frame.a"
