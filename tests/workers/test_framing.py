from __future__ import annotations

import socket

import msgspec

from bimodal.workers.framing import framed, read_frame


class Word(msgspec.Struct):
    text: str


def test_messages_come_as_they_were_sent_until_the_end() -> None:
    here, there = socket.socketpair()
    with here, there:
        words = [Word("a"), Word("b" * 1000)]
        here.sendall(b"".join(map(framed, words)))
        here.close()
        found = [msgspec.msgpack.decode(read_frame(there) or b"", type=Word) for _ in words]
        assert found == words
        assert read_frame(there) is None


def test_a_message_that_is_too_long_or_cut_off_is_the_end() -> None:
    for data, most in ((framed(Word("b" * 100)), 50), (framed(Word("b" * 100))[:-1], None)):
        here, there = socket.socketpair()
        with here, there:
            here.sendall(data)
            here.close()
            assert read_frame(there, most) is None
