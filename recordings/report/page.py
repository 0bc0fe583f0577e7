"""Rendering of a clip's report: one self-contained HTML page without scripts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.recordings.parts import replace_text
from bimodal.recordings.reading import Clip
from bimodal.recordings.recording import RecordError, describe
from bimodal.recordings.report import facts
from bimodal.recordings.report.charts import clock, timeline
from bimodal.recordings.report.statistics import Tally

HERE = Path(__file__).parent
RUN_TRACKS = 1_000_000


def tally_of(clip: Clip) -> Tally:
    """Count all events of a clip; tracks of different runs stay apart. Raises RecordError for an unreadable line."""
    tally = Tally(clip.emotions)
    runs: dict[int, int] = {}
    for event, part in clip.events():
        base = runs.setdefault(part.run, len(runs)) * RUN_TRACKS
        tally.add(event, event.t + part.offset_s, base)
    return tally


def render(clip: Clip, now: datetime) -> str:
    """Render the page, made at `now`. Raises RecordError if a line can't be read."""
    tally = tally_of(clip)
    about = tally.emotions
    frame_s = facts.frame_seconds(clip, tally.span, tally.frames)
    seconds = tally.span[1] - tally.span[0] + frame_s if tally.span is not None else 0.0
    # Autoescape is on for every template: names of streams and files are untrusted.
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["percent"] = percent
    return environment.get_template("page.html.jinja").render(
        clip=clip,
        tally=tally,
        title=clip.stream.source.name if clip.stream is not None else clip.name,
        emotions=about.emotions,
        colours=colour_rules(about),
        further=facts.further(tally),
        length=clock(seconds),
        faces=len(tally.tracks),
        hidden_tracks=max(0, len(tally.tracks) - facts.MOST_TRACKS),
        picture=timeline(tally) if tally.frames else None,
        shares=facts.shares(tally),
        stretches=facts.stretches(tally, frame_s),
        tracks=facts.tracks(tally),
        does=facts.does(tally),
        unknown=facts.reasons(tally.unknown, tally.frames),
        unheard=facts.reasons(tally.unheard, tally.frames),
        doubted=facts.reasons(tally.doubted, tally.frames),
        conflicts=tally.conflicts.most_common(facts.MOST_CONFLICTS),
        models=facts.model_rows(clip, tally),
        settings=facts.settings(clip),
        made=now.strftime("%Y-%m-%d %H:%M %Z"),
    )


def colour_rules(about: EmotionSet) -> str:
    """Style rules that give a set of one's own the colours of the seven."""
    strangers = [name for name in (*about.emotions, *about.categories) if name not in EMOTIONS]
    return " ".join(f".{name} {{ --it: var(--{about.colour_of(name)}); }}" for name in strangers)


def write_report(clip: Clip, now: datetime) -> Path:
    """Write the page beside the results and return its path: NAME.html for a file, report.html for a live stream.

    Raises RecordError if a line can't be read or the page can't be written.
    """
    path = clip.folder / ("report.html" if clip.live else f"{clip.name}.html")
    text = render(clip, now)
    try:
        replace_text(path, text.encode())
    except OSError as error:
        raise RecordError(describe(error, path)) from error
    return path


def percent(share: float) -> str:
    """Format a share: 0.1234 → "12 %"; above 0 but below 0.005 → "< 1 %"."""
    if 0 < share < 0.005:
        return "< 1 %"
    return f"{share * 100:.0f} %"
