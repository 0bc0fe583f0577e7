"""Settings of the outputs that send events to other programs: OSC, MQTT, webhook."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from bimodal.models.emotions import EMOTIONS

Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]

OSC_PORT, MQTT_PORT, MQTT_TLS_PORT = 9000, 1883, 8883


class OscSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open Sound Control over UDP (`outputs.osc` in config.yaml): the receiver's address."""

    host: Host = "127.0.0.1"
    port: Port = OSC_PORT

    def __post_init__(self) -> None:
        _check_host(self.host)


TOPIC_FORM = msgspec.Meta(pattern=r"^[^+#/\s]+(/[^+#/\s]+)*$", max_length=256, examples=["home/bimodal"])


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MQTT broker (`outputs.mqtt` in config.yaml); docs/mqtt.md.

    Attributes:
        port: None: 1883, or 8883 with `tls`.
        username, password: what the broker asks for; None without.
        tls: whether the connection is encrypted and the broker's certificate checked.
        ca: PEM file of the authority that signed that certificate; None: those of this system.
        topic: beginning of all topics; None: bimodal/HOST, and -SESSION where that is not "default".
        send: events that go out: those that say something new, or all.
        discovery: Home Assistant's discovery prefix; None announces nothing to it.
    """

    host: Host = "127.0.0.1"
    port: Port | None = None
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    tls: bool = False
    ca: str | None = None
    topic: Annotated[str, TOPIC_FORM] | None = None
    send: Literal["changes", "all"] = "changes"
    discovery: Annotated[str, TOPIC_FORM] | None = "homeassistant"

    def __post_init__(self) -> None:
        _check_host(self.host)
        if self.password is not None and self.username is None:
            raise ValueError("a 'password' needs a 'username'")
        if self.ca is not None and not self.tls:
            raise ValueError("'ca' goes with 'tls: true'")

    @property
    def at(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (MQTT_TLS_PORT if self.tls else MQTT_PORT)


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that events are posted to (`outputs.webhook` in config.yaml); docs/webhook.md.

    Attributes:
        url: http or https, without user name and password.
        send: finished segments, events that say something new, or both.
        secret: signs what is sent, by HMAC-SHA256; None: not signed.
        timeout_s: how long the receiver may take for one answer.
        queue: how many deliveries wait while it does not answer; then the oldest are dropped.
        ca: PEM file of the authority that signed its certificate; None: those of this system.
    """

    url: Annotated[str, msgspec.Meta(max_length=2048)]
    send: Literal["segments", "changes", "both"] = "segments"
    secret: Annotated[str, msgspec.Meta(min_length=16, max_length=256)] | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 5.0
    queue: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    ca: str | None = None

    def __post_init__(self) -> None:
        problem = url_problem(self.url)
        if problem is not None:
            raise ValueError(f"'url' {problem}")


def url_problem(url: str) -> str | None:
    """What is wrong with an address for HTTP, in words that follow its name; None where nothing is."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "holds characters that no address has: escape them as %XX"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address: its port is a number from 1 to 65535"
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_host(parts.hostname) or port == 0:
        return "must be an address such as https://example.org/hook"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or a password: what is sent is signed by 'secret' instead"
    return None


def is_host(name: str) -> bool:
    """True for what may be the name or the address of a host."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return bool(name) and not any(char.isspace() or char in "/\\@?#" or not char.isprintable() for char in name)


def _check_host(name: str) -> None:
    if not is_host(name):
        # What stands before an @ may be a password.
        raise ValueError(
            f"'host' {name[:40]!r} is no name of a host" if "@" not in name else "'host' is no name of a host"
        )


class OscActorSettings(OscSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section, and the names of the streams."""

    streams: tuple[str, ...] = ()


class MqttActorSettings(MqttSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section, the streams, which are announced from the start, and the emotions that they may have."""

    streams: tuple[str, ...] = ()
    emotions: tuple[str, ...] = EMOTIONS
