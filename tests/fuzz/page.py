"""Requests of browsers and strangers at the live page's gate, and messages of a visitor's camera."""

from __future__ import annotations

from bimodal.workers.view.access import AccessControl
from bimodal.workers.view.settings import VisitorSettings
from bimodal.workers.view.visitor_message import VisitorRefusedError, read

ACCESS = (AccessControl("127.0.0.1", None), AccessControl("0.0.0.0", "a token of sixteen characters"))
HEADERS = ("host", "origin", "cookie", "authorization")


def seeds() -> list[bytes]:
    """Requests and a picture's beginning."""
    picture = (
        b"bv\x01\x01" + bytes(4) + bytes(16) + bytes(8) + b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03\xff\xda"
    )
    sound = b"bv\x01\x02" + (48000).to_bytes(4, "little") + bytes(24) + bytes(64)
    request = b"\n".join((b"localhost:8484", b"http://localhost:8484", b"bimodal_8484=x", b"Bearer y"))
    return [b"v" + picture, b"v" + sound, b"r/" + request, b"w/stream\n" + request]


def one(data: bytes) -> None:
    """The first byte says what it is; header values are Latin-1, as servers read them."""
    if data[:1] == b"v":
        try:
            message = read(data[1:], VisitorSettings())
        except VisitorRefusedError:
            return
        assert len(message.data) <= len(data)
        return
    path, *values = data[1:].decode("latin-1").split("\n")
    headers = dict(zip(HEADERS, values, strict=False))
    for access in ACCESS:
        decision = access.decide(headers, path, websocket=data[:1] == b"w")
        assert decision != "enter" or access._token is None or path.startswith("/")


if __name__ == "__main__":
    from tests.fuzz.running import run

    run("page", ["workers."])
