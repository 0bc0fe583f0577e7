"""`bimodal diff`: a recorded clip looked at again with another model, and where the decisions differ."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bimodal.broker.messages import Emotion
from bimodal.config import Config
from bimodal.models.emotions import EMOTIONS
from bimodal.recordings.compare import UNKNOWN, Comparison, compare
from bimodal.recordings.reading import Clip, clips, read_events
from bimodal.recordings.recording import RecordError
from bimodal.recordings.report.facts import frame_seconds, tenths
from bimodal.supervisor.analysis import Analysis
from bimodal.supervisor.provenance import model_records
from bimodal.workers.commands.options import ConfigOption, config_of
from bimodal.workers.edge import edge, open_log, say
from bimodal.workers.record.again import Reel, changed_since, config_with, parse_changes, reels

MOST_STRETCHES = 20


class ClipDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints for each clip (or part of a live one)."""

    clip: str
    media: str
    notes: list[str]
    comparison: Comparison


def diff(
    recording: Annotated[
        Path, typer.Argument(help="A session folder, a folder of results, or one NAME.jsonl.", metavar="RECORDING")
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model", help="The other model: KIND=NAME or KIND=FILE.onnx; may be repeated.", metavar="KIND=NAME"
        ),
    ],
    clip: Annotated[str | None, typer.Option(help="Only this clip of the recording.", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, with every stretch.")] = False,
    config: ConfigOption = None,
) -> None:
    """Look at a recorded clip again, as it was recorded but with another model, and show where the decisions differ.

    Needs the clip's source as it was: the file that was analysed, or a live stream's video, recorded with
    [b]video: true[/b] and [b]annotated: false[/b].

    Example: [b]bimodal diff results/interview.jsonl --model face-static=emo-affectnet[/b]
    """
    with edge():
        log_file = open_log(None, "INFO", "diff")
    with edge(log_file):
        changes = parse_changes(model)
        fallback = config_of(config)
        found = [one for one in clips(recording) if clip in (None, one.name)]
        if not found:
            names = ", ".join(one.name for one in clips(recording))
            raise RecordError(f"there is no clip '{clip}' in {recording}; there are {names}")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            diffs = [one for each in found for one in _clip_diffs(each, fallback, changes, log_file)]
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(130) from None
        if as_json:
            typer.echo(msgspec.json.encode(diffs).decode())
        else:
            for one in diffs:
                _draw(one)


def _clip_diffs(clip: Clip, fallback: Config, changes: dict[str, list[str]], log_file: Path) -> list[ClipDiff]:
    wanted = config_with(clip, fallback, changes)
    now = {record.given: record.sha256 for record in model_records(wanted)}
    notes = changed_since(clip, now, changes)
    return [_reel_diff(reel, wanted, notes, log_file) for reel in reels(clip)]


def _reel_diff(reel: Reel, config: Config, notes: list[str], log_file: Path) -> ClipDiff:
    was = [event for part in reel.parts for event in read_events(part.path)]
    frame_s = frame_seconds(reel.clip, (was[0].t, was[-1].t) if was else None, len(was))
    now = _look_again(reel, config, log_file)
    if reel.begin_s is not None and now:
        end_s = reel.begin_s + now[-1].t + frame_s
        was = [event for event in was if reel.begin_s - frame_s <= event.t <= end_s]
    comparison = compare(was, now, frame_s, by_time=reel.begin_s)
    return ClipDiff(clip=reel.clip.name, media=str(reel.media), notes=notes, comparison=comparison)


def _look_again(reel: Reel, config: Config, log_file: Path) -> list[Emotion]:
    """Raises RecordError where the media can't be read any more."""
    with tempfile.TemporaryDirectory(prefix="bimodal-diff-") as folder:
        analysis = Analysis(config, [reel.media], Path(folder), realtime=False, log_file=log_file)
        (analysed,) = analysis.inputs
        console = Console(stderr=True)
        try:
            with console.status(f"looking at {reel.media.name} again") as status:

                def changed() -> None:
                    status.update(f"looking at {reel.media.name} again, frame {analysed.frames}")

                analysis.run(changed)
        finally:
            analysis.close()
        if analysed.because is not None:
            raise RecordError(analysed.because)
        return list(read_events(Path(folder) / f"{analysed.name}.jsonl"))


def _draw(one: ClipDiff) -> None:
    console = Console()
    found = one.comparison
    console.print(f"[b]{_plain(one.clip)}[/b]: {found.agreeing:.1%} of {found.frames} frames agree", highlight=False)
    for note in one.notes:
        console.print(f"! {_plain(note)}", style="yellow", highlight=False)
    if found.unmatched:
        console.print(f"{found.unmatched} frames are in one of them only", style="dim", highlight=False)
    console.print(_sides(found))
    if found.stretches:
        console.print(_stretches(found))
        console.print(_confusion(found))


def _sides(found: Comparison) -> Table:
    table = Table("", "was", "is", box=None, pad_edge=False, header_style="bold")
    for kind in sorted({*found.was.models, *found.now.models}):
        table.add_row(kind, _plain(found.was.models.get(kind, "-")), _plain(found.now.models.get(kind, "-")))
    for label in (*EMOTIONS, UNKNOWN):
        if label in found.was.share or label in found.now.share:
            table.add_row(label, *(f"{side.share.get(label, 0.0):.1%}" for side in (found.was, found.now)))
    for title, was, now in (
        ("mean confidence", found.was.confidence, found.now.confidence),
        ("agreement of face and voice", found.was.agreement, found.now.agreement),
    ):
        table.add_row(title, *("-" if value is None else f"{value:.2f}" for value in (was, now)))
    return table


def _stretches(found: Comparison) -> Table:
    longest = sorted(found.stretches, key=lambda stretch: -stretch.frames)[:MOST_STRETCHES]
    left = len(found.stretches) - len(longest)
    title = f"where they differ ({left} shorter ones are left out)" if left else "where they differ"
    table = Table(
        "from", "to", "frames", "was", "", "is", "", title=title, title_justify="left", box=None, pad_edge=False
    )
    for stretch in sorted(longest, key=lambda one: one.begin):
        table.add_row(
            tenths(stretch.begin),
            tenths(stretch.end),
            str(stretch.frames),
            stretch.was,
            f"{stretch.was_confidence:.0%}",
            stretch.now,
            f"{stretch.now_confidence:.0%}",
        )
    return table


def _confusion(found: Comparison) -> Table:
    labels = [
        label
        for label in (*EMOTIONS, UNKNOWN)
        if label in found.confusion or any(label in counts for counts in found.confusion.values())
    ]
    table = Table("was \\ is", *labels, title="frames by both", title_justify="left", box=None, pad_edge=False)
    for label in labels:
        if label in found.confusion:
            table.add_row(label, *(str(found.confusion[label].get(other, 0) or "·") for other in labels))
    return table


def _plain(text: str) -> str:
    """Text without what a terminal would take for markup."""
    return text.replace("[", r"\[")
