"""Sends events as Open Sound Control: one bundle of messages for each event; docs/osc.md lists the addresses."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType

from bimodal.broker.events import Emotion, FaceMeasures, Probabilities, Speech, Stretch, TrackedFace, fused, leading
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, StreamClosed
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.observer import Observer
from bimodal.workers.output_settings import OscActorSettings

log = logging.getLogger(__name__)

MISSING = "outputs.osc needs the package python-osc: pip install 'bimodal-emotion[osc]'"
# A refusal comes with the next datagram, so a receiver that is away is told for a while after each.
TOLD_S = 3.0


class OscActor(Observer):
    """Send each event as one bundle, and each segment as it ends."""

    topics = ("emotion.", "segment.", "closed.")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Find the receiver's address. Raises WorkerError without python-osc, or where it can't be found."""
        mine = own(settings, OscActorSettings)
        self._bundles = Bundles()
        self._line = Datagrams(mine.host, mine.port)
        self._tracks = Tracks()
        self._alike = alike(mine.streams)
        super().__init__(settings, mailbox)

    def on_event(self, event: Emotion) -> None:
        """Send an event."""
        self._send([*messages(event), *self._tracks.gone(event)])

    def on_message(self, body: Body) -> None:
        """Send a segment, or that nobody is left of a stream that has ended."""
        if isinstance(body, Stretch):
            self._send([segment_message(body)])
        elif isinstance(body, StreamClosed):
            self._send([*closing(body.stream), *self._tracks.closed(body.stream)])

    def _send(self, found: Sequence[OscMessage]) -> None:
        for datagram in self._bundles.of(found):
            self._line.send(datagram, time.monotonic())

    def figures(self) -> dict[str, float]:
        """Events handled, and datagrams that nobody took."""
        return {"events": float(self.events), "lost": float(self._line.lost)}

    def degraded_reason(self) -> str | None:
        """Say that nobody receives, or that two streams share their addresses."""
        return self._line.trouble(time.monotonic()) or self._alike

    def close(self) -> None:
        """Stop."""
        super().close()
        self._line.close()


# The receiver. UDP never waits for it.


class Datagrams:
    """Sends datagrams to one receiver, without ever waiting.

    Attributes:
        lost: how many could not be sent.
    """

    def __init__(self, host: str, port: int) -> None:
        """Look its address up, once. Raises WorkerError where there is none."""
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            # Connected, so that the system tells of a port where nobody listens.
            self._socket.connect(address)
        except OSError as error:
            raise WorkerError(f"outputs.osc can't send to {self._place}: {error.strerror or error}") from error
        self.lost = 0
        self._problem: str | None = None
        self._problem_at = 0.0

    def send(self, data: bytes, now: float) -> None:
        """Send one datagram; what can't be sent is counted and forgotten."""
        try:
            self._socket.send(data)
        except ConnectionRefusedError:
            self._failed(f"nobody receives OSC at {self._place}: start the receiver, or change outputs.osc", now)
        except BlockingIOError:
            self._failed(f"OSC to {self._place} leaves more slowly than it comes", now)
        except OSError as error:
            self._failed(f"OSC can't be sent to {self._place}: {error.strerror or error}", now)

    def _failed(self, problem: str, now: float) -> None:
        self.lost += 1
        if problem != self.trouble(now):
            log.warning("%s", problem)
        self._problem, self._problem_at = problem, now

    def trouble(self, now: float) -> str | None:
        """What went wrong in the last seconds, in one sentence."""
        return self._problem if now - self._problem_at < TOLD_S else None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


# Bundles. python-osc is imported only here, and only when the output is on.

MOST_BYTES = 60_000
"""Of one bundle; a datagram holds 65,507. Further ones carry what is left of a very crowded frame."""
MOST_HEADS = 8192
Argument = str | int | float


class OscMessage(NamedTuple):
    """One message: an address, and arguments that are text, int32 or float32."""

    address: str
    arguments: tuple[Argument, ...]


class Bundles:
    """Encodes messages as bundles, with python-osc's types. Raises WorkerError where it is missing.

    Its builders would do, but parse again all that they have built: several times the processor time of this.
    """

    def __init__(self) -> None:
        try:
            from pythonosc.parsing import osc_types
        except ImportError as error:
            raise WorkerError(MISSING) from error
        self._types: Any = osc_types
        self._head = b"#bundle\0" + bytes(osc_types.write_date(osc_types.IMMEDIATELY))
        self._heads: dict[tuple[str, str], bytes] = {}

    def of(self, found: Iterable[OscMessage]) -> Iterator[bytes]:
        """Encode messages as one bundle, or several where they are more than a datagram holds."""
        parts, size = [self._head], len(self._head)
        for one in found:
            encoded = self._encode(one)
            if len(parts) > 1 and size + 4 + len(encoded) > MOST_BYTES:
                yield b"".join(parts)
                parts, size = [self._head], len(self._head)
            parts += [self._types.write_int(len(encoded)), encoded]
            size += 4 + len(encoded)
        if len(parts) > 1:
            yield b"".join(parts)

    def _encode(self, one: OscMessage) -> bytes:
        types = self._types
        kinds = "".join("s" if isinstance(v, str) else "i" if isinstance(v, int) else "f" for v in one.arguments)
        write = {"s": types.write_string, "i": types.write_int, "f": types.write_float}
        # A null would end a text early.
        plain = [value.replace("\0", " ") if isinstance(value, str) else value for value in one.arguments]
        values = [write[kind](value) for kind, value in zip(kinds, plain, strict=True)]
        return b"".join([self._head_of(one.address, kinds), *values])

    def _head_of(self, address: str, kinds: str) -> bytes:
        """Address and types of the arguments, encoded once: they are the same from frame to frame."""
        head = self._heads.get((address, kinds))
        if head is None:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            head = bytes(self._types.write_string(address) + self._types.write_string(f",{kinds}"))
            self._heads[address, kinds] = head
        return head


# Messages. Pure. Addresses carry the names of the event (docs/events.md); what is unknown is not sent.

ROOT = "/bimodal"
UNKNOWN = "unknown"
LARGEST_INT = 2**31 - 1
_NOT_FOR_ADDRESSES = re.compile(r"[^A-Za-z0-9_.-]")


def part(name: str) -> str:
    """A name as a part of an address: other characters than letters, digits, - _ . become _."""
    return _NOT_FOR_ADDRESSES.sub("_", name)


def alike(streams: Sequence[str]) -> str | None:
    """Say which two streams have the same addresses; None where all differ."""
    seen: dict[str, str] = {}
    for stream in streams:
        other = seen.setdefault(part(stream), stream)
        if other != stream:
            return f"the streams '{other}' and '{stream}' have the same OSC addresses {ROOT}/{part(stream)}: rename one"
    return None


def messages(event: Emotion) -> list[OscMessage]:
    """All messages of an event."""
    at = f"{ROOT}/{part(event.stream)}"
    verdict, face = event.emotion, leading(event)
    found = [
        OscMessage(f"{at}/seq", (event.seq % LARGEST_INT,)),
        OscMessage(f"{at}/t", (float(event.t),)),
        OscMessage(f"{at}/label", (verdict.label or UNKNOWN,)),
        OscMessage(f"{at}/known", (int(verdict.label is not None),)),
        *_texts(at, because=verdict.because or event.failed),
        *_numbers(at, verdict, ("confidence", "agreement", "valence", "arousal")),
        *_probabilities(at, fused(event)),
        *_other(at, verdict.other),
        OscMessage(f"{at}/faces", (len(event.faces),)),
    ]
    if face is not None:
        found += _face(f"{at}/face", face, event)
    for one in event.faces:
        found += _face(f"{at}/track/{one.track}", one, event)
    return [*found, *_voice(f"{at}/voice", event.speech)]


def _face(at: str, face: TrackedFace, event: Emotion) -> list[OscMessage]:
    x, y, width, height = face.box
    found = [
        OscMessage(f"{at}/present", (1,)),
        OscMessage(f"{at}/track", (face.track,)),
        OscMessage(f"{at}/box", (x, y, width, height)),
        OscMessage(f"{at}/label", (face.label,)),
        *_numbers(at, face, ("confidence", "score", "presence", "sharpness", "light")),
        *_probabilities(at, face.fused),
        *_other(at, face.other),
        OscMessage(f"{at}/speaks", (int(face.weights.get("speech", 0.0) > 0),)),
    ]
    if event.size is not None:
        wide, high = event.size
        place = ((x + width / 2) / wide, (y + height / 2) / high, width / wide, height / high)
        found.insert(3, OscMessage(f"{at}/place", place))
    return found if face.face is None else [*found, *_measures(at, face.face)]


def _measures(at: str, measures: FaceMeasures) -> Iterator[OscMessage]:
    for name in FaceMeasures.__struct_fields__:
        value = getattr(measures, name)
        if isinstance(value, dict):
            group = "au" if name == "units" else name
            yield from (OscMessage(f"{at}/{group}/{part(key)}", (float(one),)) for key, one in value.items())
        elif isinstance(value, bool):
            yield OscMessage(f"{at}/{name}", (int(value),))
        elif isinstance(value, float | int):
            yield OscMessage(f"{at}/{name}", (float(value),))


def _voice(at: str, speech: Speech | None) -> list[OscMessage]:
    if speech is None:
        return [OscMessage(f"{at}/known", (0,))]
    found = [
        OscMessage(f"{at}/known", (int(speech.label is not None),)),
        OscMessage(f"{at}/label", (speech.label or UNKNOWN,)),
        OscMessage(f"{at}/activity", (float(speech.voice),)),
        *_texts(at, because=speech.because),
        *_probabilities(at, speech.probabilities),
        *_other(at, speech.other),
        *_numbers(at, speech, ("snr_db", "dominance")),
    ]
    if speech.measures is not None:
        found += _numbers(at, speech.measures, speech.measures.__struct_fields__)
    return found


def _texts(at: str, **found: str | None) -> Iterator[OscMessage]:
    return (OscMessage(f"{at}/{name}", (text,)) for name, text in found.items() if text)


def _numbers(at: str, of: object, names: Iterable[str]) -> Iterator[OscMessage]:
    for name in names:
        value = getattr(of, name)
        if value is not None and value is not UNSET:
            yield OscMessage(f"{at}/{name}", (float(value),))


def _probabilities(at: str, found: Probabilities | None) -> Iterator[OscMessage]:
    for emotion, probability in (found or {}).items():
        yield OscMessage(f"{at}/probability/{part(emotion)}", (float(probability),))


def _other(at: str, found: Probabilities | UnsetType) -> Iterator[OscMessage]:
    for category, share in (found or {}).items():
        yield OscMessage(f"{at}/other/{part(category)}", (float(share),))


def segment_message(body: Stretch) -> OscMessage:
    """A segment that has ended: label, track (-1: the voice), start and end in seconds, mean confidence."""
    track = body.track if body.track is not None else -1
    arguments = (body.label, track, float(body.start), float(body.end), float(body.confidence))
    return OscMessage(f"{ROOT}/{part(body.stream)}/segment/{part(body.kind)}", arguments)


def closing(stream: str) -> list[OscMessage]:
    """What is said when a stream has ended."""
    at = f"{ROOT}/{part(stream)}"
    return [OscMessage(f"{at}/label", (UNKNOWN,)), OscMessage(f"{at}/known", (0,)), OscMessage(f"{at}/faces", (0,))]


class Tracks:
    """Tells the faces that are gone since the event before, once each: receivers hold the last value of an address."""

    def __init__(self) -> None:
        self._present: dict[str, frozenset[int]] = {}

    def gone(self, event: Emotion) -> list[OscMessage]:
        """Take the next event of a stream."""
        now = frozenset(face.track for face in event.faces)
        before, self._present[event.stream] = self._present.get(event.stream, frozenset()), now
        return self._absent(event.stream, before - now, all_gone=not now and bool(before))

    def closed(self, stream: str) -> list[OscMessage]:
        """A stream has ended."""
        before = self._present.pop(stream, frozenset())
        return self._absent(stream, before, all_gone=bool(before))

    def _absent(self, stream: str, tracks: frozenset[int], *, all_gone: bool) -> list[OscMessage]:
        at = f"{ROOT}/{part(stream)}"
        found = [OscMessage(f"{at}/track/{track}/present", (0,)) for track in sorted(tracks)]
        return [*found, OscMessage(f"{at}/face/present", (0,))] if all_gone else found
