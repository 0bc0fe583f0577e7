"""`bimodal subscribe`: print live events as JSON lines."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from typing import Annotated

import msgspec
import typer

from bimodal.broker.errors import BrokerError
from bimodal.broker.events import Changes, Emotion
from bimodal.broker.keys import OWN
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import Login, events_endpoint, log_in
from bimodal.broker.topics import TOPICS
from bimodal.console import user_errors
from bimodal.options import SessionOption
from bimodal.supervisor.session import directory_of

TURN_S = 0.25


def subscribe(
    topic: Annotated[
        str, typer.Argument(help="A topic or the beginning of one: emotion.desk, status, process.", metavar="TOPIC")
    ] = "emotion.",
    session: SessionOption = "default",
    endpoint: Annotated[str | None, typer.Option(help="Another address of the event bus than the session's.")] = None,
    server_key: Annotated[
        str | None, typer.Option(help="Public key of the other machine ('bimodal keys show' there).", metavar="KEY")
    ] = None,
    key: Annotated[str, typer.Option(help="Which own key to show it.", metavar="NAME")] = OWN,
    changes: Annotated[
        bool, typer.Option("--changes", help="Of the events of frames, only those that say something new.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    address: Annotated[bool, typer.Option("--address", help="Print the event bus's address and stop.")] = False,
) -> None:
    """Print live events as JSON lines; by default the emotion events of all streams.

    Waits for a system that is not there yet, and goes on when the broker is started again. Other languages
    subscribe by themselves: see docs/protocol.md.

    Example: [b]bimodal subscribe emotion.desk | jq .emotion.label[/b]

    From another machine: [b]bimodal subscribe --endpoint tcp://HOST:5655 --server-key 'KEY'[/b]
    """
    with user_errors():
        place = endpoint or events_endpoint(directory_of(session))
        if address:
            typer.echo(place)
            return
        _check_topic(topic)
        login = log_in(server_key, key) if server_key is not None else None
        bus = Subscriber(place, [topic], login)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _print_events(bus, count, _waiting(place, login), Changes() if changes else None)
        except KeyboardInterrupt:
            pass
        finally:
            bus.close()


def _check_topic(topic: str) -> None:
    prefixes = [row.pattern.partition("{")[0] for row in TOPICS]
    if not any(topic.startswith(prefix) or prefix.startswith(topic) for prefix in prefixes):
        raise BrokerError(f"there is no topic '{topic}'; there are {', '.join(row.pattern for row in TOPICS)}")


def _waiting(place: str, login: Login | None) -> str:
    if login is None:
        return f"bimodal: waiting for events at {place}"
    allow = f"bimodal keys allow {shlex.quote(login.own.public)} --name NAME"
    return f"bimodal: waiting for events at {place}; it must know this machine's key, by: {allow}"


def _print_events(bus: Subscriber, count: int | None, waiting: str, changes: Changes | None) -> None:
    encoder = msgspec.json.Encoder()
    begun = time.monotonic()
    announced = False
    left = count
    while left is None or left > 0:
        found = bus.receive(TURN_S)
        if found is None:
            if not announced and time.monotonic() - begun > 2.0:
                typer.echo(waiting, err=True)
                announced = True
            continue
        announced = True
        if changes is not None and isinstance(found[1], Emotion) and not changes.new(found[1]):
            continue
        sys.stdout.buffer.write(encoder.encode(found[1]) + b"\n")
        sys.stdout.buffer.flush()
        left = None if left is None else left - 1
