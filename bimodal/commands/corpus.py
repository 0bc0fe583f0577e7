"""`bimodal analyze` over folders, globs and lists, and `bimodal corpus`: progress, summary and exit code."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bimodal.broker.paths import shown
from bimodal.config import Config
from bimodal.console import put, put_json, say, user_errors
from bimodal.corpus.rows import ClipRow
from bimodal.corpus.run import CorpusRequest, Engine, Run, Shard, merge, sentence
from bimodal.supervisor.addresses import is_address
from bimodal.tables import duration
from bimodal.workers.actor import REFUSED
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import clean, redact

LINE_EVERY_S = 60.0
FAILURES_SHOWN = 20

app = typer.Typer(no_args_is_help=True, help="Corpora: folders of clips, analysed by `bimodal analyze`.")


@app.callback()
def _corpus() -> None:
    """Commands for the results of corpora."""


@app.command("merge")
def merge_command(
    out: Annotated[str, typer.Argument(help="The output folder that all shards have written into.", metavar="OUT")],
) -> None:
    """Write the joint table of all shards: OUT/corpus/clips.parquet, clips.csv, failures.csv, index.html.

    Exit code 0: all well; 1: some clips have failed, which the table says.

    Example: [b]bimodal corpus merge results/[/b]
    """
    with user_errors():
        if is_address(out):
            raise ConfigError(
                f"{redact(out)} needs no merge: results at an address have one driver, which writes the table"
            )
        clips, failed = merge(Path(out).absolute())
        put(clean(f"{clips:,} clips, {failed:,} failed → {shown(Path(out) / 'corpus')}/"))
        if failed:
            raise typer.Exit(REFUSED)


def parse_shard(text: str) -> Shard:
    """A shard of its words, "3/16". Raises typer.BadParameter."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise typer.BadParameter(f"--shard is I/N, with I from 1 to N, as in 3/16, not '{text}'")
    return Shard(int(number), int(count))


def run_corpus(
    request: CorpusRequest,
    config: Config,
    log_file: Path,
    *,
    dry: bool = False,
    as_json: bool = False,
    engine: str = "local",
    address: str | None = None,
) -> None:
    """Run over a corpus, show how it goes, and raise typer.Exit with 1 where not all is well, 130 after Ctrl-C."""
    run = Run(request, config, log_file=log_file)
    voice = _Json(run) if as_json else _Lines(run)
    try:
        with voice:
            run.plan(voice.found, dry=dry, on_wait=say)
        if dry:
            _dry(run)
            return
        begun = time.monotonic()
        for row in run.refusals():
            say(row.reason or row.clip)
        made = _engine(run, engine, address)
        with voice:
            run.work(made, voice.turn, voice.row)
        voice.end(time.monotonic() - begun)
        if not run.count.well:
            raise typer.Exit(REFUSED)
    except KeyboardInterrupt:
        say(f"stopped: {sentence(run.count)}; the same command goes on where it stopped")
        raise typer.Exit(130) from None
    finally:
        run.close()


def _engine(run: Run, engine: str, address: str | None) -> Engine | None:
    if engine == "local":
        if address is not None:
            raise ConfigError("--address goes with --engine ray")
        if run.finished():
            return None
        workers = run.local_engine()
        workers.begin()  # before anything is shown: a bar has a thread
        return workers
    from bimodal.corpus.ray_engine import RayEngine

    return RayEngine(run.worker_settings("ray"), workers=run.request.workers, address=address)


def _dry(run: Run) -> None:
    """Say what a run would do."""
    count = run.count
    waiting = 0
    for item in run.waiting_items():
        waiting += 1
        put(clean(f"would do   {shown(item.source)} → {item.place}"))
    for row in run.refusals():
        put(clean(f"refused    {row.reason}"))
    skipped = f"; {count.skipped} skipped" if count.skipped else ""
    put(f"{count.total:,} inputs: {waiting:,} to do, {_before(run)}{skipped}")
    if count.refused:
        raise typer.Exit(REFUSED)


def _before(run: Run) -> str:
    count = run.count
    return f"{count.before:,} done before, {count.failed_before:,} failed before, {count.refused:,} refused"


class _Voice:
    """Output of a run; a context while something is shown."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return

    def found(self, count: int) -> None:
        """Inputs found so far."""

    def turn(self) -> None:
        """Called several times a second."""

    def row(self, row: ClipRow) -> None:
        """A clip has ended."""

    def end(self, wall_s: float) -> None:
        """The run is over."""


class _Lines(_Voice):
    """For people: a bar in a terminal, a line each minute in a pipe; failures as they come."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._all: TaskID | None = None
        self._clips: dict[str, TaskID] = {}
        self._line_at = time.monotonic() + LINE_EVERY_S
        self._failures = 0

    def __enter__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._all = self._progress.add_task("inputs", total=None, amount="")
        self._clips.clear()
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def found(self, count: int) -> None:
        """Show the number of inputs found so far."""
        if self._progress is not None and self._all is not None:
            self._progress.update(self._all, amount=f"{count:,} found")

    def turn(self) -> None:
        """Draw, or print the line of the minute."""
        run, progress = self.run, self._progress
        if self._console.is_terminal and progress is not None and self._all is not None:
            progress.update(self._all, total=run.count.total, completed=run.count.over, amount=told(run))
            for gone in self._clips.keys() - run.at_work.keys():
                progress.remove_task(self._clips.pop(gone))
            for place, clip in run.at_work.items():
                if place not in self._clips:
                    self._clips[place] = progress.add_task(place, total=None, amount="")
                whole = clip.duration_s or None
                amount = f"{clip.frames} frames, {clip.seconds:.1f}/{clip.duration_s:.1f} s" if whole else ""
                progress.update(self._clips[place], total=whole, completed=clip.seconds, amount=amount)
        elif time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + LINE_EVERY_S
            say(told(run))

    def row(self, row: ClipRow) -> None:
        """Say why a clip has failed, as it comes."""
        if row.status == "failed":
            self._failures += 1
            if self._failures <= FAILURES_SHOWN:
                say(row.reason or f"{row.clip} failed")
            elif self._failures == FAILURES_SHOWN + 1:
                say(f"further failures are in {self.run.results.name}/corpus/failures.csv")
        elif row.note is not None or row.lost:
            lost = f"{row.frames_lost} frames and {row.hops_failed} hops could not be analysed" if row.lost else None
            say(f"{row.source}: {'; '.join(part for part in (row.note, lost) if part)}")

    def end(self, wall_s: float) -> None:
        """The whole run in one line, and where its results are."""
        count = self.run.count
        pace = f" ({count.frames / wall_s:.1f} frames a second)" if count.frames and wall_s > 0 else ""
        work = f"; {count.frames:,} frames, {count.hops:,} hops in {wall_s:.1f} s{pace}" if count.done else ""
        skipped = f"; skipped: {count.skipped}" if count.skipped else ""
        put(f"{sentence(count)}{work}{skipped} → {self.run.results.name}/")
        if count.failed_before:
            say(
                f"{count.failed_before:,} failed before and were not tried again: --retry-failed does; "
                f"{self.run.results.name}/corpus/failures.csv says why"
            )


class _Json(_Voice):
    """For programs: a line of JSON each second, for each clip, and at the end."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._due = 0.0

    def turn(self) -> None:
        """Print where the run stands, once a second."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + 1.0
            _print({"type": "progress", **msgspec.to_builtins(self.run.count)})

    def row(self, row: ClipRow) -> None:
        """Print a clip's row."""
        _print({"type": "clip", **msgspec.to_builtins(row)})

    def end(self, wall_s: float) -> None:
        """Print the whole run."""
        _print({"type": "end", "wall_s": round(wall_s, 3), **msgspec.to_builtins(self.run.count)})


def _print(values: dict[str, Any]) -> None:
    put_json(values)
    sys.stdout.flush()


def told(run: Run) -> str:
    """Progress of a run in one line: clips, seconds of media, time left, failures."""
    count = run.count
    parts = [f"{count.over:,}/{count.total:,}"]
    if count.seconds:
        whole = f" of about {duration(count.total_s)}" if count.total_s else ""
        parts.append(f"{duration(count.seconds)}{whole}")
    if count.left_s is not None and count.over < count.total:
        parts.append(f"about {duration(count.left_s)} left")
    if count.failed + count.failed_before:
        parts.append(f"{count.failed + count.failed_before:,} failed")
    return ", ".join(parts)
