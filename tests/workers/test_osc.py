"""Events as OSC: what is sent, as python-osc's own server receives it, and what is told when nobody does."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.events import FaceMeasures, Speech, Stretch, Verdict, VoiceMeasures
from bimodal.broker.messages import StreamClosed
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.errors import WorkerError
from bimodal.workers.osc import (
    MOST_BYTES,
    Argument,
    Bundles,
    Datagrams,
    OscActor,
    OscMessage,
    Tracks,
    alike,
    messages,
    part,
    segment_message,
)
from bimodal.workers.output_settings import OscActorSettings
from tests.workers.on_a_bus import OnABus
from tests.workers.test_lsl_samples import event, face, sure

pythonosc = pytest.importorskip("pythonosc")

HAPPY = Verdict(label="happy", confidence=0.8, valence=0.5, arousal=0.25, probabilities=sure("happy", 0.8))
SEGMENT = Stretch(
    stream="desk", kind="face", start=1.0, end=2.5, track=3, channel=None, label="happy", confidence=0.5, peak=0.9,
    frames=30,
)  # fmt: skip


def values(found: list[OscMessage]) -> dict[str, tuple[Argument, ...]]:
    """Arguments by address; each address comes once."""
    assert len({one.address for one in found}) == len(found)
    return {one.address: one.arguments for one in found}


def test_an_event_becomes_messages_of_the_same_names() -> None:
    turned = FaceMeasures(yaw_deg=12.0, eyes_closed=False, blend={"jawOpen": 0.25}, units={"au12_derived": 0.5})
    one = msgspec.structs.replace(face(3, "happy", 0.8), face=turned, box=(10, 20, 50, 100))
    voice = Speech(
        label="sad", probabilities=sure("sad"), voice=0.9, age_ms=1, snr_db=20.0, measures=VoiceMeasures(f0_hz=180.0)
    )
    found = values(messages(msgspec.structs.replace(event(one, verdict=HAPPY, speech=voice), size=(100, 200))))
    at = "/bimodal/desk"
    assert found[f"{at}/label"] == ("happy",)
    assert found[f"{at}/known"] == (1,)
    assert found[f"{at}/confidence"] == (0.8,)
    assert found[f"{at}/valence"] == (0.5,)
    assert found[f"{at}/probability/happy"] == (0.8,)
    assert found[f"{at}/faces"] == (1,)
    for place in (f"{at}/face", f"{at}/track/3"):
        assert found[f"{place}/track"] == (3,)
        assert found[f"{place}/box"] == (10, 20, 50, 100)
        assert found[f"{place}/place"] == (0.35, 0.35, 0.5, 0.5)
        assert found[f"{place}/yaw_deg"] == (12.0,)
        assert found[f"{place}/eyes_closed"] == (0,)
        assert found[f"{place}/blend/jawOpen"] == (0.25,)
        assert found[f"{place}/au/au12_derived"] == (0.5,)
        assert f"{place}/pitch_deg" not in found, "what is unknown is not sent"
    assert found[f"{at}/voice/label"] == ("sad",)
    assert found[f"{at}/voice/f0_hz"] == (180.0,)
    assert found[f"{at}/voice/snr_db"] == (20.0,)


def test_every_address_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "osc.md").read_text(encoding="utf-8")
    everything = {name: 1.0 for name in FaceMeasures.__struct_fields__ if name not in ("blend", "units", "affect")}
    measures = FaceMeasures(**everything, blend={"jawOpen": 0.5}, units={"au12_derived": 0.5})  # type: ignore[arg-type]
    sounds = VoiceMeasures(**dict.fromkeys(VoiceMeasures.__struct_fields__, 1.0))
    voice = Speech(label=None, probabilities=sure("sad"), voice=0.9, age_ms=1, because="x", snr_db=1.0, measures=sounds)
    whole = msgspec.structs.replace(face(1, "happy", 0.8), face=measures, sharpness=0.5, light=0.5)
    verdict = msgspec.structs.replace(HAPPY, agreement=0.5, because="x")
    found = messages(msgspec.structs.replace(event(whole, verdict=verdict, speech=voice), size=(100, 100)))
    shown = set(re.findall(r"[\w.]+", page))
    assert not [
        one.address for one in found if not {*one.address.split("/")[1:]} - {"desk", "1"} <= shown | set(EMOTIONS)
    ]


def test_what_is_unknown_is_said_and_no_number_is_invented() -> None:
    found = values(messages(event()))
    assert found["/bimodal/desk/label"] == ("unknown",)
    assert found["/bimodal/desk/because"] == ("no face, no sound",)
    assert found["/bimodal/desk/known"] == found["/bimodal/desk/faces"] == found["/bimodal/desk/voice/known"] == (0,)
    assert not [address for address in found if "/probability/" in address or "/face/" in address]


def test_a_face_that_leaves_is_told_once() -> None:
    tracks = Tracks()
    assert tracks.gone(event(face(1, "happy", 0.8), face(2, "sad", 0.6))) == []
    assert values(tracks.gone(event(face(2, "sad", 0.6)))) == {"/bimodal/desk/track/1/present": (0,)}
    gone = values(tracks.gone(event()))
    assert gone == {"/bimodal/desk/track/2/present": (0,), "/bimodal/desk/face/present": (0,)}
    assert tracks.gone(event()) == []
    tracks.gone(event(face(5, "happy", 0.8)))
    assert "/bimodal/desk/track/5/present" in values(tracks.closed("desk"))


def test_a_segment_has_a_message_of_its_own() -> None:
    assert segment_message(SEGMENT) == ("/bimodal/desk/segment/face", ("happy", 3, 1.0, 2.5, 0.5))
    voice = msgspec.structs.replace(SEGMENT, track=None, kind="voice")
    assert segment_message(voice).arguments[1] == -1


@given(st.text(min_size=1, max_size=20))
def test_any_name_is_a_part_of_an_address(name: str) -> None:
    found = part(name)
    assert len(found) == len(name)
    assert not set(found) & set(" #*,/?[]{}")
    assert found.isascii()


def test_streams_whose_addresses_are_the_same_are_named() -> None:
    assert alike(("a b", "c")) is None
    assert "'a b' and 'a_b'" in str(alike(("a b", "c", "a_b")))


def test_a_crowd_that_fits_no_datagram_takes_several() -> None:
    blend = {f"shape{number}": 0.5 for number in range(52)}
    crowd = [msgspec.structs.replace(face(n, "happy", 0.8), face=FaceMeasures(blend=blend)) for n in range(40)]
    found = messages(event(*crowd))
    datagrams = list(Bundles().of(found))
    assert 1 < len(datagrams) < 10
    assert all(len(one) <= MOST_BYTES for one in datagrams)
    assert all(one.startswith(b"#bundle\0") for one in datagrams)
    assert len(list(Bundles().of(messages(event(face(1, "happy", 0.8)))))) == 1
    assert list(Bundles().of([])) == []


names = st.text("abcDEF019_.-", min_size=1, max_size=12).map(lambda name: f"/bimodal/{name}")
texts = st.text(max_size=12).filter(lambda text: "\0" not in text)
arguments = st.lists(texts | st.integers(-(2**31), 2**31 - 1) | st.floats(width=32, allow_nan=False), max_size=5)


@settings(max_examples=25)
@given(st.lists(st.builds(OscMessage, names, arguments.map(tuple)), min_size=1, max_size=20))
def test_what_is_encoded_is_what_python_osc_reads(found: list[OscMessage]) -> None:
    from pythonosc.osc_bundle import OscBundle

    (datagram,) = Bundles().of([*found, OscMessage("/bimodal/nulls", ("a\0b",))])
    found = [*found, OscMessage("/bimodal/nulls", ("a b",))]
    assert [OscMessage(one.address, tuple(one.params)) for one in OscBundle(datagram)] == found


# ------------------------------------------------------------------------------------ to a real receiver


class Receiver:
    """python-osc's own server."""

    def __init__(self) -> None:
        from pythonosc.dispatcher import Dispatcher
        from pythonosc.osc_server import ThreadingOSCUDPServer

        self.heard: dict[str, tuple[object, ...]] = {}
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(self._take)
        self._server = ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _take(self, address: str, *arguments: object) -> None:
        self.heard[address] = arguments

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def test_a_receiver_gets_events_segments_and_the_end(tmp_path: Path, receiver: Receiver) -> None:
    bus = OnABus(OscActor, tmp_path, OscActorSettings(port=receiver.port, streams=("desk",)))
    try:
        happy = event(face(1, "happy", 0.8), verdict=HAPPY, seq=7)
        bus.until(lambda: "/bimodal/desk/track/1/probability/happy" in receiver.heard, happy)
        assert receiver.heard["/bimodal/desk/label"] == ("happy",)
        assert receiver.heard["/bimodal/desk/seq"] == (7,)
        assert receiver.heard["/bimodal/desk/confidence"] == pytest.approx((0.8,))
        assert receiver.heard["/bimodal/desk/face/present"] == (1,)
        bus.until(lambda: "/bimodal/desk/segment/face" in receiver.heard, SEGMENT)
        bus.until(lambda: receiver.heard["/bimodal/desk/known"] == (0,), StreamClosed(stream="desk", run=1))
        assert receiver.heard["/bimodal/desk/label"] == ("unknown",)
        bus.until(lambda: receiver.heard["/bimodal/desk/track/1/present"] == (0,))
        assert bus.actor.degraded_reason() is None
        assert bus.actor.figures()["lost"] == 0
    finally:
        bus.close()


def test_a_receiver_that_is_away_is_told_and_forgotten_once_it_is_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    line = Datagrams("127.0.0.1", port)
    end = time.monotonic() + 30
    while line.trouble(0.0) is None:
        line.send(b"x", 0.0)
        assert time.monotonic() < end
    assert f"nobody receives OSC at 127.0.0.1:{port}" in str(line.trouble(1.0))
    assert line.lost >= 1
    assert line.trouble(60.0) is None
    line.close()


def test_a_host_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(WorkerError, match=r"outputs\.osc can't send to studio:9000: Name or service not known"):
        Datagrams("studio", 9000)


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythonosc.parsing", None)
    with pytest.raises(WorkerError, match=r"pip install 'bimodal-emotion\[osc\]'"):
        Bundles()
