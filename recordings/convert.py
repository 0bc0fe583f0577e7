"""Files in the formats of annotation programs, made of a clip's results on disk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.recordings.exports import FORMATS, Annotated, FormatName
from bimodal.recordings.parts import replace_text
from bimodal.recordings.reading import Clip, read_hops
from bimodal.recordings.recording import RecordError, describe
from bimodal.recordings.segments import segments


def formats_of(text: str) -> list[FormatName]:
    """The formats in a list with commas. Raises RecordError for one that is none."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    wrong = next((name for name in names if name not in FORMATS), None)
    if wrong is not None or not names:
        raise RecordError(f"there is no format '{wrong or text}'; there are {', '.join(FORMATS)}")
    return [name for name in FORMATS if name in names]


def annotated(clip: Clip, now: datetime) -> Annotated:
    """A clip as it is exported, all its parts on one time line.

    Raises RecordError where its results can't be read.
    """
    events = [msgspec.structs.replace(event, t=event.t + part.offset_s) for event, part in clip.events()]
    hops = [
        msgspec.structs.replace(hop, t=hop.t + part.offset_s) for part in clip.parts for hop in read_hops(part.path)
    ]
    found = segments(events, hops)
    record = clip.stream
    ends = [record.duration_s if record is not None and record.duration_s is not None else 0.0]
    ends += [one.end for one in found] + [event.t for event in events[-1:]] + [hop.t for hop in hops[-1:]]
    media = clip.name if record is None else record.source.file or record.source.name
    return Annotated(clip.name, media, events, found, max(ends), now.isoformat(timespec="seconds"), clip.emotions)


def convert(clip: Clip, formats: Iterable[FormatName], now: datetime, folder: Path | None = None) -> list[Path]:
    """Write NAME.eaf, NAME.TextGrid … beside a clip's results, or into `folder`, and return their paths.

    Raises RecordError where results can't be read, or a file can't be written.
    """
    one = annotated(clip, now)._replace(folder=folder or clip.folder)
    written = []
    for name in formats:
        path = (folder or clip.folder) / f"{clip.name}{FORMATS[name].suffix}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, FORMATS[name].make(one).encode("utf-8", "replace"))
        except OSError as error:
            raise RecordError(describe(error, path)) from error
        written.append(path)
    return written
