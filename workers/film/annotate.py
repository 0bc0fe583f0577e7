"""Write a copy of an analysed file with every frame's event drawn in, its sound kept, at its own size and times."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.container
import msgspec
import numpy as np
import setproctitle
from numpy.typing import NDArray

from bimodal.broker.events import Emotion
from bimodal.broker.paths import shown, unpack
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import Pixels, Style
from bimodal.errors import BimodalError
from bimodal.recordings.reading import clips, read_events
from bimodal.workers.actor import BROKEN, DONE, REFUSED, die_with_parent
from bimodal.workers.capture import files
from bimodal.workers.capture.choice import DEFAULT, Choice, sound_stream
from bimodal.workers.film.order import ENVIRONMENT_KEY, FilmProgress, Order, part_name
from bimodal.workers.film.writer import FilmError, FilmWriter, aac_rate, film_error

VOICE_ONLY = (640, 360)


class _Shown(NamedTuple):
    pts_ns: int
    pixels: Pixels
    event: Emotion | None


def annotate(
    source: Path,
    events: Path,
    film: Path,
    *,
    style: Style,
    on_progress: Callable[[int], None],
    choice: Choice = DEFAULT,
    landmarks: str | None = None,
) -> int:
    """Write `film` and return how many pictures it has; it takes its name only when it is complete.

    The source is decoded again, as capture decodes it, at the size at which a player shows it. A source without picture
    gets a plain one for each event.

    Args:
        events: the file's NAME.jsonl.
        on_progress: called with the number of pictures so far, after each.
        choice: the tracks that were analysed.
        landmarks: path of the face-landmarks artifact that finds the meshes to draw; None draws none.

    Raises SourceError or RecordError where source or events can't be read, FilmError where the film can't be written,
    ArtifactError where the landmark model can't be used.
    """
    find_meshes = _mesh_finder(landmarks) if "mesh" in style.draw and landmarks is not None else _no_meshes
    info = files.probe(source, choice)
    size = (info.width, info.height) if info.has_picture else VOICE_ONLY
    shown = _paired(source, events, choice) if info.has_picture else _plain(events)
    style = msgspec.structs.replace(style, emotions=clips(events)[0].emotions)
    part = part_name(film)
    try:
        with _writing(part, size, info.fps, source, choice) as (writer, sound):
            for pts_ns, pixels, event in shown:
                sound.up_to(pts_ns)
                if event is not None:
                    pixels = overlay(pixels, event, style, find_meshes(pixels, event))
                writer.picture(pts_ns, pixels)
                on_progress(writer.pictures)
            sound.up_to(None)
            writer.close()
        part.replace(film)
    except OSError as error:
        raise film_error(error, film) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return writer.pictures


@contextlib.contextmanager
def _writing(
    part: Path, size: tuple[int, int], fps: float, source: Path, choice: Choice
) -> Iterator[tuple[FilmWriter, SourceSound]]:
    writer = FilmWriter(part, size, fps)
    try:
        sound = SourceSound(source, writer, choice)
    except av.FFmpegError as error:
        raise FilmError(f"the sound of {source} can't be read: {error.strerror}") from error
    try:
        yield writer, sound
    finally:
        sound.close()


_Finder = Callable[[Pixels, Emotion], Sequence[NDArray[np.float32] | None]]


def _mesh_finder(landmarks: str) -> _Finder:
    # ONNX Runtime is loaded only where meshes are drawn.
    from bimodal.workers.film.meshes import MeshFinder

    return MeshFinder(landmarks)


def _no_meshes(_pixels: Pixels, _event: Emotion) -> Sequence[None]:
    return ()


def _paired(source: Path, events: Path, choice: Choice) -> Iterator[_Shown]:
    """Each picture with its event, by number; a picture without one is shown as it is."""
    following = read_events(events)
    event = next(following, None)
    for number, picture in enumerate(files.pictures(source, choice=choice)):
        while event is not None and event.seq < number:
            event = next(following, None)
        found = event if event is not None and event.seq == number else None
        yield _Shown(picture.pts_ns, picture.pixels, found)


def _plain(events: Path) -> Iterator[_Shown]:
    for event in read_events(events):
        yield _Shown(round(event.t * files.NANO), ground(*VOICE_ONLY), event)


# The process that annotates one file, `python -m bimodal.workers.film.annotate`: its Order is JSON in the environment
# variable BIMODAL_FILM, and it prints its FilmProgress on stdout, one JSON object a line.

PRINT_EVERY_S = 0.25


class _ProgressPrinter:
    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, pictures: int) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + PRINT_EVERY_S
            print_progress(FilmProgress(pictures=pictures))


def print_progress(progress: FilmProgress) -> None:
    """Print one line for the parent process."""
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Carry out the order of the environment; gives the exit code."""
    order = msgspec.json.decode(os.environ.pop(ENVIRONMENT_KEY), type=Order)
    setproctitle.setproctitle("bimodal: film")
    die_with_parent(order.parent)
    logging.basicConfig(filename=order.log, format="%(asctime)s film %(levelname)s %(message)s", level=logging.INFO)
    try:
        pictures = annotate(
            unpack(order.source),
            unpack(order.events),
            unpack(order.film),
            style=order.style,
            on_progress=_ProgressPrinter(),
            choice=order.choice,
            landmarks=order.landmarks,
        )
    except BimodalError as error:
        logging.info("refused: %s", error, exc_info=error)
        print_progress(FilmProgress(because=str(error)))
        return REFUSED
    except Exception as error:
        logging.exception("an error of our own")
        print_progress(
            FilmProgress(
                because=f"{shown(unpack(order.film))} met an unexpected {type(error).__name__}; the log has the details"
            )
        )
        return BROKEN
    print_progress(FilmProgress(pictures=pictures))
    return DONE


# Sound of the source: copied where MP4 takes its codec, else encoded.

log = logging.getLogger(__name__)

# Codecs that common players play in MP4.
COPIED = frozenset({"aac", "mp3", "alac", "ac3", "eac3"})
LEAP_NS = 1_000_000_000
AHEAD_NS = 500_000_000


class SourceSound:
    """Feeds a film with the sound of its source, up to the newest picture.

    A source without sound, or with sound that can't be decoded, gives none; the reason is logged.
    """

    def __init__(self, source: Path, film: FilmWriter, choice: Choice) -> None:
        self._container: av.container.InputContainer = av.open(str(source))
        self._stream = sound_stream(self._container, choice)
        self._choice = choice
        self._pending: Iterator[int] = iter(())
        self._reached_ns = -1
        self._source, self._film = source, film
        if self._stream is not None:
            self._begin(self._stream)

    def _begin(self, stream: av.AudioStream) -> None:
        origin_ns = files.beginning_ns(self._container, self._choice)
        if stream.codec_context.name.removesuffix("float") in COPIED:
            self._film.copy_sound(stream)
            self._pending = self._copy(stream, origin_ns)
        else:
            layout = "stereo" if stream.layout.nb_channels > 1 else "mono"
            self._film.encode_sound(aac_rate(stream.rate), layout)
            self._pending = self._encode(stream, origin_ns, layout)

    def up_to(self, pts_ns: int | None) -> None:
        """Write the sound up to this time, or to its end. Raises FilmError where the film can't be written."""
        try:
            while pts_ns is None or self._reached_ns < pts_ns + AHEAD_NS:
                reached = next(self._pending, None)
                if reached is None:
                    return
                self._reached_ns = reached
        except av.FFmpegError as error:
            log.warning("%s: the sound ends early (%s)", self._source, error.strerror)
            self._pending = iter(())

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _copy(self, stream: av.AudioStream, origin_ns: int) -> Iterator[int]:
        """Copy packets, shifted to the film's 0; yields the end of the sound so far."""
        shift_ns, end_ns = -origin_ns, 0
        for packet in _packets(self._container, stream):
            if packet.pts is None or packet.time_base is None:
                continue
            pts_ns = files.nano(packet.pts, packet.time_base) + shift_ns
            if pts_ns < end_ns - LEAP_NS:
                # Two files joined: time stamps start anew, and continue where the old ones ended.
                shift_ns += end_ns - pts_ns
                pts_ns = end_ns
            end_ns = pts_ns + files.nano(packet.duration or 0, packet.time_base)
            ticks = round(shift_ns / files.NANO / packet.time_base)
            packet.pts += ticks
            packet.dts = packet.pts
            self._film.packet(packet)
            yield end_ns

    def _encode(self, stream: av.AudioStream, origin_ns: int, layout: str) -> Iterator[int]:
        rate = aac_rate(stream.rate)
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        for frame in files.decoded(self._container, stream, str(self._source), log.warning):
            assert isinstance(frame, av.AudioFrame)
            begin_ns = self._reached_ns
            if frame.pts is not None and frame.time_base is not None:
                begin_ns = files.nano(frame.pts, frame.time_base) - origin_ns
            parts = [part.to_ndarray().astype(np.float32, copy=False) for part in resampler.resample(frame)]
            if parts:
                samples = np.concatenate(parts, axis=1)
                self._film.sound(begin_ns, samples)
                yield begin_ns + samples.shape[1] * files.NANO // rate


def _packets(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.Packet[Any]]:
    for packet in container.demux(stream):
        if packet.size and not packet.is_corrupt:
            yield packet


if __name__ == "__main__":
    sys.exit(main())
