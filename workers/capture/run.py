"""One run of a stream, from start to end: reader threads that publish pictures and sound windows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from bimodal.broker.errors import BrokerError, RingGoneError, SlotError
from bimodal.broker.mailbox import Sender
from bimodal.broker.messages import Modality, StreamEnded, StreamOpened
from bimodal.workers.capture.checks import Stillness, uneven
from bimodal.workers.capture.publisher import JobPublisher
from bimodal.workers.capture.shots import ShotCounter
from bimodal.workers.capture.types import Connected, OpenSource, Picture, SourceInfo
from bimodal.workers.capture.windows import VoiceCutter, Window
from bimodal.workers.errors import WorkerError
from bimodal.workers.settings import CaptureActorSettings

log = logging.getLogger(__name__)

# Sound decodes fast: without a limit it would be read to its end before the picture has begun.
SOUND_AHEAD_NS = 30_000_000_000
JOIN_S = 1.0
NO_ROOM_SHOWN_S = 2.0


class Pace:
    """Holds items back until their time if a source is played at its own pace. The clock starts with the first item."""

    def __init__(self, realtime: bool, stopped: threading.Event) -> None:
        self._realtime = realtime
        self._stopped = stopped
        self._lock = threading.Lock()
        self._zero_ns: int | None = None

    def hold(self, pts_ns: int, grab_ns: int) -> int:
        """Wait for an item's time. Returns its grab time, which is now if it was held back."""
        if not self._realtime:
            return grab_ns
        with self._lock:
            if self._zero_ns is None:
                self._zero_ns = time.monotonic_ns() - pts_ns
        self._stopped.wait(max(0, self._zero_ns + pts_ns - time.monotonic_ns()) / 1e9)
        return time.monotonic_ns()


def stream_opened(settings: CaptureActorSettings, info: SourceInfo, run: int) -> StreamOpened:
    """Announce a run of a stream from its first job on."""
    return StreamOpened(
        stream=settings.stream,
        run=run,
        policy=settings.policy,
        source=info.name,
        has_picture=info.has_picture,
        has_sound=info.has_sound and settings.speech,
        width=info.width,
        height=info.height,
        fps=info.fps,
        frames_estimate=info.frames_estimate,
        duration_ns=info.duration_ns,
        sound_start_ns=info.sound_start_ns,
        hop_ns=round(settings.capture.hop_s * 1e9),
        channels=info.channels if settings.speech else (),
        emotions=() if settings.emotions.is_seven else settings.emotions.emotions,
        categories=settings.emotions.categories,
        dominance=settings.emotions.dominance,
        quick=settings.quick and settings.policy == "every",
    )


class Run:
    """The reader threads and job publishers of one run.

    Attributes:
        number: of the run, higher than that of every earlier run of the stream.
        error: the error that stopped a reader before its end, else None.
    """

    def __init__(
        self, settings: CaptureActorSettings, source: OpenSource, number: int, sender: Sender, slots: Path
    ) -> None:
        self.number = number
        self.error: Exception | None = None
        self._settings = settings
        self._source = source
        self._sender = sender
        self._stopped = threading.Event()
        self._picture_over = threading.Event()
        self._announced = False
        self._no_room = False
        self._stillness: Stillness | None = None
        # A camera has no cuts; what looks like one is a lamp, or a hand before the lens.
        cut = settings.source.file is not None or settings.source.url is not None
        self._shots = ShotCounter() if cut else None
        self._over: dict[Modality, StreamEnded] = {}
        self._pace = Pace(settings.realtime and not source.info.live, self._stopped)
        budget = settings.capture.memory_mb * 2**20
        self._publishers: dict[Modality, JobPublisher] = {
            modality: JobPublisher(sender, slots, settings.stream, number, modality, settings.policy, budget)
            for modality in ("face", "speech")
        }
        self._threads = [
            threading.Thread(target=self._guard, args=(read,), name=read.__name__, daemon=True)
            for read in self._readers()
        ]

    def _readers(self) -> list[Callable[[], None]]:
        if self._source.mixed is not None:
            return [self._read_mixed]
        readers: list[Callable[[], None]] = []
        if self._source.pictures is not None:
            readers.append(self._read_pictures)
        if self._has_sound:
            readers.append(self._read_sounds)
        return readers

    @property
    def _has_sound(self) -> bool:
        return self._source.info.has_sound and self._settings.speech

    # Start and end.

    def start(self) -> None:
        """Announce the stream, unless its properties are known only once it is connected, and start reading."""
        if self._source.mixed is None:
            self._announce_first()
        for thread in self._threads:
            thread.start()

    def announce_again(self) -> None:
        """Announce the stream, its next jobs and its ends to a new broker."""
        if self._announced:
            self._announce()
            for end in list(self._over.values()):
                self._sender.send(end)

    def _announce_first(self) -> None:
        if self._source.info.live and self._source.info.has_picture:
            self._stillness = Stillness(time.monotonic_ns())
        self._announce()
        self._announced = True
        if not self._source.info.has_picture:
            self._end("face")
        if not self._has_sound:
            self._end("speech")

    def _announce(self) -> None:
        opened = stream_opened(self._settings, self._source.info, self.number)
        face, speech = (self._publishers[modality].next_seq for modality in ("face", "speech"))
        self._sender.send(msgspec.structs.replace(opened, next_face_seq=face, next_speech_seq=speech))

    def release(self, modality: Modality, seqs: Iterable[int]) -> None:
        """Release the slots of settled jobs."""
        self._publishers[modality].release(seqs)

    @property
    def lost(self) -> bool:
        """True once the shared memory of a file was removed by somebody."""
        return self._no_room or any(publisher.lost for publisher in self._publishers.values())

    def offered(self, modality: Modality) -> int:
        """Number of jobs published so far."""
        return self._publishers[modality].next_seq

    @property
    def sound_ns(self) -> int:
        """End of the newest window of sound, on the stream's time line."""
        return self._publishers["speech"].offered_ns

    def degraded_reason(self) -> str | None:
        """The source's problems, now or at its end, in one sentence; else None."""
        problems = self._source.problems
        if self._stillness is not None:
            lost = problems.any_of("source", "picture", "memory")
            problems.report("still", None if lost else self._stillness.sentence(time.monotonic_ns()))
        return problems.text()

    def close(self) -> None:
        """Stop reading and unlink the slots."""
        self._stopped.set()
        self._source.stopped.set()
        for publisher in self._publishers.values():
            publisher.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_S)
        for publisher in self._publishers.values():
            publisher.close()

    # Readers, each in a thread.

    def _guard(self, read: Callable[[], None]) -> None:
        try:
            read()
        except (WorkerError, BrokerError) as error:
            self.error = error
        except Exception as error:
            log.exception("reading %s failed", self._settings.stream)
            self.error = error

    def _read_pictures(self) -> None:
        assert self._source.pictures is not None
        try:
            for picture in self._source.pictures():
                if not self._put_picture(picture):
                    return
        finally:
            self._picture_over.set()
        self._end("face")

    def _read_sounds(self) -> None:
        assert self._source.sounds is not None
        cutter = self._cutter()
        for sound in self._source.sounds():
            if not self._put_windows(cutter.feed(sound)):
                return
        if self._put_windows(cutter.flush()):
            self._end("speech")

    def _read_mixed(self) -> None:
        assert self._source.mixed is not None
        cutter = self._cutter()
        self._picture_over.set()  # one reader brings both, so neither can run ahead of the other
        for item in self._source.mixed():
            if isinstance(item, Connected):
                # The first connection determines the stream: fusion was not told of what a later one adds.
                if not self._announced:
                    self._source.info = item.info
                    self._announce_first()
                continue
            if isinstance(item, Picture):
                going = not self._source.info.has_picture or self._put_picture(item)
            else:
                going = not self._has_sound or self._put_windows(cutter.feed(item))
            if not going:
                return

    def _cutter(self) -> VoiceCutter:
        """Make the stream's hop cutter; for a live source a gap longer than a window starts a new window."""
        window_s, hop_s = self._settings.capture.window_s, self._settings.capture.hop_s
        voices = len(self._source.info.channels)
        return VoiceCutter(voices, window_s, hop_s, most_gap_s=window_s if self._source.info.live else None)

    def _put_picture(self, picture: Picture) -> bool:
        grab_ns = self._pace.hold(picture.pts_ns, picture.grab_ns)
        if self._stillness is not None:
            self._stillness.check(picture.pixels, grab_ns)
        if picture.placed is not None:
            self._publishers["face"].put_placed(
                picture.placed, picture.pixels.shape, pts_ns=picture.pts_ns, grab_ns=grab_ns, size=picture.size
            )
            return not self._stopped.is_set()
        return self._put(
            "face",
            picture.pixels,
            pts_ns=picture.pts_ns,
            grab_ns=grab_ns,
            largest=self._source.largest_picture,
            size=picture.size,
            shot=self._shots.shot(picture.pixels) if self._shots is not None else 0,
        )

    def _put_windows(self, windows: Iterator[Window]) -> bool:
        for window in windows:
            self._wait_for_picture(window.end_ns)
            grab_ns = self._pace.hold(window.end_ns, window.grab_ns)
            put = self._put(
                "speech",
                window.samples,
                pts_ns=window.end_ns,
                grab_ns=grab_ns,
                rate=window.rate,
                fresh=window.new_samples,
                largest=round(self._settings.capture.window_s * window.rate + 1) * window.samples.itemsize,
            )
            if not put:
                return False
        return not self._stopped.is_set()

    def _put(self, modality: Modality, array: NDArray[Any], **place: Any) -> bool:
        """Publish an array; False if reading should stop. If shared memory is full, a live stream loses the item."""
        try:
            return self._publishers[modality].put(array, **place)
        except RingGoneError as error:
            # The supervisor makes the folder again within a second; a file is then started again by the actor.
            self._source.problems.report("memory", str(error), for_s=NO_ROOM_SHOWN_S)
            if self._settings.policy == "every":
                self._no_room = True
                self._stopped.wait()
            return not self._stopped.is_set()
        except SlotError as error:
            if self._settings.policy == "every":
                raise
            self._source.problems.report("memory", str(error), for_s=NO_ROOM_SHOWN_S)
            return not self._stopped.is_set()

    def _wait_for_picture(self, end_ns: int) -> None:
        """Keep the sound of a file from running far ahead of its picture."""
        if self._source.info.live or not self._source.info.has_picture:
            return
        while end_ns > self._publishers["face"].offered_ns + SOUND_AHEAD_NS and not self._stopped.is_set():
            if self._picture_over.wait(0.02):
                return

    def _end(self, modality: Modality) -> None:
        publisher = self._publishers[modality]
        self._over[modality] = end = StreamEnded(
            stream=self._settings.stream,
            run=self.number,
            modality=modality,
            count=publisher.next_seq,
            end_ns=publisher.offered_ns,
        )
        if len(self._over) == len(self._publishers):
            self._compare_lengths()
        self._sender.send(end)

    def _compare_lengths(self) -> None:
        ends_ns = {
            modality: publisher.offered_ns for modality, publisher in self._publishers.items() if publisher.next_seq
        }
        info = self._source.info
        all_read = self._has_sound or not info.has_sound
        self._source.problems.report(
            "length", uneven(info, ends_ns, self._publishers["face"].next_seq, all_read=all_read)
        )
