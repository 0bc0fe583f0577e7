"""Which of a file's streams and channels are looked at and listened to.

The command and the supervisor import this for its settings, so PyAV waits until a file is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec

from bimodal.workers.errors import SourceError

if TYPE_CHECKING:
    import av
    import av.container

TrackNumber = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Channel = Literal["mix", "each", "left", "right"] | Annotated[int, msgspec.Meta(ge=1, le=64)]

# AVIF and HEIF sequences hold a still picture of themselves, too.
SEQUENCE_BRANDS = {"avis", "hevc", "hevx", "msf1"}

_Stream = TypeVar("_Stream", "av.VideoStream", "av.AudioStream")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A choice among several tracks and channels of a source.

    Attributes:
        video_track, audio_track: number of a track among those of its kind, from 1; None: the one flagged as default,
            else the first.
        channel: "mix" of all; "left", "right" or a number from 1; "each": every channel is a voice of its own.
    """

    video_track: TrackNumber | None = None
    audio_track: TrackNumber | None = None
    channel: Channel = "mix"


DEFAULT = Choice()


def picture_stream(container: av.container.InputContainer, choice: Choice = DEFAULT) -> av.VideoStream | None:
    """Choose the video stream; None where there is none that can be decoded and is no cover picture.

    Raises SourceError if the chosen track does not exist.
    """
    streams = video_tracks(container)
    if choice.video_track is not None:
        return _numbered(streams, choice.video_track, "video")
    if container.metadata.get("major_brand") in SEQUENCE_BRANDS:
        return max(streams, key=lambda stream: stream.frames, default=None)
    return _flagged(streams)


def sound_stream(container: av.container.InputContainer, choice: Choice = DEFAULT) -> av.AudioStream | None:
    """Choose the sound stream; None where there is none that can be decoded. Raises as `picture_stream`."""
    streams = audio_tracks(container)
    if choice.audio_track is not None:
        return _numbered(streams, choice.audio_track, "sound")
    return _flagged(streams)


def video_tracks(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that can be decoded: no covers, and no tiles of a larger picture."""
    from av.stream import Disposition

    beside = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent
    return [s for s in container.streams.video if s.codec_context is not None and not s.disposition & beside]


def audio_tracks(container: av.container.InputContainer) -> list[av.AudioStream]:
    """The sound streams that can be decoded."""
    return [s for s in container.streams.audio if s.codec_context is not None]


def _flagged(streams: Sequence[_Stream]) -> _Stream | None:
    """The stream that a player takes: flagged as default, else the first that is not for a special audience."""
    from av.stream import Disposition

    # Commentary, sound for people who don't see or hear well: taken only where there is nothing else.
    special = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.dub
    wishes = (
        lambda stream: stream.disposition & Disposition.default,
        lambda stream: not stream.disposition & special,
        lambda _: True,
    )
    return next((stream for wish in wishes for stream in streams if wish(stream)), None)


def _numbered(streams: Sequence[_Stream], number: int, what: str) -> _Stream:
    if number > len(streams):
        tracks = f"{len(streams)} {what} track{'' if len(streams) == 1 else 's'}"
        raise SourceError(f"there is no {what} track {number}: it has {tracks if streams else f'no {what} track'}")
    return streams[number - 1]


def passed_over(container: av.container.InputContainer, choice: Choice) -> tuple[str, ...]:
    """A sentence for each kind of which the file has several tracks and nobody chose one."""
    video, audio = video_tracks(container), audio_tracks(container)
    notes = []
    if len(video) > 1 and choice.video_track is None and container.metadata.get("major_brand") not in SEQUENCE_BRANDS:
        notes.append(_sentence(video, picture_stream(container, choice), "video", "looked at", "--video-track"))
    if len(audio) > 1 and choice.audio_track is None:
        notes.append(_sentence(audio, sound_stream(container, choice), "sound", "listened to", "--audio-track"))
    return tuple(notes)


def _sentence(streams: Sequence[_Stream], taken: _Stream | None, what: str, verb: str, option: str) -> str:
    from av.stream import Disposition

    number = next(number for number, stream in enumerate(streams, 1) if stream is taken)
    why = ", its default," if taken is not None and taken.disposition & Disposition.default else ""
    language = (taken.metadata.get("language") if taken is not None else None) or ""
    named = f" ({language})" if language not in ("", "und") else ""
    return f"of {len(streams)} {what} tracks, number {number}{named}{why} was {verb}; {option} takes another"


def channel_names(channel: Channel, count: int) -> tuple[str, ...]:
    """Names of the voices of a sound stream of `count` channels: with "each" one a channel, else none."""
    if channel != "each" or count < 2:
        return ()
    return ("left", "right") if count == 2 else tuple(str(number) for number in range(1, count + 1))
