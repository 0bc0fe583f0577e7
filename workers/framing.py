"""Messages on a stream socket between a process and its child: MessagePack, each with its length before it."""

from __future__ import annotations

import socket
import struct

import msgspec

LENGTH = struct.Struct(">I")
_PIECE_BYTES = 1 << 16


def framed(message: msgspec.Struct) -> bytes:
    """Encode a message, with its length before it."""
    data = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(data)) + data


def read_frame(line: socket.socket, most: int | None = None) -> bytes | None:
    """Read the next message, undecoded; None at the end, and for one that is longer than `most` bytes or empty."""
    head = _exactly(line, LENGTH.size)
    size: int = LENGTH.unpack(head)[0] if head is not None else 0
    return _exactly(line, size) if size and (most is None or size <= most) else None


def _exactly(line: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = line.recv(min(_PIECE_BYTES, size - len(data)))
        if not piece:
            return None
        data += piece
    return bytes(data)
