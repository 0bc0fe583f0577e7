"""Bytes that claim to be a message: what decodes is a message that encodes again, everything else a MessageError."""

from __future__ import annotations

from bimodal.broker.errors import MessageError
from bimodal.broker.messages import MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Envelope, decode, encode
from bimodal.broker.remote import RemotePeers, admit
from tests.fuzz.bodies import examples, short


def seeds() -> list[bytes]:
    """One of every message."""
    return [
        encode(Envelope(v=PROTOCOL_VERSION, epoch=5, sender="face 1", incarnation=2, body=body)) for body in examples()
    ]


def one(data: bytes) -> None:
    """Decode it; as from another machine, too."""
    try:
        envelope = decode(data)
    except MessageError as error:
        short(error)
        return
    again = encode(envelope)
    assert len(again) <= MAX_MESSAGE_BYTES * 3
    assert decode(again) == envelope or "nan" in repr(envelope)
    try:
        admitted = admit(envelope, "laptop", 10**18)
    except MessageError:
        return
    assert admitted.sender.startswith("laptop: ")
    encode(admitted)
    RemotePeers().on_message(admitted.sender, admitted.incarnation, b"a", 0)


if __name__ == "__main__":
    from tests.fuzz.running import run

    run("messages", ["bimodal.broker"])
