"""Sends events to an MQTT broker: what each stream shows, as retained state for Home Assistant; docs/mqtt.md."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bimodal import __version__
from bimodal.broker.events import Changes, Emotion, Stretch
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, StreamClosed
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.observer import Observer
from bimodal.workers.outgoing import in_words, trusted
from bimodal.workers.output_settings import MqttActorSettings
from bimodal.workers.redaction import remember_secret

log = logging.getLogger(__name__)

MISSING = "outputs.mqtt needs the package paho-mqtt: pip install 'bimodal-emotion[mqtt]'"
STATE_EVERY_S, REFRESH_S = 0.5, 10.0
"""A state is published at most and, while there are events, at least so often; the newest one counts."""
SILENT_S = 10.0
"""A stream without events for so long is offline."""
TOLD_S = 10.0
"""Messages that were lost are told so long."""


class MqttActor(Observer):
    """Publish states, events and segments; a broker that is away or slow loses them and delays nobody."""

    topics = ("emotion.", "segment.", "closed.")
    # The connection and states that are due wake nobody.
    turn_s = 0.1

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Begin to connect. Raises WorkerError without paho-mqtt, and where `ca` is no certificate."""
        mine = own(settings, MqttActorSettings)
        remember_secret(mine.password or "")
        session = Path(settings.directory).name
        base = mine.topic or default_topic(socket.gethostname(), session)
        self._streams = Streams(base, mine.streams)
        found = discovery(base, mine.streams, mine.discovery, mine.emotions) if mine.discovery else []
        self._discovery = found
        mark = f"{mine.discovery}/+/{node(base)}/+/config" if mine.discovery else None
        self._link = Link(mine, f"bimodal-{node(base)}", f"{base}/availability", mark)
        self._changes = Changes()
        self._all = mine.send == "all"
        self._encoder = msgspec.json.Encoder()
        super().__init__(settings, mailbox)

    def on_event(self, event: Emotion) -> None:
        """Publish an event, and keep the state that it makes."""
        now = time.monotonic()
        new = self._changes.new(event)
        self._publish(self._streams.on_event(event, now, new=new))
        if new or self._all:
            self._link.publish(Out(self._streams.topic(event.stream, "event"), self._encoder.encode(event)), now)

    def on_message(self, body: Body) -> None:
        """Publish a segment, or that a stream has ended."""
        if isinstance(body, Stretch):
            out = Out(self._streams.topic(body.stream, "segment"), self._encoder.encode(body))
            self._link.publish(out, time.monotonic())
        elif isinstance(body, StreamClosed):
            self._publish(self._streams.on_closed(body.stream))

    def on_idle(self) -> None:
        """Read the bus, publish the states that are due; after a new connection, everything that is retained."""
        super().on_idle()
        if self._link.connected_anew():
            self._publish([Out(f"{self._streams.base}/availability", b"online", retain=True), *self._discovery])
            self._publish(self._streams.everything())
        self._publish(self._streams.due(time.monotonic()))
        for topic in self._link.strange({out.topic for out in self._discovery}):
            self._publish([Out(topic, b"", retain=True)])
        self._link.flush()

    def _publish(self, found: Sequence[Out]) -> None:
        now = time.monotonic()
        for out in found:
            self._link.publish(out, now)

    def figures(self) -> dict[str, float]:
        """Events handled, messages published and lost."""
        link = self._link
        return {"events": float(self.events), "published": float(link.published), "lost": float(link.lost)}

    def degraded_reason(self) -> str | None:
        """Say that the broker is away, refuses us, or is too slow."""
        return self._link.trouble(time.monotonic())

    def close(self) -> None:
        """Say that we are offline, and disconnect."""
        super().close()
        self._link.close(Out(f"{self._streams.base}/availability", b"offline", retain=True))


class Out(NamedTuple):
    """A message to publish; retained ones are delivered at least once."""

    topic: str
    payload: bytes
    retain: bool = False


# The connection. paho-mqtt is imported only here, and only when the output is on. Its own thread connects and sends.

KEEPALIVE_S = 30
RECONNECT_S = (1, 30)
MOST_WAITING = 256
"""Messages on their way to a broker which is connected but does not read."""
CLOSE_WITHIN_S = 1.0


class Link:
    """A connection to the broker, which is made again whenever it breaks.

    Attributes:
        published, lost: messages handed to the connection, and those that were not.
    """

    def __init__(self, settings: MqttActorSettings, client_id: str, will: str, mark: str | None) -> None:
        """Begin to connect. `will`: topic where the broker says that we are gone; `mark`: pattern of the topics of our
        announcements. Raises WorkerError without paho-mqtt, and where `ca` is no certificate."""
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise WorkerError(MISSING) from error
        host, port = settings.at
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._mark = mark
        self.published = self.lost = 0
        self._lost_at = float("-inf")
        self._anew = threading.Event()
        self._problem: str | None = f"the MQTT broker {self._place} has not answered yet"
        self._sent: deque[Any] = deque()
        self._retained: OrderedDict[str, Out] = OrderedDict()
        self._announced: deque[str] = deque(maxlen=4096)
        self._client: Any = Client(CallbackAPIVersion.VERSION2, client_id=client_id[:128])
        self._client.will_set(will, b"offline", qos=1, retain=True)
        self._client.max_queued_messages_set(MOST_WAITING)
        self._client.reconnect_delay_set(*RECONNECT_S)
        if settings.username is not None:
            self._client.username_pw_set(settings.username, settings.password)
        if settings.tls:
            self._client.tls_set_context(trusted("outputs.mqtt.ca", settings.ca))
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.connect_async(host, port, KEEPALIVE_S)
        self._client.loop_start()

    # What paho's thread tells.

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._say(f"the MQTT broker {self._place} refuses the connection: {reason}")
            return
        self._problem = None
        log.info("connected to the MQTT broker %s", self._place)
        if self._mark is not None:
            client.subscribe(self._mark)
        self._anew.set()

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        # paho calls this while it handles the error.
        why = in_words(sys.exception())
        self._say(f"the MQTT broker {self._place} can't be reached: {why}; trying again")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._problem is None:
            self._say(f"the MQTT broker {self._place} is gone ({reason}); trying again")

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.retain and message.payload:
            self._announced.append(message.topic)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem

    # What the actor asks.

    def connected_anew(self) -> bool:
        """True once after each new connection."""
        if not self._anew.is_set():
            return False
        self._anew.clear()
        return True

    def strange(self, ours: set[str]) -> list[str]:
        """Topics of retained announcements that earlier runs made and that are none of `ours`, each once."""
        found = []
        while self._announced:
            topic = self._announced.popleft()
            if topic not in ours:
                found.append(topic)
        return found

    def publish(self, out: Out, now: float) -> None:
        """Publish a message.

        Of what is retained, the newest of each topic waits for its turn. The rest is lost without a connection, and
        behind too many others.
        """
        if out.retain:
            self._retained[out.topic] = out
        elif not self._client.is_connected():
            self.lost += 1
        elif self._under_way() >= MOST_WAITING:
            self.lost += 1
            if now - self._lost_at > TOLD_S:
                log.warning("the MQTT broker %s takes messages too slowly: some are lost", self._place)
            self._lost_at = now
        else:
            self._hand_over(out)
        self.flush()

    def flush(self) -> None:
        """Hand over what is retained, as far as the connection has room."""
        while self._retained and self._client.is_connected() and self._under_way() < MOST_WAITING // 2:
            self._hand_over(self._retained.popitem(last=False)[1])

    def _hand_over(self, out: Out) -> None:
        info = self._client.publish(out.topic, out.payload, qos=1 if out.retain else 0, retain=out.retain)
        if info.rc == 0:
            self.published += 1
            self._sent.append(info)
        else:
            self.lost += 1

    def _under_way(self) -> int:
        """How many messages the broker has not taken."""
        while self._sent and _is_done(self._sent[0]):
            self._sent.popleft()
        return len(self._sent)

    def trouble(self, now: float) -> str | None:
        """Why the broker does not get everything, in one sentence."""
        if self._problem is not None:
            return self._problem
        if now - self._lost_at < TOLD_S:
            return f"the MQTT broker {self._place} takes messages too slowly: {self.lost} were lost"
        return None

    def close(self, last: Out) -> None:
        """Publish a last message, where there is a connection, and disconnect; waits a second at most."""
        if self._client.is_connected():
            info = self._client.publish(last.topic, last.payload, qos=1, retain=last.retain)
            with contextlib.suppress(RuntimeError, ValueError):
                info.wait_for_publish(CLOSE_WITHIN_S)
        self._problem = "closed"
        # Its thread ends by itself, and may take longer than we have.
        self._client.disconnect()


def _is_done(info: Any) -> bool:
    """True for a message that has left, or that was lost with its connection."""
    try:
        return bool(info.is_published())
    except (RuntimeError, ValueError):
        return True


# Topics and states. Pure.

_NOT_FOR_TOPICS = re.compile(r"[+#/\x00-\x1f]")
_NOT_FOR_IDS = re.compile(r"[^A-Za-z0-9_-]")


def default_topic(host: str, session: str) -> str:
    """Beginning of the topics: host, and session where it has a name of its own."""
    name = host if session == "default" else f"{host}-{session}"
    return f"bimodal/{_NOT_FOR_IDS.sub('_', name)}"


def node(base: str) -> str:
    """The name of this system in Home Assistant's topics and ids, which know few characters."""
    return _NOT_FOR_IDS.sub("_", base.removeprefix("bimodal/"))


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream shows, as published under `…/state`."""

    label: str | None
    because: str | None
    confidence: float | None
    agreement: float | None
    valence: float | None
    arousal: float | None
    faces: int
    face_labels: tuple[str, ...]
    voice: str | None
    speaking: bool
    doubts: tuple[str, ...]
    other: dict[str, float] | None
    t: float | None
    seq: int | None


ENDED = State(
    label=None, because="the stream has ended", confidence=None, agreement=None, valence=None, arousal=None, faces=0,
    face_labels=(), voice=None, speaking=False, doubts=(), other=None, t=None, seq=None,
)  # fmt: skip


def state_of(event: Emotion) -> State:
    """The state that an event makes."""
    verdict, speech = event.emotion, event.speech
    return State(
        label=verdict.label,
        because=verdict.because or event.failed,
        confidence=verdict.confidence,
        agreement=verdict.agreement,
        valence=verdict.valence,
        arousal=verdict.arousal,
        faces=len(event.faces),
        face_labels=tuple(face.label for face in event.faces),
        voice=speech.label if speech is not None else None,
        speaking=speech is not None and speech.label is not None,
        other=verdict.other or None,
        doubts=tuple(dict.fromkeys(doubt for face in event.faces for doubt in face.doubts)),
        t=event.t,
        seq=event.seq,
    )


class _Stream:
    """What is known of one stream, and what of it waits to be published."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.waits = False
        self.sent_at = float("-inf")
        self.seen_at = float("-inf")
        self.online = False


class Streams:
    """States of all streams: each is published when it says something new, twice a second at most."""

    def __init__(self, base: str, streams: Sequence[str] = ()) -> None:
        self.base = base
        self._streams = {name: _Stream() for name in streams}

    def topic(self, stream: str, what: str) -> str:
        """A topic of a stream; characters that topics can't have become _."""
        return f"{self.base}/{_NOT_FOR_TOPICS.sub('_', stream)}/{what}"

    def on_event(self, event: Emotion, now: float, *, new: bool) -> list[Out]:
        """Take an event, and whether it says something `new`; returns what is to be published at once."""
        known = self._streams.setdefault(event.stream, _Stream())
        known.seen_at = now
        if new or known.state is None or now - known.sent_at >= REFRESH_S:
            known.state, known.waits = state_of(event), True
        back = not known.online
        known.online = True
        return [self._availability(event.stream, known), *self._due(event.stream, known, now)] if back else []

    def on_closed(self, stream: str) -> list[Out]:
        """A stream has ended."""
        known = self._streams.setdefault(stream, _Stream())
        known.state, known.waits, known.online = ENDED, False, False
        return [self._state(stream, known), self._availability(stream, known)]

    def due(self, now: float) -> list[Out]:
        """States that wait and may be published now, and streams that have fallen silent."""
        found = []
        for name, known in self._streams.items():
            found += self._due(name, known, now)
            if known.online and now - known.seen_at > SILENT_S:
                known.online = False
                found.append(self._availability(name, known))
        return found

    def everything(self) -> list[Out]:
        """All that is retained, for a new connection."""
        found = []
        for name, known in self._streams.items():
            found.append(self._availability(name, known))
            if known.state is not None:
                known.waits = False
                found.append(self._state(name, known))
        return found

    def _due(self, name: str, known: _Stream, now: float) -> list[Out]:
        if not known.waits or now - known.sent_at < STATE_EVERY_S:
            return []
        known.waits, known.sent_at = False, now
        return [self._state(name, known)]

    def _state(self, name: str, known: _Stream) -> Out:
        return Out(self.topic(name, "state"), msgspec.json.encode(known.state), retain=True)

    def _availability(self, name: str, known: _Stream) -> Out:
        return Out(self.topic(name, "availability"), b"online" if known.online else b"offline", retain=True)


# Home Assistant's discovery (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery). Pure.


class Entity(NamedTuple):
    """One entity of a stream: component, id, name, template of its value, and what else its component takes."""

    component: str
    id: str
    name: str
    template: str
    more: dict[str, object]


def _rounded(name: str, digits: int, factor: int = 1) -> str:
    return f"{{{{ (value_json.{name} * {factor}) | round({digits}) if value_json.{name} is not none else none }}}}"


_EMOTION: dict[str, object] = {"device_class": "enum", "options": [*EMOTIONS, "unknown"]}
ENTITIES: tuple[Entity, ...] = (
    Entity("sensor", "emotion", "Emotion", "{{ value_json.label or 'unknown' }}", {**_EMOTION, "icon": "mdi:emoticon"}),
    Entity(
        "sensor", "confidence", "Confidence", _rounded("confidence", 0, 100),
        {"unit_of_measurement": "%", "state_class": "measurement"},
    ),
    Entity("sensor", "faces", "Faces", "{{ value_json.faces }}", {"state_class": "measurement"}),
    Entity("sensor", "voice", "Voice", "{{ value_json.voice or 'unknown' }}", {**_EMOTION, "icon": "mdi:microphone"}),
    Entity(
        "binary_sensor", "speaking", "Speaking", "{{ 'ON' if value_json.speaking else 'OFF' }}",
        {"device_class": "sound"},
    ),
    Entity("sensor", "valence", "Valence", _rounded("valence", 2), {"state_class": "measurement"}),
    Entity("sensor", "arousal", "Arousal", _rounded("arousal", 2), {"state_class": "measurement"}),
)  # fmt: skip


def discovery(base: str, streams: Sequence[str], prefix: str, emotions: Sequence[str] = EMOTIONS) -> list[Out]:
    """The announcements of all streams, one device each, retained; `emotions` are those that they may have."""
    topics = Streams(base)
    found = []
    for stream in streams:
        device = f"{node(base)}_{_NOT_FOR_IDS.sub('_', stream)}"
        for entity in ENTITIES:
            announced = {
                "name": entity.name,
                "unique_id": f"bimodal_{device}_{entity.id}",
                "state_topic": topics.topic(stream, "state"),
                "value_template": entity.template,
                "availability": [
                    {"topic": f"{base}/availability"},
                    {"topic": topics.topic(stream, "availability")},
                ],
                "availability_mode": "all",
                "device": {
                    "identifiers": [f"bimodal_{device}"],
                    "name": f"bimodal {stream}",
                    "manufacturer": "bimodal",
                    "model": "bimodal emotion detector",
                    "sw_version": __version__,
                },
                "origin": {"name": "bimodal", "sw_version": __version__},
                **entity.more,
            }
            if "options" in entity.more:
                announced["options"] = [*emotions, "unknown"]
            if entity.id == "emotion":
                announced["json_attributes_topic"] = topics.topic(stream, "state")
            topic = f"{prefix}/{entity.component}/{node(base)}/{device}_{entity.id}/config"
            found.append(Out(topic, msgspec.json.encode(announced), retain=True))
    return found
