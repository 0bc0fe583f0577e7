"""`bimodal analyze`: media files in, results out, with a progress bar."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bimodal.broker.paths import shown
from bimodal.commands.corpus import parse_shard, run_corpus
from bimodal.console import open_log, say, user_errors
from bimodal.corpus.inputs import is_corpus
from bimodal.corpus.resume import Options
from bimodal.corpus.run import WHOLE, CorpusRequest
from bimodal.drawing.style import Style
from bimodal.options import ConfigOption, config_of, film_style, marks_of, with_counts, with_quick
from bimodal.recordings.convert import convert as write_formats
from bimodal.recordings.convert import formats_of
from bimodal.recordings.reading import clips
from bimodal.scratch import Scratch
from bimodal.supervisor.addresses import is_address
from bimodal.supervisor.analysis import AT_ONCE, Analysed, Analysis
from bimodal.supervisor.annotation import annotate_file
from bimodal.supervisor.inputs import gather
from bimodal.workers.actor import REFUSED
from bimodal.workers.capture.choice import DEFAULT, Choice
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import clean

MANY = 8
"""More files than this are a corpus."""

CORPUS = "Corpora: folders, globs, lists, or more than 8 files"


class Pictures(StrEnum):
    """Place of the rows of pictures."""

    ONE_TABLE = "one-table"
    FILES = "files"


class Engine(StrEnum):
    """Engine that analyses the clips of a corpus."""

    LOCAL = "local"
    RAY = "ray"


class Speed(StrEnum):
    """Pace at which a file is read."""

    FAST = "fast"
    REALTIME = "realtime"


def analyze(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Videos, sound, pictures: anything FFmpeg reads; https://…, s3://…; - for stdin; folders, quoted "
            "globs, lists (@list.txt, @list.csv, @-).",
            metavar="FILE…",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            help="The folder for the results, made where it is missing; or s3://BUCKET/FOLDER.", metavar="OUT"
        ),
    ],
    config: ConfigOption = None,
    face_workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Face workers; by default config.yaml's, else one a core.")
    ] = None,
    audio_workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Audio workers; by default config.yaml's, else 1.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Don't look again at what has not changed since the frame before, as live."),
    ] = False,
    speed: Annotated[
        Speed, typer.Option(help="[b]fast[/b]: as fast as the pipeline takes it; [b]realtime[/b]: its own pace.")
    ] = Speed.FAST,
    name: Annotated[
        str | None, typer.Option(help="Name of the results of a single input; by default its file's.", metavar="NAME")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results of other sources that lie at the same place.")
    ] = False,
    video_track: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Of several video tracks this one; by default the file's.")
    ] = None,
    audio_track: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Of several sound tracks this one; by default the file's.")
    ] = None,
    channel: Annotated[
        str,
        typer.Option(
            help="[b]mix[/b] of all channels; [b]left[/b], [b]right[/b] or a number; [b]each[/b]: one voice a channel.",
            metavar="CHANNEL",
        ),
    ] = "mix",
    report: Annotated[
        bool, typer.Option("--report", help="Write NAME.html too: one page with timeline, shares and stretches.")
    ] = False,
    also: Annotated[
        str | None,
        typer.Option(
            help="Write them for other programs too: eaf, textgrid, webvtt, srt, boris, csv-long.", metavar="FORMAT,…"
        ),
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write NAME.annotated.mp4 too: the file with everything drawn into it.")
    ] = False,
    hide_faces: Annotated[
        bool, typer.Option("--hide-faces", help="With --annotate: boxes and bars on a plain ground, no picture.")
    ] = False,
    draw: Annotated[
        str | None,
        typer.Option(help="What the film, which this asks for, shows too: mesh, pose, gaze, affect.", metavar="WHAT,…"),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(help="Files lie below OUT as they do below this folder.", metavar="DIR", rich_help_panel=CORPUS),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=CORPUS)
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Do what is complete once more.", rich_help_panel=CORPUS)
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try what has failed once more.", rich_help_panel=CORPUS)
    ] = False,
    pictures: Annotated[
        Pictures,
        typer.Option(
            help="[b]one-table[/b]: pictures have rows in the joint tables; [b]files[/b]: each has files of its own.",
            rich_help_panel=CORPUS,
        ),
    ] = Pictures.ONE_TABLE,
    shard: Annotated[
        str,
        typer.Option(help="Do only a fixed part of the inputs, as 3/16.", metavar="I/N", rich_help_panel=CORPUS),
    ] = "1/1",
    engine: Annotated[
        Engine,
        typer.Option(help="[b]local[/b]: worker processes here; [b]ray[/b]: on a Ray cluster.", rich_help_panel=CORPUS),
    ] = Engine.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(help="Of the Ray cluster; by default one that runs here.", rich_help_panel=CORPUS),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Workers; by default one a core.", rich_help_panel=CORPUS)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print progress and rows as lines of JSON.", rich_help_panel=CORPUS)
    ] = False,
) -> None:
    """Look at every frame of media files and write, for each, NAME.jsonl (one event per frame), NAME.csv and
    NAME.parquet (one row per frame and face), the same of its voice (NAME.speech.…, one row per hop of sound),
    NAME.summary.json, and NAME.session.json (where it all comes from).

    Files run several at once. One that can't be read costs one sentence and exit code 1, after the others are done.
    One that is damaged or cut off has results for what is there, and costs a sentence.
    A file's results appear under their names only when they are complete. Results of another file are never replaced,
    unless with [b]--overwrite[/b].

    Folders, globs and lists are a corpus: the input tree is mirrored below OUT, OUT/corpus/ holds one table of all, and
    the same command goes on where it was stopped.

    Example: [b]bimodal analyze talk.mp4 --out results/[/b], or [b]bimodal analyze study/ --out results/[/b]
    """
    annotate = annotate or draw is not None
    if hide_faces and not annotate:
        raise typer.BadParameter("--hide-faces goes with --annotate")
    choice = choice_of(video_track, audio_track, channel)
    part = parse_shard(shard)
    with user_errors():
        log_file = open_log(None, "INFO", "analyze")
    with user_errors(log_file):
        formats = formats_of(also) if also is not None else []
        marks = marks_of(draw) if draw is not None else ()
        loaded = with_quick(with_counts(config_of(config), face_workers, audio_workers), quick or None)
        of_corpus = root is not None or dry_run or again or retry_failed or as_json or engine is not Engine.LOCAL
        of_corpus = of_corpus or part != WHOLE or is_corpus(files, MANY) or is_address(out)
        if not out:
            raise ConfigError("--out names no folder: is a variable empty?")
        folder = Path(out)
        if not dry_run and not is_address(out):
            _check_folder(folder)
        signal.signal(signal.SIGTERM, _interrupt)
        if of_corpus:
            if annotate or name is not None or speed is Speed.REALTIME:
                raise ConfigError(
                    "--annotate, --draw, --name and --speed realtime go with files that are named, not with a corpus "
                    "(a folder, a glob, a list, or more than 8 files)"
                )
            run_corpus(
                CorpusRequest(
                    given=tuple(files),
                    out=out,
                    root=root,
                    options=Options(again=again, retry_failed=retry_failed, overwrite=overwrite),
                    choice=choice,
                    pictures=pictures.value,
                    shard=part,
                    workers=workers or face_workers,
                    report=report,
                    also=tuple(formats),
                ),
                loaded,
                log_file,
                dry=dry_run,
                as_json=as_json,
                engine=engine.value,
                address=address,
            )
            return
        with Scratch("analyze") as scratch:
            inputs = gather(files, scratch, name=name)
            realtime = speed is Speed.REALTIME
            analysis = Analysis(
                loaded,
                inputs,
                folder.absolute(),
                realtime=realtime,
                log_file=log_file,
                choice=choice,
                overwrite=overwrite,
            )
            begun = time.monotonic()
            try:
                _watch(analysis)
            except KeyboardInterrupt:
                say("stopped; files that were not complete have no results")
                raise typer.Exit(130) from None
            finally:
                analysis.close()
            wall_s = time.monotonic() - begun
            for analysed in analysis.inputs if formats else ():
                if analysed.done:
                    write_formats(clips(folder / f"{analysed.name}.jsonl")[0], formats, datetime.now().astimezone())
            films = Films(folder, *film_style(loaded, marks, hide_faces=hide_faces), log_file, choice)
            lost = _make_films(analysis.inputs, films) if annotate else []
            # After the films, which a report plays.
            if report:
                _write_reports(analysis.inputs, folder)
        _report(analysis.inputs, folder, wall_s, lost)


def choice_of(video_track: int | None, audio_track: int | None, channel: str) -> Choice:
    """The options as a choice. Raises typer.BadParameter for a channel that is none."""
    given = {"video_track": video_track, "audio_track": audio_track}
    try:
        return msgspec.convert({**given, "channel": int(channel) if channel.isdecimal() else channel}, Choice)
    except msgspec.ValidationError as error:
        raise typer.BadParameter(f"--channel is mix, left, right, each or a number from 1, not '{channel}'") from error


def _make_films(inputs: list[Analysed], films: Films) -> list[str]:
    try:
        return annotate_all(inputs, films)
    except KeyboardInterrupt:
        say("stopped; the results are complete, films that were not are not there")
        raise typer.Exit(130) from None


def _write_reports(inputs: list[Analysed], out: Path) -> None:
    # Templates are loaded only where a page is wanted.
    from bimodal.recordings.report.page import write_report

    now = datetime.now().astimezone()
    for analysed in inputs:
        if analysed.done:
            (clip,) = clips(out / f"{analysed.name}.jsonl")
            write_report(clip, now)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        sentence = f"{shown(out)} can't be a folder of results: a file lies there; name another as --out"
        raise ConfigError(sentence) from error
    except OSError as error:
        raise ConfigError(f"the folder {out} can't be made: {error.strerror}") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder {out} can't be written to")


def _watch(analysis: Analysis) -> None:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        drawn = _Drawn(progress, len(analysis.inputs))

        def changed() -> None:
            drawn.update(analysis.inputs)

        analysis.run(changed)
        changed()


class _Drawn:
    """The lines of the progress."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._all = progress.add_task("all files", total=count, amount="") if count > AT_ONCE else None

    def update(self, inputs: list[Analysed]) -> None:
        """Draw what has changed."""
        over = 0
        for analysed in inputs:
            ended = analysed.done or analysed.reason is not None
            over += ended
            if ended and self._all is not None:
                if analysed.name in self._tasks:
                    self._progress.remove_task(self._tasks.pop(analysed.name))
            elif analysed.done or analysed.frames or analysed.hops:
                self._draw(analysed)
        if self._all is not None:
            self._progress.update(self._all, completed=over, amount=f"{over}/{len(inputs)} files")

    def _draw(self, analysed: Analysed) -> None:
        name = analysed.name
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None, amount="")
        now, whole, amount = progress_of(analysed)
        self._progress.update(self._tasks[name], completed=now, total=whole, amount=amount)


def progress_of(analysed: Analysed) -> tuple[float, float | None, str]:
    """Progress of a file: done, total, and both in words; in frames, or in seconds of a file without picture."""
    if analysed.has_picture is False:
        whole = max(analysed.seconds, analysed.duration_s or 0.0) if analysed.done else analysed.duration_s
        shown_whole = f"{whole:.1f}" if whole else "?"
        now = whole if analysed.done and whole else analysed.seconds
        return now, whole, f"{now:.1f}/{shown_whole} s of sound"
    frames = analysed.frames if analysed.done else analysed.frames_estimate
    return analysed.frames, frames, f"{analysed.frames}/{frames or '?'} frames"


def _report(inputs: list[Analysed], out: Path, wall_s: float, lost: list[str]) -> None:
    failed = [analysed for analysed in inputs if analysed.reason is not None]
    done = [analysed for analysed in inputs if analysed.done]
    if done:
        typer.echo(clean(f"{summary_of(done, wall_s)} → {shown(out)}/"))
    sys.stdout.flush()
    for analysed in inputs:
        for sentence in (analysed.note, analysed.lost):
            if sentence is not None:
                say(f"{analysed.given}: {sentence}")
    for analysed in failed:
        say(analysed.reason or f"{analysed.given} failed")
    for sentence in lost:
        say(sentence)
    if failed or lost or any(analysed.lost for analysed in inputs):
        raise typer.Exit(REFUSED)


def summary_of(done: list[Analysed], wall_s: float) -> str:
    """Summary of the run in one line: files, frames (hops, of files without picture), seconds, pace."""
    files = "1 file" if len(done) == 1 else f"{len(done)} files"
    frames = sum(analysed.frames for analysed in done)
    hops = sum(analysed.hops for analysed in done if analysed.has_picture is False)
    amounts = [f"{frames} frames"] if frames or not hops else []
    amounts += [f"{hops} hops of sound"] if hops else []
    pace = f"{frames / wall_s:.1f} frames a second" if frames else f"{hops / wall_s:.1f} hops a second"
    return f"{files}, {' and '.join(amounts)} in {wall_s:.1f} s ({pace})"


# Annotated films, each made by a process of its own: a failure there costs the film alone.


class Films(NamedTuple):
    """Settings of the films of a run; `landmarks`: path of the model that finds meshes, where it draws them."""

    out: Path
    style: Style
    landmarks: str | None
    log_file: Path | None
    choice: Choice = DEFAULT


def annotate_all(inputs: list[Analysed], films: Films) -> list[str]:
    """Make the film of every input that has results; returns a sentence for each that could not be made."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} pictures drawn"),
        TimeElapsedColumn(),
    )
    reasons: list[str | None] = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for analysed in inputs:
            if not analysed.done:
                continue
            task = progress.add_task(analysed.name, total=analysed.frames or 1)

            def on_progress(pictures: int, task: int = task) -> None:
                progress.update(task, completed=pictures)  # type: ignore[arg-type]

            because = annotate_file(
                analysed.file,
                films.out,
                analysed.name,
                style=films.style,
                landmarks=films.landmarks,
                choice=films.choice,
                log_file=films.log_file,
                on_progress=on_progress,
            )
            reasons.append(because)
    return [reason for reason in reasons if reason is not None]
