"""Events to an MQTT broker: states, Home Assistant's discovery, and what happens when the broker is away."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Stretch, Verdict
from bimodal.broker.messages import StreamClosed
from bimodal.commands.keys import make_certificate
from bimodal.workers.errors import WorkerError
from bimodal.workers.mqtt import (
    ENTITIES,
    MOST_WAITING,
    REFRESH_S,
    SILENT_S,
    STATE_EVERY_S,
    Link,
    MqttActor,
    Out,
    State,
    Streams,
    default_topic,
    discovery,
    node,
    state_of,
)
from bimodal.workers.output_settings import MqttActorSettings
from tests.mosquitto import Listener, Mosquitto
from tests.workers.on_a_bus import OnABus
from tests.workers.test_lsl_samples import event, face, sure

pytest.importorskip("paho.mqtt")

HAPPY = Verdict(label="happy", confidence=0.8, valence=0.5, probabilities=sure("happy", 0.8))
SEGMENT = Stretch(
    stream="desk", kind="face", start=1.0, end=2.5, track=3, channel=None, label="happy", confidence=0.5, peak=0.9,
    frames=30,
)  # fmt: skip


def happy(seq: int = 0) -> Emotion:
    return event(face(1, "happy", 0.8), verdict=HAPPY, seq=seq)


def said(found: list[Out]) -> dict[str, object]:
    """Payloads by the last two parts of their topics; states as their labels."""
    short = {"/".join(out.topic.split("/")[-2:]): out.payload for out in found}
    return {
        topic: json.loads(payload)["label"] if topic.endswith("state") else payload for topic, payload in short.items()
    }


# ------------------------------------------------------------------------------------ states


def test_a_state_is_published_when_it_says_something_new_twice_a_second_at_most() -> None:
    streams = Streams("bimodal/host", ("desk",))
    found = said(streams.on_event(happy(), 0.0, new=True))
    assert found == {"desk/availability": b"online", "desk/state": "happy"}
    assert streams.on_event(event(seq=1), 0.1, new=True) == []
    assert streams.on_event(happy(2), 0.2, new=True) == []
    assert streams.due(0.2) == []
    assert said(streams.due(STATE_EVERY_S)) == {"desk/state": "happy"}, "the newest"
    assert streams.on_event(happy(3), 1.0, new=False) == []
    assert streams.due(1.0) == [], "nothing new"
    streams.on_event(happy(4), STATE_EVERY_S + REFRESH_S, new=False)
    assert said(streams.due(STATE_EVERY_S + REFRESH_S)) == {"desk/state": "happy"}, "numbers don't grow old"


def test_a_stream_that_is_silent_or_has_ended_is_offline() -> None:
    streams = Streams("b")
    streams.on_event(happy(), 0.0, new=True)
    assert streams.due(SILENT_S) == []
    assert said(streams.due(SILENT_S + 1)) == {"desk/availability": b"offline"}
    assert streams.due(SILENT_S + 2) == []
    assert said(streams.on_event(happy(), 20.0, new=False))["desk/availability"] == b"online"
    assert said(streams.on_closed("desk")) == {"desk/state": None, "desk/availability": b"offline"}
    assert said(streams.everything()) == {"desk/state": None, "desk/availability": b"offline"}


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.01, 2), st.booleans()), max_size=40))
def test_states_keep_their_pace_and_the_newest_is_never_lost(steps: list[tuple[float, bool]]) -> None:
    streams, now, published, newest = Streams("b", ("desk",)), 0.0, [], None
    for seq, (step_s, new) in enumerate(steps):
        now += step_s
        newest = seq if new or seq == 0 else newest
        for out in [*streams.on_event(happy(seq), now, new=new), *streams.due(now)]:
            if out.topic.endswith("state"):
                published.append((now, json.loads(out.payload)["seq"]))
    last = [out for out in streams.due(now + 1) if out.topic.endswith("state")]
    published += [(now + 1, json.loads(out.payload)["seq"]) for out in last]
    times = [at for at, _ in published]
    assert all(after - before >= STATE_EVERY_S - 1e-9 for before, after in itertools.pairwise(times))
    assert newest is None or published[-1][1] >= newest


def test_a_state_says_why_there_is_no_label() -> None:
    state = state_of(event())
    assert (state.label, state.because, state.faces, state.speaking) == (None, "no face, no sound", 0, False)


def test_every_key_of_a_state_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text(encoding="utf-8")
    assert not [key for key in State.__struct_encode_fields__ if f"`{key}`" not in page]
    assert not [entity.name for entity in ENTITIES if entity.name not in page]


# ------------------------------------------------------------------------------------ names and discovery


@pytest.mark.parametrize(
    ("host", "session", "topic"),
    [("studio", "default", "bimodal/studio"), ("studio.local", "lab 2", "bimodal/studio_local-lab_2")],
)
def test_topics_begin_with_host_and_session(host: str, session: str, topic: str) -> None:
    assert default_topic(host, session) == topic
    assert node(topic) == topic.removeprefix("bimodal/")


@given(st.text(min_size=1, max_size=20))
def test_any_stream_has_topics_without_wildcards(stream: str) -> None:
    topic = Streams("bimodal/h").topic(stream, "state")
    assert topic.count("/") == 3
    assert not set(topic) & set("+#\0")


def test_home_assistant_is_told_of_each_stream_as_one_device() -> None:
    found = discovery("bimodal/studio", ("desk", "back door"), "homeassistant")
    assert len(found) == 2 * len(ENTITIES)
    assert all(out.retain for out in found)
    told = {out.topic: json.loads(out.payload) for out in found}
    assert len(told) == len(found)
    emotion = told["homeassistant/sensor/studio/studio_back_door_emotion/config"]
    assert emotion["state_topic"] == "bimodal/studio/back door/state"
    assert emotion["availability"] == [
        {"topic": "bimodal/studio/availability"},
        {"topic": "bimodal/studio/back door/availability"},
    ]
    assert emotion["availability_mode"] == "all"
    assert emotion["options"][-1] == "unknown"
    assert emotion["device"]["identifiers"] == ["bimodal_studio_back_door"]
    assert len({entity["unique_id"] for entity in told.values()}) == len(found)
    assert "homeassistant/binary_sensor/studio/studio_desk_speaking/config" in told


def test_templates_give_values_for_known_and_unknown() -> None:
    jinja2 = pytest.importorskip("jinja2")
    templates = {entity.id: jinja2.Environment().from_string(entity.template) for entity in ENTITIES}
    for one, expected in (
        (happy(), {"emotion": "happy", "confidence": "80.0", "faces": "1", "voice": "unknown", "speaking": "OFF",
                   "valence": "0.5", "arousal": "None"}),
        (event(), {"emotion": "unknown", "confidence": "None", "faces": "0", "voice": "unknown", "speaking": "OFF",
                   "valence": "None", "arousal": "None"}),
    ):  # fmt: skip
        value_json = msgspec.to_builtins(state_of(one))
        assert {name: template.render(value_json=value_json) for name, template in templates.items()} == expected


# ------------------------------------------------------------------------------------ a real broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path, "allow_anonymous true")
    yield found
    found.stop()


def test_a_broker_gets_states_changes_segments_and_availability(tmp_path: Path, broker: Mosquitto) -> None:
    listener = Listener(broker.port)
    old = "homeassistant/sensor/studio/studio_gone_emotion/config"
    listener.publish(old, b"{}", retain=True)
    settings = MqttActorSettings(port=broker.port, topic="studio", streams=("desk",))
    bus = OnABus(MqttActor, tmp_path, settings)
    newest = listener.newest
    try:
        bus.until(lambda: newest.get("studio/availability") == b"online")
        bus.until(lambda: "studio/desk/state" in newest, happy())
        assert json.loads(newest["studio/desk/state"])["label"] == "happy"
        assert newest["studio/desk/availability"] == b"online"
        bus.until(lambda: bus.actor.events > 5, happy())
        bus.until(lambda: "studio/desk/segment" in newest, SEGMENT)
        events = [payload for topic, payload in listener.heard if topic == "studio/desk/event"]
        assert len(events) == 1, "one change, however often it is said"
        assert json.loads(events[0])["faces"][0]["label"] == "happy"
        bus.until(lambda: newest[old] == b"")
        config = json.loads(newest["homeassistant/sensor/studio/studio_desk_emotion/config"])
        assert config["state_topic"] == "studio/desk/state"
        assert bus.actor.degraded_reason() is None

        # The line breaks: the broker says so, and the actor comes back by itself.
        before = len(listener.heard)
        bus.actor._link._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        bus.until(lambda: ("studio/availability", b"offline") in listener.heard[before:])
        bus.until(lambda: newest["studio/availability"] == b"online")

        # The broker is killed and forgets everything: what is retained is there again.
        listener.close()
        broker.stop()
        bus.until(lambda: bus.actor.degraded_reason() is not None, happy())
        assert f"127.0.0.1:{broker.port}" in str(bus.actor.degraded_reason())
        broker.start()
        bus.until(lambda: bus.actor.degraded_reason() is None, happy())
        again = Listener(broker.port)
        bus.until(lambda: "studio/desk/state" in again.newest and "studio/desk/availability" in again.newest)
        bus.until(lambda: "homeassistant/sensor/studio/studio_desk_emotion/config" in again.newest)
        bus.say(StreamClosed(stream="desk", run=1))
        bus.until(lambda: json.loads(again.newest["studio/desk/state"])["because"] == "the stream has ended")
    finally:
        bus.close()
    end = time.monotonic() + 60
    while again.newest["studio/availability"] != b"offline":
        assert time.monotonic() < end
        time.sleep(0.01)
    again.close()


def hashed(password: str) -> str:
    """A password as mosquitto_passwd writes it."""
    salt = b"twelve bytes"
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


def test_passwords_and_certificates_are_checked(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"anna:{hashed('right')}\n")
    files = make_certificate(tmp_path / "tls", ["127.0.0.1"])
    broker = Mosquitto(
        tmp_path, f"password_file {tmp_path / 'users'}", f"certfile {files.certificate}", f"keyfile {files.key}"
    )
    right = MqttActorSettings(
        port=broker.port, username="anna", password="right", tls=True, ca=str(files.certificate), discovery=None
    )
    wrong = msgspec.structs.replace(right, password="wrong")
    stranger = msgspec.structs.replace(right, ca=None)
    links = [Link(one, f"bimodal-{number}", "a/b", None) for number, one in enumerate((right, wrong, stranger))]
    try:
        end = time.monotonic() + 60
        while True:
            found = [str(link.trouble(0.0)) for link in links]
            if found[0] == "None" and "refuses the connection" in found[1] and "not trusted" in found[2]:
                break
            assert time.monotonic() < end, found
            time.sleep(0.02)
    finally:
        for link in links:
            link.close(Out("a/b", b"offline", retain=True))
        broker.stop()


def test_a_broker_that_stops_reading_costs_messages_and_no_memory() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link = Link(MqttActorSettings(port=server.getsockname()[1], discovery=None), "bimodal-a", "a/b", None)
        line, _ = server.accept()
        line.recv(1024)
        line.sendall(b"\x20\x02\x00\x00")  # CONNACK, and nothing more
        end = time.monotonic() + 60
        while link.trouble(0.0) is not None:
            assert time.monotonic() < end
            time.sleep(0.01)
        for number in range(4 * MOST_WAITING):
            link.publish(Out("a/event", bytes(100_000)), 1.0)
            link.publish(Out("a/state", str(number).encode(), retain=True), 1.0)
        assert link.lost > MOST_WAITING
        assert "takes messages too slowly" in str(link.trouble(1.0))
        assert len(link._sent) <= MOST_WAITING
        assert list(link._retained) == ["a/state"], "the newest state waits, the older ones don't"
        line.close()
        link.close(Out("a/b", b"offline", retain=True))


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(WorkerError, match=r"pip install 'bimodal-emotion\[mqtt\]'"):
        Link(MqttActorSettings(), "bimodal-a", "a/availability", None)
