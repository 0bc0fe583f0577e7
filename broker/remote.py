"""Workers on other machines: what they may say, under which name they are known, and when they are gone. Pure.

The name of such a worker begins with the name that its key is allowed under, so it can't pass for anybody else, and
all it can say is what a worker says.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bimodal.broker.errors import MessageError
from bimodal.broker.messages import Body, Envelope, FaceResult, Gone, Heartbeat, Hello, JobFailed, Ready, SpeechResult

SILENT_NS = 5_000_000_000
MOST_NAME = 64


def admit(envelope: Envelope, user: str, now_ns: int) -> Envelope:
    """A message from the other machine as the broker takes it.

    The other machine's clock means nothing here: what its answer did not spend in the model, it spent on the way.
    Raises MessageError for anything that a worker has no business to say.
    """
    sender = envelope.sender
    if not user or not sender.isprintable() or not 0 < len(sender) <= MOST_NAME:
        raise MessageError("a worker on another machine with no proper name")
    name = f"{user}: {sender}"
    return msgspec.structs.replace(envelope, sender=name, body=_admitted(envelope, name, now_ns))


def _admitted(envelope: Envelope, name: str, now_ns: int) -> Body:
    body = envelope.body
    match body:
        case Hello(role="worker") if body.modality is not None:
            return msgspec.structs.replace(body, pid=0)
        case Ready() | JobFailed():
            return body
        case FaceResult() | SpeechResult():
            queue_ns = max(0, now_ns - body.grab_ns - body.inference_ns)
            return msgspec.structs.replace(body, queue_ns=queue_ns)
        case Heartbeat():
            return msgspec.structs.replace(body, name=name, incarnation=envelope.incarnation, pid=0)
        case _:
            raise MessageError(f"{name} sent a {type(body).__name__}, which is not a worker's to send")


@dataclass
class _Peer:
    address: bytes
    incarnation: int
    heard_ns: int


class RemotePeers:
    """Who is connected: nobody's supervisor tells when one of them ends, so silence does."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def address(self, name: str) -> bytes:
        """Where it is to be reached."""
        return self._peers[name].address

    def heard(self, name: str, incarnation: int, address: bytes, now_ns: int) -> list[Gone]:
        """A message came. A worker that comes from a new address lost its old connection, and what was under way on it:
        it is gone before it is back."""
        peer = self._peers.get(name)
        if peer is not None and incarnation < peer.incarnation:
            return []
        self._peers[name] = _Peer(address, incarnation, now_ns)
        moved = peer is not None and (peer.address, peer.incarnation) != (address, incarnation)
        return [Gone(name=name, incarnation=peer.incarnation)] if peer is not None and moved else []

    def silent(self, now_ns: int) -> list[Gone]:
        """Those who said nothing for five seconds: they are gone."""
        names = [name for name, peer in self._peers.items() if now_ns - peer.heard_ns > SILENT_NS]
        return [Gone(name=name, incarnation=self._peers.pop(name).incarnation) for name in names]

    def all_gone(self) -> list[Gone]:
        """Every connection was closed."""
        gone = [Gone(name=name, incarnation=peer.incarnation) for name, peer in self._peers.items()]
        self._peers.clear()
        return gone
