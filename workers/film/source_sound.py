"""The sound of the file that is annotated, put into its film: copied where MP4 takes it, else encoded anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np

from bimodal.workers.capture import media
from bimodal.workers.film.writer import FilmWriter, aac_rate

log = logging.getLogger(__name__)

# What the common players play in MP4.
COPIED = frozenset({"aac", "mp3", "alac", "ac3", "eac3"})
LEAP_NS = 1_000_000_000
AHEAD_NS = 500_000_000


class SourceSound:
    """Feeds a film with the sound of its source, as far as the pictures have come.

    A source without sound, or with sound that can't be decoded, gives none; what was wrong is logged.
    """

    def __init__(self, source: Path, film: FilmWriter) -> None:
        self._container: av.container.InputContainer = av.open(str(source))
        self._stream = media.sound_stream(self._container)
        self._pending: Iterator[int] = iter(())
        self._reached_ns = -1
        self._source, self._film = source, film
        if self._stream is not None:
            self._begin(self._stream)

    def _begin(self, stream: av.AudioStream) -> None:
        origin_ns = media.beginning_ns(self._container)
        if stream.codec_context.name.removesuffix("float") in COPIED:
            self._film.copy_sound(stream)
            self._pending = self._copy(stream, origin_ns)
        else:
            layout = "stereo" if stream.layout.nb_channels > 1 else "mono"
            self._film.encode_sound(aac_rate(stream.rate), layout)
            self._pending = self._encode(stream, origin_ns, layout)

    def up_to(self, pts_ns: int | None) -> None:
        """Bring the film's sound to this moment, or to its end. Raises FilmError where the film can't be written."""
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
        """Let go of the file."""
        self._container.close()

    def _copy(self, stream: av.AudioStream, origin_ns: int) -> Iterator[int]:
        """Packets as they are, moved to the film's 0; yields how far the sound has come."""
        shift_ns, end_ns = -origin_ns, 0
        for packet in _packets(self._container, stream):
            if packet.pts is None or packet.time_base is None:
                continue
            pts_ns = media.nano(packet.pts, packet.time_base) + shift_ns
            if pts_ns < end_ns - LEAP_NS:
                # Two files joined: a new count of time begins, which goes on where the old one ended.
                shift_ns += end_ns - pts_ns
                pts_ns = end_ns
            end_ns = pts_ns + media.nano(packet.duration or 0, packet.time_base)
            ticks = round(shift_ns / media.NANO / packet.time_base)
            packet.pts += ticks
            packet.dts = packet.pts
            self._film.packet(packet)
            yield end_ns

    def _encode(self, stream: av.AudioStream, origin_ns: int, layout: str) -> Iterator[int]:
        rate = aac_rate(stream.rate)
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        for frame in media.decoded(self._container, stream, str(self._source), log.warning):
            assert isinstance(frame, av.AudioFrame)
            begin_ns = self._reached_ns
            if frame.pts is not None and frame.time_base is not None:
                begin_ns = media.nano(frame.pts, frame.time_base) - origin_ns
            parts = [part.to_ndarray().astype(np.float32, copy=False) for part in resampler.resample(frame)]
            if parts:
                samples = np.concatenate(parts, axis=1)
                self._film.sound(begin_ns, samples)
                yield begin_ns + samples.shape[1] * media.NANO // rate


def _packets(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.Packet[Any]]:
    for packet in container.demux(stream):
        if packet.size and not packet.is_corrupt:
            yield packet
