"""The control line between commands and a supervisor, over real sockets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.control import (
    CONTROL_VERSION,
    MOST_REQUEST_BYTES,
    Accepted,
    ControlServer,
    Refused,
    Reply,
    Request,
    ScaleRequest,
    StatusReply,
    StatusRequest,
    ask,
    control_endpoint,
    parse,
)
from bimodal.broker.errors import ControlError
from bimodal.broker.sockets import make_private


def answer(request: Request) -> Reply:
    if isinstance(request, ScaleRequest):
        return Accepted(f"{request.counts}") if request.counts else Refused("there is nothing to scale")
    return Accepted("not what a status is")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A session whose supervisor answers."""
    place = tmp_path / "desk"
    make_private(place)
    stopped = threading.Event()

    def serve() -> None:
        server = ControlServer(place)
        while not stopped.wait(0.005):
            server.serve(answer)
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield place
    stopped.set()
    thread.join()


def test_a_request_is_answered(directory: Path) -> None:
    assert ask(directory, ScaleRequest(counts={"face": 4}), Accepted, 30.0) == Accepted("{'face': 4}")


def test_a_refusal_is_an_error_with_its_sentence(directory: Path) -> None:
    with pytest.raises(ControlError, match="there is nothing to scale"):
        ask(directory, ScaleRequest(counts={}), Accepted, 30.0)


def test_another_answer_than_was_wanted_is_an_error(directory: Path) -> None:
    with pytest.raises(ControlError, match="something else"):
        ask(directory, StatusRequest(), StatusReply, 30.0)


def test_a_session_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="did not answer within"):
        ask(tmp_path, StatusRequest(), StatusReply, 0.05)


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"rubbish"],
        [b"a", b"b"],
        [msgspec.msgpack.encode({"v": CONTROL_VERSION, "body": {"type": "delete everything"}})],
        [msgspec.msgpack.encode({"v": CONTROL_VERSION, "body": {"type": "accepted", "sentence": "a reply"}})],
        [msgspec.msgpack.encode({"v": CONTROL_VERSION + 1, "body": {"type": "status"}})],
        [b"x" * (MOST_REQUEST_BYTES + 1)],
    ],
)
def test_rubbish_takes_nothing_down(directory: Path, frames: list[bytes]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(control_endpoint(directory))
    socket.send_multipart(frames)
    assert ask(directory, ScaleRequest(counts={"face": 1}), Accepted, 30.0)
    socket.close(linger=0)
    context.term()


@given(st.binary(max_size=200))
def test_bytes_are_a_message_or_an_error_of_ours(data: bytes) -> None:
    with contextlib.suppress(ControlError):
        assert isinstance(parse(data), msgspec.Struct)
