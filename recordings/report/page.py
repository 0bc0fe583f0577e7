"""Rendering of a clip's report: one HTML page without network access; where a film lies beside it, it plays that."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bimodal.recordings.exports import Annotated, webvtt
from bimodal.recordings.films import films_of
from bimodal.recordings.parts import replace_text
from bimodal.recordings.reading import Clip, read_events, read_hops
from bimodal.recordings.recording import RecordError, describe
from bimodal.recordings.report import facts
from bimodal.recordings.report.charts import clock, tenths, timeline
from bimodal.recordings.report.colours import stylesheet
from bimodal.recordings.report.index import Entry, write_index
from bimodal.recordings.report.statistics import Tally
from bimodal.recordings.report.tracks import MOST_TRACKS, bounds_of, css_of, follow, voices
from bimodal.recordings.segments import Segment, SegmentFinder, in_order

HERE = Path(__file__).parent
RUN_TRACKS = 1_000_000


class Content(NamedTuple):
    """What is read of a clip: statistics, and segments on its time line with the tally's numbers of tracks."""

    tally: Tally
    segments: list[Segment]


def read_clip(clip: Clip) -> Content:
    """Read a clip once; tracks of different runs stay apart. Raises RecordError for an unreadable line."""
    tally = Tally(clip.emotions)
    last = {part.run: part for part in clip.parts}
    voiced = {part.run for part in clip.parts if next(read_hops(part.path), None) is not None}
    bases = {run: number * RUN_TRACKS for number, run in enumerate(last)}
    finders = {run: SegmentFinder(hops=run in voiced) for run in last}
    found: list[Segment] = []
    for part in clip.parts:
        base, finder = bases[part.run], finders[part.run]
        ended = [segment for hop in read_hops(part.path) for segment in finder.on_hop(hop)]
        for event in read_events(part.path):
            tally.add(event, event.t + part.offset_s, base)
            ended += finder.on_event(event)
        if part is last[part.run]:
            ended += finder.finish()
        found += [_moved(segment, part.offset_s, base) for segment in ended]
    return Content(tally, in_order(found))


def _moved(segment: Segment, offset_s: float, base: int) -> Segment:
    track = None if segment.track is None else segment.track + base
    return segment._replace(start=segment.start + offset_s, end=segment.end + offset_s, track=track)


def tally_of(clip: Clip) -> Tally:
    """The statistics of a clip. Raises RecordError for an unreadable line."""
    return read_clip(clip).tally


class Played(NamedTuple):
    """A film as the page plays it: its address, where it begins (seconds), its captions as an address, and whether
    results are drawn into it."""

    name: str
    begin: float
    captions: str
    drawn: bool


def played(clip: Clip, segments: Sequence[Segment]) -> list[Played]:
    """The films beside the results. Captions are in the page itself: browsers load none from files beside a page."""
    films = films_of(clip)
    found = []
    for place, film in enumerate(films):
        end = films[place + 1].begin_s if place + 1 < len(films) else None
        own = [
            segment._replace(start=max(0.0, segment.start - film.begin_s), end=segment.end - film.begin_s)
            for segment in segments
            if segment.end > film.begin_s and (end is None or segment.start < end)
        ]
        text = webvtt(Annotated(clip.name, "", (), own, 0.0, ""))
        captions = f"data:text/vtt;base64,{base64.b64encode(text.encode()).decode()}"
        found.append(Played(quote(film.path.name), round(film.begin_s, 3), captions, film.drawn))
    return found


def place_in(films: Sequence[Played], t: float) -> str:
    """The address of a moment of the clip: a film, and the seconds in it."""
    film = next((film for film in reversed(films) if film.begin <= t + 1e-3), films[0])
    return f"{film.name}#t={max(0.0, t - film.begin):.3f}"


def render(clip: Clip, now: datetime) -> str:
    """Render the page, made at `now`. Raises RecordError if a line can't be read."""
    return render_content(clip, read_clip(clip), now)


def render_content(clip: Clip, content: Content, now: datetime) -> str:
    """Render the page of what was read."""
    tally, found = content
    about = tally.emotions
    films = played(clip, found)
    frame_s = facts.frame_seconds(clip, tally.span, tally.frames)
    seconds = tally.span[1] - tally.span[0] + frame_s if tally.span is not None else 0.0
    # Autoescape is on for every template: names of streams and files are untrusted.
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {"percent": percent, "css": lambda label: css_of(label, about), "tenths": tenths}
    rows = facts.tracks(tally)
    bounds = bounds_of(tally)
    return environment.get_template("page.html.jinja").render(
        clip=clip,
        colours=stylesheet(),
        tally=tally,
        title=clip.stream.source.name if clip.stream is not None else clip.name,
        emotions=about.emotions,
        categories=about.categories,
        further=facts.further(tally),
        length=clock(seconds),
        faces=len(tally.tracks),
        hidden_tracks=max(0, len(tally.tracks) - MOST_TRACKS),
        picture=timeline(tally) if tally.frames else None,
        shares=facts.shares(tally),
        stretches=facts.stretches(tally, frame_s),
        tracks=rows,
        faces_over_time=follow(tally, found, [row.number for row in rows]),
        voices_over_time=voices(tally, found),
        does={row.number: row for row in facts.does(tally)},
        films=films,
        films_json=json.dumps([{"name": film.name, "begin": film.begin, "captions": film.captions} for film in films]),
        place=lambda t: place_in(films, t),
        first=bounds[0],
        last=bounds[1],
        unknown=facts.reasons(tally.unknown, tally.frames),
        unheard=facts.reasons(tally.unheard, tally.frames),
        doubted=facts.reasons(tally.doubted, tally.frames),
        conflicts=tally.conflicts.most_common(facts.MOST_CONFLICTS),
        models=facts.model_rows(clip, tally),
        settings=facts.settings(clip),
        made=now.strftime("%Y-%m-%d %H:%M %Z"),
    )


def write_report(clip: Clip, now: datetime) -> Path:
    """Write the page beside the results and return its path: NAME.html for a file, report.html for a live stream.

    Raises RecordError if a line can't be read or the page can't be written.
    """
    return _write(clip, read_clip(clip), now)


def _write(clip: Clip, content: Content, now: datetime) -> Path:
    path = clip.folder / ("report.html" if clip.live else f"{clip.name}.html")
    text = render_content(clip, content, now)
    try:
        replace_text(path, text.encode())
    except OSError as error:
        raise RecordError(describe(error, path)) from error
    return path


def write_reports(folder: Path, found: Sequence[Clip], now: datetime) -> tuple[list[Path], list[str]]:
    """Write the page of each clip, and where there are several, an index of them in `folder`.

    A clip that can't be read has a row in the index that says so, and costs the others nothing.

    Returns the paths, and a sentence for each clip without a page.
    """
    paths: list[Path] = []
    entries: list[Entry] = []
    for clip in found:
        try:
            content = read_clip(clip)
            path = _write(clip, content, now)
        except RecordError as error:
            entries.append(Entry(clip, problem=str(error)))
            continue
        paths.append(path)
        place = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_uri()
        entries.append(Entry(clip, place, content.tally))
    if len(found) > 1:
        paths.append(write_index(folder, entries, now))
    return paths, [entry.problem for entry in entries if entry.problem is not None]


def percent(share: float) -> str:
    """Format a share: 0.1234 → "12 %"; above 0 but below 0.005 → "< 1 %"."""
    if 0 < share < 0.005:
        return "< 1 %"
    return f"{share * 100:.0f} %"
