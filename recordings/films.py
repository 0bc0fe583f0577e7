"""Films beside the results of a clip: which there are, and where on its time line each begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bimodal.recordings.reading import Clip
from bimodal.recordings.recording import LINES, RecordError

ANNOTATED = ".annotated.mp4"
"""How the name of an annotated copy of a file ends."""

SUFFIX = ".mp4"
"""How the names of films of live streams end."""

BEGINS = "begin_ns="
"""In a film's comment: where on the stream's time line it begins."""

PLAYED = frozenset({".mp4", ".m4v", ".webm", ".mov", ".ogv", ".mp3", ".m4a", ".ogg", ".wav", ".flac"})
"""Endings of files that browsers play, most of them."""


class Film(NamedTuple):
    """A film in the folder of a clip's results.

    Attributes:
        path: of the file.
        begin_s: where on the clip's time line it begins, in seconds.
        drawn: whether the results are drawn into it.
    """

    path: Path
    begin_s: float
    drawn: bool = True


def films_of(clip: Clip) -> list[Film]:
    """The films of a clip by beginning: of a file its annotated copy, else the file itself where it lies beside the
    results and browsers play it; of a live stream those that were recorded. Empty where there is none."""
    if clip.live:
        return sorted(_live_films(clip), key=lambda film: film.begin_s)
    annotated = clip.folder / f"{clip.name}{ANNOTATED}"
    if annotated.is_file():
        return [Film(annotated, 0.0)]
    given = clip.stream.source.file if clip.stream is not None else None
    source = clip.folder / Path(given).name if given is not None else None
    if given is None or source is None or source.suffix.lower() not in PLAYED:
        return []
    same = source.is_file() and Path(given).parent.resolve() == clip.folder.resolve()
    return [Film(source, 0.0, drawn=False)] if same else []


def _live_films(clip: Clip) -> Iterator[Film]:
    drawn = _annotated(clip)
    for path in sorted(clip.folder.glob(f"[0-9]*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        # A film that was begun again has the name of its part, and a number.
        part = next((part for part in clip.parts if name.startswith(part.path.name.removesuffix(LINES))), None)
        if part is None:
            continue
        try:
            yield Film(path, begin_s(path) + part.offset_s, drawn)
        except RecordError:
            continue


def _annotated(clip: Clip) -> bool:
    outputs = clip.session.config.get("outputs") if clip.session is not None else None
    record = outputs.get("record") if isinstance(outputs, dict) else None
    return bool(record.get("annotated", True)) if isinstance(record, dict) else True


def begin_s(film: Path) -> float:
    """Beginning of a recorded film on its stream's time line, in seconds. Raises RecordError where it can't be read."""
    # Media libraries are loaded only where there are films.
    import av

    try:
        with av.open(str(film)) as container:
            comment = container.metadata.get("comment", "")
    except (av.FFmpegError, OSError) as error:
        raise RecordError(f"{film} can't be read as a film") from error
    if not comment.startswith(BEGINS) or not comment.removeprefix(BEGINS).isdigit():
        raise RecordError(f"{film} does not say where on the stream's time line it begins, so it can't be compared")
    return int(comment.removeprefix(BEGINS)) / 1e9
