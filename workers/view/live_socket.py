"""The page's own WebSocket, /stream.

To the page: text messages, JSON, with a key "type": "hello" once, "state" twice a second (workers/view/state.py),
"history" whenever it selects a stream, "notice" where a request is refused; and binary messages, a frame with its event
(`frame_message`).
From the page: {"look": STREAM}, or {"look": null} while its tab is hidden; {"record": true} and {"record": false},
where config.yaml names a folder for recordings.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from typing import Literal

import cv2
import msgspec
import numpy as np
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bimodal.broker.control import Accepted, RecordRequest, ask
from bimodal.broker.events import Emotion, Probabilities, face_emotion, fused, leading
from bimodal.errors import BimodalError
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.workers.errors import ViewError
from bimodal.workers.observer import FramedEvent, Pixels
from bimodal.workers.view.state import Point, View, point, snapshot
from bimodal.workers.view.viewers import Viewer

# Frames as binary messages, encoded once for all pages. Pure.

JPEG_QUALITY = 80
# Wider pictures are scaled down: no page shows more, and phones pay for every byte.
WIDEST = 960
_LENGTH = struct.Struct("<I")

Picture = Literal["jpeg", "hidden", "none"]


class FrameHead(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a frame message, before the JPEG. Beside the event it tells the page how to read it.

    Attributes:
        at: arrival of the event, in seconds of the monotonic clock.
        size: width and height of the frame that the boxes belong to; None where it is not known.
        picture: "jpeg" follows, "hidden" by `faces: hide`, or "none" (a stream of sound, or a frame that was lost).
        leading: index of the leading face among the event's faces; None without a face.
        shows: the emotion that the leading face alone shows.
        fused: probabilities of the verdict.
        point: what the timeline shows of the event.
    """

    at: float
    size: tuple[int, int] | None
    picture: Picture
    event: Emotion
    leading: int | None
    shows: str | None
    fused: Probabilities | None
    point: Point


_encoder = msgspec.json.Encoder()


def frame_message(framed: FramedEvent, at: float, *, hide: bool, about: EmotionSet = SEVEN) -> bytes:
    """Pack a frame: length of the head (uint32, little-endian), the head as JSON, the JPEG or, with `hide`, nothing."""
    pixels = framed.pixels
    picture: Picture = "hidden" if hide else "none" if pixels is None else "jpeg"
    event = framed.event
    face = leading(event)
    head = _encoder.encode(
        FrameHead(
            at=round(at, 4),
            size=framed.size,
            picture=picture,
            event=event,
            leading=None if face is None else event.faces.index(face),
            shows=face_emotion(event),
            fused=fused(event),
            point=point(event, at, about),
        )
    )
    body = jpeg(pixels) if pixels is not None and not hide else b""
    return _LENGTH.pack(len(head)) + head + body


def jpeg(pixels: Pixels) -> bytes:
    """Encode RGB uint8 [H, W, 3] as JPEG, at most 960 wide."""
    height, width = pixels.shape[:2]
    if width > WIDEST:
        size = (WIDEST, max(1, round(height * WIDEST / width)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return np.asarray(data).tobytes()


STATE_EVERY_S = 0.5
TRY_AGAIN_LATER = 1013
NOT_UNDERSTOOD = 1008
MOST_REQUEST_CHARACTERS = 1024


class PageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of a page, one of both: the stream that it shows, or that recording shall begin or stop."""

    look: str | msgspec.UnsetType | None = msgspec.UNSET
    record: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if (self.look is msgspec.UNSET) == (self.record is msgspec.UNSET):
            raise ValueError("a request has one key")


_request = msgspec.json.Decoder(PageRequest)


def _text(values: object) -> str:
    return _encoder.encode(values).decode()


def routes(view: View) -> list[BaseRoute]:
    """Route of /stream."""
    publisher = StatePublisher(view)

    async def serve(socket: WebSocket) -> None:
        await socket.accept()
        if view.viewers.full:
            await socket.close(TRY_AGAIN_LATER, "too many pages are open")
            return
        viewer = view.viewers.add()
        publisher.start()
        try:
            writing = asyncio.create_task(_write(view, viewer, socket))
            try:
                await _read(view, viewer, socket)
            finally:
                writing.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    await writing
        finally:
            view.viewers.remove(viewer)

    return [WebSocketRoute("/stream", serve)]


def hello(view: View) -> dict[str, object]:
    """The first message. `colours`: by emotion and category, the name of its colour."""
    about = view.settings.emotions
    return {
        "type": "hello",
        "session": view.session,
        "emotions": about.emotions,
        "categories": about.categories,
        "colours": {name: about.colour_of(name) for name in (*about.emotions, *about.categories)},
        "faces": view.settings.faces,
        "visitors": list(view.visitors),
    }


async def _read(view: View, viewer: Viewer, socket: WebSocket) -> None:
    """Handle the page's requests until it disconnects."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        try:
            if text is None or len(text) > MOST_REQUEST_CHARACTERS:
                raise msgspec.DecodeError
            request = _request.decode(text)
        except msgspec.DecodeError:  # ill-typed ones are of this kind, too
            await socket.close(NOT_UNDERSTOOD, "not understood")
            return
        if not isinstance(request.record, msgspec.UnsetType):
            await _record(view, viewer, on=request.record)
            continue
        assert not isinstance(request.look, msgspec.UnsetType)
        stream = request.look
        view.viewers.select(viewer, stream)
        history = view.histories.get(stream or "")
        points = list(history.points) if history is not None else []
        viewer.put("history", _text({"type": "history", "stream": stream, "points": points}))


async def _record(view: View, viewer: Viewer, *, on: bool) -> None:
    """Ask the supervisor to begin or stop recording; where it refuses, the page is told why."""
    try:
        if not view.settings.records:
            raise ViewError("there is no folder for recordings: 'outputs.record' in config.yaml names one")
        await asyncio.to_thread(ask, view.directory, RecordRequest(on=on), Accepted)
    except BimodalError as error:
        viewer.put("notice", _text({"type": "notice", "about": "recording", "text": str(error)}))


async def _write(view: View, viewer: Viewer, socket: WebSocket) -> None:
    """Send "hello", then the outbox, one message at a time, as fast as the connection takes them."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text(_text(hello(view)))
        while True:
            kind, payload = await viewer.next()
            if isinstance(payload, str):
                await socket.send_text(payload)
            else:
                await socket.send_bytes(payload)
            view.viewers.on_sent(kind)


class StatePublisher:
    """Sends all pages the state twice a second; its task ends while there are none."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task unless it runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        while len(self._view.viewers):
            self._view.viewers.put_state(_text(self._state()))
            await asyncio.sleep(STATE_EVERY_S)

    def _state(self) -> dict[str, object]:
        return snapshot(self._view.system, time.monotonic(), records=self._view.settings.records)
