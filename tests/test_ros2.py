"""The ROS 2 bridge: its mapping, the node with stand-ins of ROS, the rosbridge client with one of the server."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, FaceMeasures, Speech, Verdict
from tests.workers.test_lsl_samples import event, face, sure

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "ros2"
NOW_NS = 1_800_000_000_500_000_000

# The fields of the messages, as hri_msgs 2 and std_msgs declare them.
FIELDS = {
    "hri_msgs": {
        "IdsList": {"header", "ids"},
        "NormalizedRegionOfInterest2D": {"header", "xmin", "ymin", "xmax", "ymax", "c"},
        "Expression": {"header", "expression", "valence", "arousal", "confidence"},
        "FacialActionUnits": {"header", "intensity", "confidence"},
    },
    "std_msgs": {"Bool": {"data"}, "String": {"data"}},
}
# The constants of hri_msgs/Expression that our seven become.
EXPRESSIONS = {"neutral", "happy", "sad", "surprised", "scared", "disgusted", "angry"}


@pytest.fixture(scope="module")
def mapping() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLE))
    yield importlib.import_module("mapping")
    sys.path.remove(str(EXAMPLE))
    for name in ("mapping", "events", "bridge", "rosbridge"):
        sys.modules.pop(name, None)


def one(*tracks: int, stream: str = "desk", seq: int = 0) -> dict[str, Any]:
    measures = FaceMeasures(valence=0.5, arousal=-0.25, units={"au12_derived": 0.75, "au45_derived": 0.1})
    faces = [msgspec.structs.replace(face(n, "fear", 0.8), face=measures, box=(-10, 20, 60, 100)) for n in tracks]
    voice = Speech(label="sad", probabilities=sure("sad"), voice=0.9, age_ms=1)
    found: Emotion = msgspec.structs.replace(
        event(*faces, verdict=Verdict(label="fear", confidence=0.8), speech=voice, seq=seq), stream=stream,
        size=(100, 200),
    )  # fmt: skip
    return json.loads(msgspec.json.encode(found))  # type: ignore[no-any-return]


def by_topic(found: list[Any]) -> dict[str, Any]:
    assert len({topic for topic, _, _ in found}) == len(found)
    return {topic: fields for topic, _, fields in found}


def test_a_face_has_the_topics_of_rep_155(mapping: Any) -> None:
    found = by_topic(mapping.Humans("camera").messages(one(3), NOW_NS))
    assert found["/humans/faces/tracked"]["ids"] == ["desk_3"]
    stamp = {"sec": 1_800_000_000, "nanosec": 500_000_000}
    assert found["/humans/faces/tracked"]["header"] == {"stamp": stamp, "frame_id": "camera"}
    said = found["/humans/faces/desk_3/expression"]
    assert (said["expression"], said["valence"], said["arousal"]) == ("scared", 0.5, -0.25)
    box = found["/humans/faces/desk_3/roi"]
    assert (box["xmin"], box["ymin"], box["xmax"], box["ymax"]) == (0.0, 0.1, 0.5, 0.6), "cut at the picture's edges"
    units = found["/humans/faces/desk_3/facs"]
    assert len(units["intensity"]) == len(units["confidence"]) == 99
    assert (units["intensity"][12], units["confidence"][12], units["confidence"][1]) == (0.75, 1.0, 0.0)
    assert found["/humans/voices/tracked"]["ids"] == ["desk"]
    assert found["/humans/voices/desk/is_speaking"] == {"data": True}
    assert json.loads(found["/bimodal/desk/event"]["data"])["faces"][0]["track"] == 3


def test_every_message_has_the_fields_of_its_type(mapping: Any) -> None:
    for topic, kind, fields in mapping.Humans("camera").messages(one(1, 2), NOW_NS):
        package, middle, name = kind.split("/")
        assert middle == "msg"
        assert set(fields) == FIELDS[package][name], topic
    assert set(mapping.EXPRESSIONS.values()) == EXPRESSIONS


def test_faces_of_several_streams_are_tracked_together(mapping: Any) -> None:
    humans = mapping.Humans("camera")
    humans.messages(one(1), NOW_NS)
    found = by_topic(humans.messages(one(1, 2, stream="back door"), NOW_NS))
    assert found["/humans/faces/tracked"]["ids"] == ["back_door_1", "back_door_2", "desk_1"]
    later = by_topic(humans.messages(one(), NOW_NS + 3 * 10**9))
    assert later["/humans/faces/tracked"]["ids"] == [], "a stream that has ended is not tracked for ever"


@given(st.text(min_size=1, max_size=20))
def test_any_stream_has_a_name_that_ros_takes(mapping: Any, text: str) -> None:
    found = mapping.name(text)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", found)
    assert "__" not in found


# ------------------------------------------------------------------------------------ the node, with stand-ins


class Message:
    """A stand-in of a message's class."""

    fields: dict[str, Any]


def ros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins of ROS's Python packages."""
    for package, kinds in FIELDS.items():
        names = types.SimpleNamespace(**{name: type(name, (Message,), {}) for name in kinds})
        monkeypatch.setitem(sys.modules, package, types.SimpleNamespace(msg=names))  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, f"{package}.msg", names)  # type: ignore[arg-type]

    def set_message_fields(message: Message, fields: dict[str, Any]) -> None:
        message.fields = fields

    monkeypatch.setitem(sys.modules, "rclpy", types.SimpleNamespace(ok=lambda: True))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "rclpy.node", types.SimpleNamespace(Node=Node))  # type: ignore[arg-type]
    setter = types.SimpleNamespace(set_message_fields=set_message_fields)
    monkeypatch.setitem(sys.modules, "rosidl_runtime_py", types.SimpleNamespace(set_message=setter))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "rosidl_runtime_py.set_message", setter)  # type: ignore[arg-type]


class Publisher:
    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.published: list[Message] = []

    def publish(self, message: Message) -> None:
        self.published.append(message)


class Node:
    """A stand-in of rclpy's node."""

    def __init__(self, name: str) -> None:
        self.open: dict[str, Publisher] = {}

    def declare_parameter(self, name: str, default: str) -> Any:
        return types.SimpleNamespace(value=default)

    def get_clock(self) -> Any:
        return types.SimpleNamespace(now=lambda: types.SimpleNamespace(nanoseconds=NOW_NS))

    def create_publisher(self, kind: type, topic: str, depth: int) -> Publisher:
        assert issubclass(kind, Message)
        self.open[topic] = Publisher(topic)
        return self.open[topic]

    def destroy_publisher(self, publisher: Publisher) -> None:
        del self.open[publisher.topic]


def test_the_node_publishes_and_forgets_faces_that_are_gone(mapping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ros(monkeypatch)
    node = importlib.import_module("bridge").Bridge()
    for seq in range(3):
        node.publish(one(1, 2, seq=seq))
    said = node.open["/humans/faces/desk_1/expression"].published
    assert len(said) == 3
    stamp = said[0].fields["header"]["stamp"]
    assert stamp["sec"] * 10**9 + stamp["nanosec"] == NOW_NS - 20_000_000, "when the frame was grabbed"
    node.publish(one(2))
    assert not [topic for topic in node.open if "/desk_1/" in topic]
    assert node.open["/humans/faces/tracked"].published[-1].fields["ids"] == ["desk_2"]


# ------------------------------------------------------------------------------------ rosbridge


def test_a_rosbridge_server_is_told_of_each_topic_once(mapping: Any) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    rosbridge = importlib.import_module("rosbridge")
    heard: list[dict[str, Any]] = []

    async def robot(line: ServerConnection) -> None:
        async for text in line:
            heard.append(json.loads(text))

    async def bimodal(line: ServerConnection) -> None:
        for seq in range(2):
            await line.send(json.dumps(one(1, seq=seq)))
        await line.wait_closed()

    async def both() -> None:
        async with serve(robot, "127.0.0.1", 0) as there, serve(bimodal, "127.0.0.1", 0) as here:
            ports = [next(iter(server.sockets)).getsockname()[1] for server in (there, here)]
            running = asyncio.create_task(rosbridge.run(*(f"ws://127.0.0.1:{port}/events" for port in ports)))
            async with asyncio.timeout(60):
                while sum(one["topic"] == "/bimodal/desk/event" for one in heard if one["op"] == "publish") < 2:
                    await asyncio.sleep(0.01)
            running.cancel()

    asyncio.run(both())
    advertised = [one["topic"] for one in heard if one["op"] == "advertise"]
    published = [one for one in heard if one["op"] == "publish"]
    assert len(advertised) == len(set(advertised))
    assert len(published) == 2 * len(advertised)
    assert all(one["topic"] in advertised for one in published)
    assert {one["type"] for one in heard if one["op"] == "advertise"} == {
        "hri_msgs/msg/IdsList", "hri_msgs/msg/NormalizedRegionOfInterest2D", "hri_msgs/msg/Expression",
        "hri_msgs/msg/FacialActionUnits", "std_msgs/msg/Bool", "std_msgs/msg/String",
    }  # fmt: skip
