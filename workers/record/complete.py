"""What a recorder that was killed left undone: tables and summaries, made from the lines that are there."""

from __future__ import annotations

import itertools

import msgspec

from bimodal.workers.record.part_file import replace_text
from bimodal.workers.record.reading import Clip, Part, is_complete, read_events
from bimodal.workers.record.recording import LINES, Recording
from bimodal.workers.record.records import STREAM_FILE, PartRecord, pretty

STILL_S = 10.0


def complete(clip: Clip, now: float) -> list[str]:
    """Make what is missing beside the lines of a clip's parts; the names of the parts that are complete now.

    Lines that changed within the last ten seconds before `now` (the wall clock) belong to a recorder that still runs,
    and stay as they are. Raises RecordError where lines can't be read or the disk refuses.
    """
    found = [part for part in clip.parts if not is_complete(part) and at_rest(part, now)]
    entries = [_complete(clip, part) for part in found]
    if clip.live and clip.stream is not None and entries:
        by_name = {entry.name: entry for entry in [*clip.stream.parts, *entries]}
        clip.stream.parts = sorted(by_name.values(), key=lambda entry: entry.begun)
        replace_text(clip.folder / STREAM_FILE, pretty(clip.stream))
    return [entry.name for entry in entries]


def at_rest(part: Part, now: float) -> bool:
    """Whether nobody has written to a part for ten seconds; `now` is the wall clock."""
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
