"""Reading of recordings: the clips of a folder and their events; completion of what a killed recorder left."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from bimodal.broker.events import Emotion, Hop, named_in
from bimodal.broker.messages import StreamOpened
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet
from bimodal.recordings.parts import replace_text
from bimodal.recordings.recording import HOP_LINES, LINES, SUMMARY, RecordError, Recording
from bimodal.recordings.records import (
    CLIP_SUFFIX,
    SESSION_FILE,
    STREAM_FILE,
    ClipRecord,
    PartRecord,
    SessionRecord,
    StreamRecord,
    pretty,
    set_of,
)

_R = TypeVar("_R", bound=msgspec.Struct)


@dataclass(frozen=True)
class Part:
    """One file of event lines. `offset_s` is added to an event's `t` to get its time in the whole clip."""

    path: Path
    run: int
    offset_s: float = 0.0


@dataclass(frozen=True)
class Clip:
    """One stream's recording: an analysed file, or all parts of a live stream in the order of time.

    Attributes:
        stream, session: records of the clip; None if there are none.
    """

    name: str
    folder: Path
    parts: tuple[Part, ...]
    stream: StreamRecord | None = None
    session: SessionRecord | None = None
    live: bool = field(default=False)

    def events(self) -> Iterator[tuple[Emotion, Part]]:
        """Iterate over all events, each with its part; raises RecordError if a line can't be read."""
        for part in self.parts:
            for event in read_events(part.path):
                yield msgspec.structs.replace(event, run=part.run), part

    def opened(self, run: int) -> StreamOpened:
        """The StreamOpened of a run of this stream, as far as it was recorded."""
        record = self.stream
        if record is None:
            return StreamOpened(
                stream=self.name,
                run=run,
                policy="every",
                source=self.name,
                has_picture=True,
                has_sound=True,
                emotions=() if self.emotions.is_seven else self.emotions.emotions,
                categories=self.emotions.categories,
            )
        return StreamOpened(
            stream=record.stream,
            run=run,
            policy=record.policy,
            source=record.source.name,
            has_picture=record.has_picture,
            has_sound=record.has_sound,
            width=record.width,
            height=record.height,
            fps=record.fps,
            duration_ns=round(record.duration_s * 1e9) if record.duration_s is not None else None,
            hop_ns=round(record.hop_s * 1e9),
            emotions=record.emotions,
            categories=record.categories,
            dominance=record.dominance,
        )

    @property
    def emotions(self) -> EmotionSet:
        """What its results are about: as it was recorded, whatever a config says now."""
        if self.stream is not None:
            return set_of(self.stream)
        return set_of_events(event for event, _ in itertools.islice(self.events(), MOST_LOOKED_AT))

    @property
    def damaged(self) -> str | None:
        """Which record beside the events can't be read, in one sentence; None where each can, or there is none."""
        records: list[tuple[Path, msgspec.Struct | None]] = [(self.folder / f"{self.name}{CLIP_SUFFIX}", self.stream)]
        if self.live:
            records = [(self.folder / STREAM_FILE, self.stream), (self.folder.parent / SESSION_FILE, self.session)]
        wrong = next((path for path, record in records if record is None and path.is_file()), None)
        return f"{wrong} can't be read, so what it says of {self.name} is not known" if wrong is not None else None

    @property
    def cut_short(self) -> list[str]:
        """Which of its files lost lines after they were complete, a sentence each (see `cut_short`)."""
        return [sentence for part in self.parts for sentence in cut_short(part.path)]


MOST_LOOKED_AT = 1_000
"""Events that are asked for the emotions of a clip without a record."""


def set_of_events(events: Iterable[Emotion]) -> EmotionSet:
    """The emotions and categories that events name; the seven where they name no others."""
    emotions: dict[str, None] = {}
    further: dict[str, None] = {}
    for event in events:
        names, others = named_in(event)
        emotions |= dict.fromkeys(names)
        further |= dict.fromkeys(others)
    if emotions.keys() <= set(EMOTIONS):
        return SEVEN if not further else EmotionSet(EMOTIONS, tuple(further))
    return EmotionSet(tuple(emotions), tuple(further))


class _Counts(msgspec.Struct):
    """Numbers of lines that a summary counts."""

    frames: int = 0
    hops: int = 0


def cut_short(lines: Path) -> list[str]:
    """Which file of NAME.jsonl and NAME.speech.jsonl has fewer whole lines than its summary counts, a sentence each.

    Without a summary it was being written when it ended: then what is there is all that there ever was.
    """
    stem = lines.name.removesuffix(LINES)
    known = _read(lines.with_name(stem + SUMMARY), _Counts)
    if known is None:
        return []
    wanted = ((lines, known.frames, "events"), (lines.with_name(stem + HOP_LINES), known.hops, "hops of the voice"))
    sentences = []
    for path, count, what in wanted:
        with contextlib.suppress(OSError), path.open("rb") as file:  # reading it says why it can't be read
            whole = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
            if whole < count:
                sentences.append(f"{path} is damaged: {whole:,} of its {count:,} {what} can be read")
    return sentences


def read_events(path: Path) -> Iterator[Emotion]:
    """Iterate over the events of one file of lines. An incomplete last line (after a crash) is skipped; `cut_short`
    tells of a complete file that lost some.

    Raises RecordError, naming file and line, if any other line is no event.
    """
    return _read_lines(path, Emotion)


def read_hops(path: Path) -> Iterator[Hop]:
    """Iterate over the hops of the voice that belong to a file of lines NAME.jsonl; none where there is no
    NAME.speech.jsonl (no sound, or a result of 0.2 and older). Raises as `read_events`."""
    place = path.with_name(path.name.removesuffix(LINES) + HOP_LINES)
    return _read_lines(place, Hop) if place.is_file() else iter(())


def _read_lines(path: Path, kind: type[_R]) -> Iterator[_R]:
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise RecordError(f"line {number} of {path} is no event: {error}") from error
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error.strerror}") from error


def clips(place: Path) -> list[Clip]:
    """List the clips of a session folder or a folder of results, or the one of a file NAME.jsonl.

    Raises RecordError if there is none.
    """
    if place.is_file() and place.name.endswith(LINES) and not place.name.endswith(HOP_LINES):
        return [_file_clip(place)]
    if not place.is_dir():
        raise RecordError(
            f"there is no recording {place}; give a session folder, a folder of results, or a .jsonl file"
        )
    if (place / SESSION_FILE).is_file():
        found = _session_clips(place)
    elif (place / STREAM_FILE).is_file():
        found = [_stream_clip(place, _read(place.parent / SESSION_FILE, SessionRecord))]
    else:
        found = [_file_clip(path) for path in _line_files(place)]
    found = [clip for clip in found if clip.parts]
    if not found:
        raise RecordError(f"{place} holds no recording: no file that ends with {LINES}")
    return found


def _line_files(folder: Path) -> list[Path]:
    """The files of events in a folder, without those of hops."""
    return sorted(path for path in folder.glob(f"[!.]*{LINES}") if not path.name.endswith(HOP_LINES))


def _session_clips(folder: Path) -> list[Clip]:
    session = _read(folder / SESSION_FILE, SessionRecord)
    return [_stream_clip(inner, session) for inner in sorted(folder.iterdir()) if inner.is_dir()]


def _stream_clip(folder: Path, session: SessionRecord | None) -> Clip:
    record = _read(folder / STREAM_FILE, StreamRecord)
    known = {part.name: part for part in record.parts} if record is not None else {}
    paths = {path.name.removesuffix(LINES): path for path in _line_files(folder)}
    # Files that the record does not list (it was lost, or could not be written) come last, by name.
    names = [name for name in known if name in paths] + [name for name in paths if name not in known]
    parts = tuple(_live_parts([(paths[name], known.get(name)) for name in names]))
    name = record.stream if record is not None else folder.name
    return Clip(name=name, folder=folder, parts=parts, stream=record, session=session, live=True)


def _live_parts(files: list[tuple[Path, PartRecord | None]]) -> Iterator[Part]:
    """Iterate over the parts with their offsets: each run starts at time 0, so the wall clock orders the runs."""
    first: datetime | None = None
    offsets: dict[int, float] = {}
    for path, record in files:
        run = record.run if record is not None else _run_of(path)
        if run not in offsets:
            begun = datetime.fromisoformat(record.begun) if record is not None else None
            first = first or begun
            lead = (begun - first).total_seconds() if begun is not None and first is not None else 0.0
            began_t = record.first_t or 0.0 if record is not None else 0.0
            # The first run keeps its own time line.
            offsets[run] = lead - began_t if offsets else 0.0
        yield Part(path=path, run=run, offset_s=offsets[run])


def _run_of(path: Path) -> int:
    with contextlib.suppress(ValueError):
        return int(path.name.partition("-")[0])
    return 0


def _file_clip(path: Path) -> Clip:
    name = path.name.removesuffix(LINES)
    record = _read(path.with_name(f"{name}{CLIP_SUFFIX}"), ClipRecord)
    if record is None:
        return Clip(name=name, folder=path.parent, parts=(Part(path=path, run=1),))
    run = record.stream.parts[0].run if record.stream.parts else 1
    return Clip(
        name=name,
        folder=path.parent,
        parts=(Part(path=path, run=run),),
        stream=record.stream,
        session=record.session,
    )


def _read(path: Path, kind: type[_R]) -> _R | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=kind)
    return None


def is_complete(part: Part) -> bool:
    """True if the part has its table and summary beside its lines."""
    return part.path.with_name(part.path.name.removesuffix(LINES) + SUMMARY).is_file()


# Completion of what a killed recorder left

STILL_S = 10.0


def complete(clip: Clip, now: float) -> list[str]:
    """Make the missing tables and summaries of a clip's parts from their lines; return the names of those parts.

    Lines that changed within ten seconds before `now` (wall clock) belong to a running recorder and are left alone.
    Raises RecordError if lines can't be read or results can't be written.
    """
    found = [part for part in clip.parts if not is_complete(part) and at_rest(part, now)]
    entries = [_complete(clip, part) for part in found]
    if clip.live and clip.stream is not None and entries:
        by_name = {entry.name: entry for entry in [*clip.stream.parts, *entries]}
        clip.stream.parts = sorted(by_name.values(), key=lambda entry: entry.begun)
        replace_text(clip.folder / STREAM_FILE, pretty(clip.stream))
    return [entry.name for entry in entries]


def at_rest(part: Part, now: float) -> bool:
    """True if a part was not written to for ten seconds; `now` is the wall clock."""
    return now - part.path.stat().st_mtime > STILL_S


def _complete(clip: Clip, part: Part) -> PartRecord:
    events = read_events(part.path)
    first = next(events, None)
    last = first
    seq = first.seq if first is not None else 0
    opened = msgspec.structs.replace(
        clip.opened(part.run), policy="every", duration_ns=None, next_face_seq=seq, next_speech_seq=seq
    )
    name = part.path.name.removesuffix(LINES)
    recording = Recording(part.path.parent, name, opened, opened.source, 0.0, lines=False)
    for event in itertools.chain([first] if first is not None else [], events):
        recording.add(event)
        last = event
    for hop in read_hops(part.path):
        recording.add_hop(hop)
    took_s = last.t - first.t if first is not None and last is not None else 0.0
    frames = recording.frames
    recording.close(took_s)
    return PartRecord(
        name=name,
        run=part.run,
        begun=_begun(clip, name),
        frames=frames,
        first_t=first.t if first is not None else None,
        last_t=last.t if last is not None else None,
        complete=True,
    )


def _begun(clip: Clip, name: str) -> str:
    known = [part.begun for part in (clip.stream.parts if clip.stream is not None else []) if part.name == name]
    return known[0] if known else ""
