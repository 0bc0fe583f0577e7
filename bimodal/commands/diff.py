"""`bimodal diff`: analyse a recorded clip again with another model, and show where the decisions differ."""

from __future__ import annotations

import difflib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bimodal.broker.events import Emotion
from bimodal.broker.paths import unpack
from bimodal.config import Config, check_config
from bimodal.console import open_log, put_json, rich_text, say, user_errors
from bimodal.models.catalog import sha256_of
from bimodal.options import ConfigOption, config_of
from bimodal.recordings.compare import Comparison, compare
from bimodal.recordings.films import begin_s
from bimodal.recordings.reading import Clip, Part, clips, read_events
from bimodal.recordings.recording import RecordError
from bimodal.recordings.report.charts import tenths
from bimodal.recordings.report.facts import frame_seconds
from bimodal.supervisor.analysis import Analysis
from bimodal.supervisor.inputs import gather
from bimodal.supervisor.provenance import model_records

MOST_STRETCHES = 20


class ClipDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Output of `--json` for each clip (or part of a live one)."""

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
    with user_errors():
        log_file = open_log(None, "INFO", "diff")
    with user_errors(log_file):
        changes = parse_changes(model)
        fallback = config_of(config)
        found = [one for one in clips(recording) if clip in (None, one.name)]
        if not found:
            names = ", ".join(one.name for one in clips(recording))
            raise RecordError(f"there is no clip '{clip}' in {recording}; there are {names}")
        for sentence in (sentence for one in found for sentence in one.cut_short):
            say(sentence)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            diffs = [one for each in found for one in _clip_diffs(each, fallback, changes, log_file)]
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(130) from None
        if not any(one.comparison.frames for one in diffs):
            raise RecordError("no frame is in both results, so there is nothing to compare")
        if as_json:
            put_json(diffs)
        else:
            for one in diffs:
                _draw(one)


def _clip_diffs(clip: Clip, fallback: Config, changes: dict[str, list[str]], log_file: Path) -> list[ClipDiff]:
    wanted = config_with(clip, fallback, changes)
    if clip.session is None:
        wanted = msgspec.structs.replace(wanted, emotions=clip.emotions.emotions)
    now = {record.given: record.sha256 for record in model_records(wanted)}
    notes = changed_since(clip, now, changes)
    return [_footage_diff(footage, wanted, notes, log_file) for footage in footage_of(clip)]


def _footage_diff(footage: Footage, config: Config, notes: list[str], log_file: Path) -> ClipDiff:
    was = [event for part in footage.parts for event in read_events(part.path)]
    frame_s = frame_seconds(footage.clip, (was[0].t, was[-1].t) if was else None, len(was))
    now = _analyse_again(footage, config, log_file)
    if footage.begin_s is not None and now:
        end_s = footage.begin_s + now[-1].t + frame_s
        was = [event for event in was if footage.begin_s - frame_s <= event.t <= end_s]
    comparison = compare(was, now, frame_s, by_time=footage.begin_s, emotions=footage.clip.emotions)
    return ClipDiff(clip=footage.clip.name, media=str(footage.media), notes=notes, comparison=comparison)


def _analyse_again(footage: Footage, config: Config, log_file: Path) -> list[Emotion]:
    """Events of a new analysis; raises RecordError where the media can't be read any more."""
    with tempfile.TemporaryDirectory(prefix="bimodal-diff-") as folder:
        analysis = Analysis(
            config,
            gather([os.fspath(footage.media)], Path(folder, "fetched")),
            Path(folder),
            realtime=False,
            log_file=log_file,
        )
        (analysed,) = analysis.inputs
        console = Console(stderr=True)
        try:
            with console.status(f"looking at {footage.media.name} again") as status:

                def changed() -> None:
                    status.update(f"looking at {footage.media.name} again, frame {analysed.frames}")

                analysis.run(changed)
        finally:
            analysis.close()
        if analysed.reason is not None:
            raise RecordError(analysed.reason)
        return list(read_events(Path(folder) / f"{analysed.name}.jsonl"))


def _draw(one: ClipDiff) -> None:
    console = Console()
    found = one.comparison
    agreed = f"{found.agreeing:.1%} of {found.frames} frames agree" if found.frames else "no frame is in both results"
    console.print(f"[b]{rich_text(one.clip)}[/b]: {agreed}", highlight=False)
    for note in one.notes:
        console.print(f"! {rich_text(note)}", style="yellow", highlight=False)
    if found.unmatched:
        console.print(f"{found.unmatched} frames are in one of them only", style="dim", highlight=False)
    console.print(_sides(found))
    if found.stretches:
        console.print(_stretches(found))
        console.print(_confusion(found))


def _sides(found: Comparison) -> Table:
    table = Table("", "was", "is", box=None, pad_edge=False, header_style="bold")
    for kind in sorted({*found.was.models, *found.now.models}):
        table.add_row(kind, rich_text(found.was.models.get(kind, "-")), rich_text(found.now.models.get(kind, "-")))
    for label in found.labels:
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
        for label in found.labels
        if label in found.confusion or any(label in counts for counts in found.confusion.values())
    ]
    table = Table("was \\ is", *labels, title="frames by both", title_justify="left", box=None, pad_edge=False)
    for label in labels:
        if label in found.confusion:
            table.add_row(label, *(str(found.confusion[label].get(other, 0) or "·") for other in labels))
    return table


# Media and config of a recorded clip.

FILM = ".mp4"
SECTIONS = ("models", "emotions", "categories", "face", "audio", "fusion", "capture", "runtime")
KINDS = ("face-detector", "face-landmarks", "face-static", "face-dynamic", "speech", "voice-activity", "fusion")


class Footage(NamedTuple):
    """Media of a clip (or of a part of it), and the recorded parts that belong to it.

    `begin_s` is the beginning of a film on the stream's time line; None for the analysed file itself, whose frames have
    the same numbers.
    """

    clip: Clip
    parts: tuple[Part, ...]
    media: Path
    begin_s: float | None


def footage_of(clip: Clip) -> list[Footage]:
    """Media of a clip: the file it was analysed from, or the films of a live stream.

    Raises RecordError, saying why, where they are missing or have changed.
    """
    return _films(clip) if clip.live else [_source(clip)]


def _source(clip: Clip) -> Footage:
    source = clip.stream.source if clip.stream is not None else None
    if source is None or source.file is None:
        why = clip.damaged or f"there is no {clip.name}.session.json beside it"
        raise RecordError(f"nothing says what {clip.name} was made from: {why}")
    media = unpack(source.file)
    if not media.is_file():
        raise RecordError(f"{clip.name} can't be looked at again: its source {media} is not there any more")
    if source.sha256 is not None and (media.stat().st_size != source.bytes or sha256_of(media) != source.sha256):
        raise RecordError(f"{clip.name} can't be looked at again: {media} was changed since (its sha256 is another)")
    return Footage(clip, clip.parts, media, begin_s=None)


def _films(clip: Clip) -> list[Footage]:
    if _is_annotated(clip):
        raise RecordError(
            f"the films of {clip.name} are drawn upon, so they can't be looked at again; "
            "record with 'annotated: false' to compare models later"
        )
    found = []
    for film in sorted(clip.folder.glob(f"[0-9]*-[0-9]*{FILM}")):
        # Recorder and film number their restarts separately; they share run and part.
        parts = tuple(part for part in clip.parts if _run_and_part(part.path) == _run_and_part(film))
        if parts:
            found.append(Footage(clip, parts, film, begin_s=begin_s(film)))
    if not found:
        raise RecordError(
            f"{clip.name} was recorded without video ('outputs.record.video'), so there is nothing to look at"
        )
    return found


def _run_and_part(path: Path) -> list[str]:
    return path.name.partition(".")[0].split("-")[:2]


def _is_annotated(clip: Clip) -> bool:
    outputs = clip.session.config.get("outputs") if clip.session is not None else None
    record = outputs.get("record") if isinstance(outputs, Mapping) else None
    if not isinstance(record, Mapping):
        return False
    return bool(record.get("annotated", False)) or record.get("faces") == "hide"


def config_with(clip: Clip, fallback: Config, changes: Mapping[str, Sequence[str]]) -> Config:
    """The config that the clip was recorded with, else `fallback`, with other models by kind.

    Raises ConfigError where the recorded config is not valid any more.
    """
    kept = clip.session.config if clip.session is not None else fallback_sections(fallback)
    values: dict[str, object] = {section: kept[section] for section in SECTIONS if section in kept}
    models = values.get("models")
    values["models"] = {**(models if isinstance(models, Mapping) else {}), **{k: _one(v) for k, v in changes.items()}}
    values["workers"] = msgspec.to_builtins(fallback.workers)
    return check_config(values, f"the config of {clip.name}")


def fallback_sections(config: Config) -> dict[str, object]:
    """The models of a config; everything else as in the defaults."""
    return {"models": msgspec.to_builtins(config.models)}


def _one(names: Sequence[str]) -> object:
    return names[0] if len(names) == 1 else list(names)


def parse_changes(given: Sequence[str]) -> dict[str, list[str]]:
    """["face-static=a", "face-static=b"] → {"face-static": ["a", "b"]}.

    Raises RecordError where one is not KIND=NAME or the kind is unknown.
    """
    changes: dict[str, list[str]] = {}
    for text in given:
        kind, equals, name = text.partition("=")
        if not equals or not name:
            raise RecordError(f"'{text}' is not KIND=NAME, such as face-static=face-compact")
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(KINDS)}"
            raise RecordError(f"there is no kind of model '{kind}'; {hint}")
        changes.setdefault(kind, []).append(str(Path(name).absolute()) if name.endswith(".onnx") else name)
    return changes


def changed_since(clip: Clip, now: Mapping[str, str], changes: Mapping[str, object]) -> list[str]:
    """Models that should be the same but are other files now. `now` is sha256 by name in the config."""
    if clip.session is None:
        return []
    return [
        f"{model.kind} {model.given} is another file than when {clip.name} was recorded"
        for model in clip.session.models
        if model.kind not in changes and now.get(model.given, model.sha256) != model.sha256
    ]
