"""The demo clip at another pace: the same packets with other times, so nothing is decoded and coded anew."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av

from bimodal.workers.demo import DEMO

AT_LEAST_S = 10
"""A file that begins again and again is opened again and again, which a camera is not."""


def at_pace(target: Path, fps: int, *, sound: bool) -> Path:
    """Write the clip, as often as it takes, so that it has `fps` pictures a second; returns `target`.

    With sound there is as much of it, at its own pace, as there are pictures to: mouths and voice are no longer in
    step then, which costs the same work.
    """
    with av.open(str(DEMO)) as source, av.open(str(target), "w", format="mp4") as clip:
        picture = source.streams.video[0]
        assert picture.average_rate is not None
        assert picture.time_base is not None
        assert picture.duration is not None
        slower = Fraction(picture.average_rate) / fps
        seconds = picture.duration * picture.time_base * slower
        written: dict[int, av.VideoStream | av.AudioStream] = {picture.index: clip.add_stream_from_template(picture)}
        if sound:
            heard = source.streams.audio[0]
            written[heard.index] = clip.add_stream_from_template(heard)
        for round_number in range(math.ceil(AT_LEAST_S / seconds)):
            source.seek(0)
            for packet in source.demux([source.streams[index] for index in written]):
                if packet.dts is None or packet.pts is None:
                    continue
                if packet.stream.type == "video":
                    packet.pts += round_number * picture.duration
                    packet.dts += round_number * picture.duration
                    packet.time_base = packet.time_base * slower
                elif round_number or (packet.pts + (packet.duration or 0)) * packet.time_base > seconds:
                    continue
                packet.stream = written[packet.stream.index]
                clip.mux(packet)
    return target
