"""Messages that decode, in any order and with odd values: the router goes on, and all that it returns can be sent."""

from __future__ import annotations

from bimodal.broker.errors import MessageError
from bimodal.broker.messages import Hello, decode, seal
from bimodal.broker.router import Router, Send
from bimodal.broker.topics import topic_of
from tests.fuzz.bodies import Bytes, body

ACTORS = ("capture desk", "face 1", "fusion", "record", "supervisor", "face 2")
MOST = 60


def seeds() -> list[bytes]:
    """Some orders of messages."""
    return [bytes(range(start, start + 200)) for start in (0, 17, 40)] + [bytes(200)]


def one(data: bytes) -> None:
    """Up to sixty messages of six actors, each as it comes out of the decoder."""
    source, router, now_ns = Bytes(data), Router(), 0
    for _ in range(MOST):
        if not source.left:
            break
        now_ns += source.choose((1, 10**9, 10**10))
        sender = source.choose(ACTORS)
        try:
            envelope = decode(seal(body(source), epoch=1, sender=sender, incarnation=source.number() % 3))  # type: ignore[arg-type]
        except (MessageError, OverflowError):
            continue
        if isinstance(envelope.body, Hello):
            _, out = router.hello(sender, envelope.incarnation, envelope.body, now_ns)
        elif router.knows(sender, envelope.incarnation):
            out = router.handle(sender, envelope.body, now_ns)
        else:
            continue
        for item in [*out, *router.tick(now_ns)]:
            seal(item.body, epoch=1, sender="broker", incarnation=1)
            if not isinstance(item, Send):
                topic_of(item.body, item.name)
        seal(router.status(), epoch=1, sender="broker", incarnation=1)


if __name__ == "__main__":
    from tests.fuzz.running import run

    run("router", ["bimodal.broker"])
