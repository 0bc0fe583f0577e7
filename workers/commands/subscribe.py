"""`bimodal subscribe`: live events as JSON lines, for people and for pipes."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated

import msgspec
import typer

from broker.errors import BrokerError
from broker.mailbox import Subscriber
from broker.sockets import events_endpoint, session_directory
from broker.topics import TOPICS
from workers.commands.options import SessionOption
from workers.edge import edge

TURN_S = 0.25


def subscribe(
    topic: Annotated[
        str, typer.Argument(help="A topic or the beginning of one: emotion.desk, status, process.", metavar="TOPIC")
    ] = "emotion.",
    session: SessionOption = "default",
    endpoint: Annotated[str | None, typer.Option(help="Another address of the event bus than the session's.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    address: Annotated[bool, typer.Option("--address", help="Print the event bus's address and stop.")] = False,
) -> None:
    """Print live events as JSON lines; by default the emotion events of all streams.

    Waits for a system that is not there yet, and goes on when the broker is started again. Other languages
    subscribe by themselves: see docs/protocol.md.

    Example: [b]bimodal subscribe emotion.desk | jq .emotion.label[/b]
    """
    with edge():
        place = endpoint or events_endpoint(session_directory(session))
        if address:
            typer.echo(place)
            return
        _check_topic(topic)
        bus = Subscriber(place, [topic])
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _print_events(bus, count)
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # The reader of our pipe has left; Python's own flush at exit must not meet it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            bus.close()


def _check_topic(topic: str) -> None:
    prefixes = [row.pattern.partition("{")[0] for row in TOPICS]
    if not any(topic.startswith(prefix) or prefix.startswith(topic) for prefix in prefixes):
        raise BrokerError(f"there is no topic '{topic}'; there are {', '.join(row.pattern for row in TOPICS)}")


def _print_events(bus: Subscriber, count: int | None) -> None:
    encoder = msgspec.json.Encoder()
    begun = time.monotonic()
    told = False
    left = count
    while left is None or left > 0:
        found = bus.receive(TURN_S)
        if found is None:
            if not told and time.monotonic() - begun > 2.0:
                typer.echo(f"bimodal: waiting for events at {bus.endpoint}", err=True)
                told = True
            continue
        told = True
        sys.stdout.buffer.write(encoder.encode(found[1]) + b"\n")
        sys.stdout.buffer.flush()
        left = None if left is None else left - 1
