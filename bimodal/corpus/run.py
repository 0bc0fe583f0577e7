"""One run over a corpus: plan, work, joint table. The engine does the work; this says what is left and keeps count."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from bimodal.broker.control import ControlServer, ProcessReport, Refused, Reply, Request, StatusReply, StatusRequest
from bimodal.broker.paths import pack, shown
from bimodal.config import Config
from bimodal.config.schema import LogConfig, OutputsConfig
from bimodal.corpus.claims import CLAIMS, claim_path, claimed, sweep_claims
from bimodal.corpus.inputs import Inputs
from bimodal.corpus.join import prune_pictures, remove_clip, sweep_data_sets
from bimodal.corpus.journal import JOURNAL, MERGED, JournalReader, JournalWriter, counts, merge_journals
from bimodal.corpus.lease import Lease
from bimodal.corpus.local import Coordinator, LocalEngine
from bimodal.corpus.messages import Done, Progress, WorkerSettings
from bimodal.corpus.plan import Plan, State
from bimodal.corpus.precision import FILE as VARIANT
from bimodal.corpus.precision import keep, kept
from bimodal.corpus.results import CORPUS, Folder, Results
from bimodal.corpus.resume import Options, decide, set_of_rows
from bimodal.corpus.rows import MOST_TRIES, ClipRow, Item, Task, row_of
from bimodal.corpus.store import Store
from bimodal.corpus.tables import CLIPS, CLIPS_CSV, FAILURES, Pace, columns_of, write_tables
from bimodal.models.emotions import SEVEN
from bimodal.models.precision import Precision
from bimodal.recordings.exports import FormatName
from bimodal.recordings.parts import sweep_folder
from bimodal.recordings.recording import SUMMARY, describe
from bimodal.recordings.report.index import INDEX
from bimodal.scratch import Scratch
from bimodal.supervisor.addresses import is_address
from bimodal.supervisor.emotions import set_of_config
from bimodal.supervisor.provenance import describe_session
from bimodal.supervisor.session import Session
from bimodal.supervisor.usage import cores, machine_memory_mb
from bimodal.supervisor.variants import choice_of
from bimodal.workers.capture.choice import DEFAULT, Choice
from bimodal.workers.errors import ConfigError, SystemFailedError

log = logging.getLogger(__name__)

PICTURES_AT_A_TIME = 64
LOOK_AGAIN_S = 1.0
PUT_ROWS_EVERY_S, MOST_ROWS_TO_PUT = 5.0, 500
"""At an address, rows are put together: after so many seconds, or so many of them."""


class Shard(msgspec.Struct, frozen=True):
    """Part `number` of `count`, from 1; a clip belongs to one by the sha256 of its place."""

    number: int
    count: int

    def holds(self, item: Item) -> bool:
        """True where an item belongs to it."""
        return int(hashlib.sha256(item.place.encode()).hexdigest(), 16) % self.count == self.number - 1

    @property
    def prefix(self) -> str:
        """Of the names of its tables; empty where it is the whole."""
        width = len(str(self.count))
        return f"shard-{self.number:0{width}}-of-{self.count}." if self.count > 1 else ""


WHOLE = Shard(1, 1)


class CorpusRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is asked for.

    Attributes:
        given: files, folders, globs, addresses and lists.
        out: the output folder, or its address.
        root: files that are named lie below the output folder as they do below this one, or this address.
        pictures: "one-table": pictures from folders, globs and lists have rows in the joint tables only; "files": each
            has files of its own.
        workers: number of workers; None: one a core.
    """

    given: tuple[str, ...]
    out: str
    root: str | None = None
    options: Options = Options()
    choice: Choice = DEFAULT
    pictures: Literal["one-table", "files"] = "one-table"
    shard: Shard = WHOLE
    workers: int | None = None
    report: bool = False
    also: tuple[FormatName, ...] = ()


class Engine(Protocol):
    """Does the tasks of a run."""

    name: str

    def run(self, coordinator: Coordinator, on_turn: Callable[[], None]) -> None:
        """Work until the coordinator has nothing left."""

    def reports(self) -> tuple[ProcessReport, ...]:
        """The workers, for `bimodal status`."""

    def close(self) -> None:
        """End the workers."""


class Count(msgspec.Struct, kw_only=True):
    """Where a run stands.

    Attributes:
        total: inputs of this run.
        before: complete before it began; of these `failed_before` had failed, and stay so.
        elsewhere: done by another run meanwhile.
        again: of `done`, those that had results of other models, settings or bytes.
        seconds, total_s: of media: done, and of all inputs by estimate (None until something is known).
        left_s: estimated seconds that this run still takes.
    """

    total: int = 0
    before: int = 0
    failed_before: int = 0
    refused: int = 0
    done: int = 0
    again: int = 0
    elsewhere: int = 0
    failed: int = 0
    lost: int = 0
    frames: int = 0
    hops: int = 0
    seconds: float = 0.0
    total_s: float | None = None
    left_s: float | None = None
    skipped: str = ""

    @property
    def over(self) -> int:
        """Inputs of which nothing is left to do."""
        return self.before + self.failed_before + self.refused + self.done + self.elsewhere + self.failed

    @property
    def well(self) -> bool:
        """True where no clip has failed, was refused, or lost frames."""
        return not (self.failed or self.failed_before or self.refused or self.lost)


class Run:
    """One run: `plan`, then `work`; `close` in any case.

    Attributes:
        count: where it stands.
        at_work: progress of the clips that are being analysed, by place.
        out: the output folder; of results at an address, a temporary one, which holds journals and joint tables.
        store: the address of the results; None where they lie in a folder.

    Raises ConfigError where the output folder can't be used, SourceError where inputs can't, StoreError where the
    address of the results can't, CatalogError where a model is unknown.
    """

    def __init__(self, request: CorpusRequest, config: Config, *, log_file: Path | None = None) -> None:
        self.request = request
        self.count = Count()
        self.at_work: dict[str, Progress] = {}
        self.store: Store | None = None
        self._scratch: Scratch | None = None
        self._lease: Lease | None = None
        if is_address(request.out):
            if request.shard.count > 1:
                raise ConfigError("results at an address have one driver at a time, so --shard does not go with them")
            self.store = Store(request.out)
            self._scratch = Scratch("corpus")
        self.out = self._scratch.path if self._scratch is not None else Path(request.out).absolute()
        self.results: Results = self.store or Folder(self.out)
        self.corpus = self.out / CORPUS
        self._given = config
        self._log_file = log_file
        self._plan = Plan()
        self._reader = JournalReader(self.corpus)
        self._journal = JournalWriter(self.corpus)
        self._emotions = set_of_config(config)
        self._carried: list[str] = []
        self._tasks: dict[int, Task] = {}
        self._number = 0
        self._again: set[str] = set()
        self._begun = time.monotonic()
        self._pace = Pace()
        self._changed = True
        self._look_at = 0.0
        self._weight_done = 0.0
        self._prepared = False
        self._rows_to_put: list[ClipRow] = []
        self._put_at = 0.0
        self._segment = 0
        self._on_row: Callable[[ClipRow], None] = lambda _: None
        self._started = datetime.now().astimezone()
        here = choice_of(config).precision
        self._choose(here if config.runtime.precision != "auto" else kept(self.corpus) or here)

    def _choose(self, precision: Precision) -> None:
        """Take a variant of the models: settings and identity follow it."""
        runtime = msgspec.structs.replace(self._given.runtime, precision=precision)
        self._precision: Precision = precision
        self._config = msgspec.structs.replace(self._given, runtime=runtime)
        self._session_record = describe_session(
            self._config, "analysis", f"analyze-{os.getpid()}", self._started, self.request.choice
        )
        self.settings = self._session_record.settings or ""

    # Before the work.

    def plan(
        self,
        on_found: Callable[[int], None] = lambda _: None,
        *,
        dry: bool = False,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read the inputs, and decide on each. Writes nothing, but for the lease of results at an address.

        Args:
            on_found: called with the number of inputs found, now and then.
            dry: take no lease.
            on_wait: called with a sentence where another run's lease must be waited for.

        Raises LeaseHeldError where another run writes to the same address.
        """
        if self.store is not None:
            self._open_store(self.store, dry, on_wait)
        inputs = Inputs(self.request.given, self.request.out, root=self.request.root, emotions=self._emotions)
        self._plan.add(self._wanted(inputs, on_found))
        self.count.total = self._plan.states().total()  # a file that was named twice counts once
        self.count.skipped = str(inputs.skipped)
        _take_rows(self._plan, self._reader, self.results)
        self._emotions = set_of_rows(self.results, self._plan.rows(), self._emotions)
        self._carried = columns_of(self._plan.rows())
        self._carried += [name for name in inputs.columns if name not in self._carried]
        self._decide_all()

    def _decide_all(self) -> None:
        """Decide on every input, by the settings as they are now."""
        count = self.count
        count.before = count.failed_before = count.refused = 0
        count.lost = 0
        self._again.clear()
        for item in self._plan.items():
            self._decide(item)
        if count.refused:
            log.info("%d inputs refused", count.refused)

    def _open_store(self, store: Store, dry: bool, on_wait: Callable[[str], None]) -> None:
        if not dry:
            self._lease = Lease(store)
            self._lease.take(on_wait)
        store.look()
        for name in store.files_in(f"{CORPUS}/{JOURNAL}"):
            store.fetch(f"{CORPUS}/{JOURNAL}/{name}", self.corpus / JOURNAL / name)
        store.fetch(f"{CORPUS}/{VARIANT}", self.corpus / VARIANT)
        if self._given.runtime.precision == "auto":
            self._choose(kept(self.corpus) or self._precision)

    def _wanted(self, inputs: Inputs, on_found: Callable[[int], None]) -> Iterator[Item]:
        found = 0
        for item in inputs.items():
            if self.request.shard.holds(item):
                found += 1
                if found % 1000 == 0:
                    on_found(found)
                own_files = item.picture and self.request.pictures == "files"
                yield msgspec.structs.replace(item, picture=False) if own_files else item

    def _decide(self, item: Item) -> None:
        decision = decide(item, self._plan.row(item.place), self.results, self.settings, self.request.options)
        state: State = "waiting"
        match decision.verdict:
            case "done":
                state, self.count.before = "before", self.count.before + 1
                row = self._plan.row(item.place)
                self.count.lost += row is not None and row.lost
            case "failed":
                state, self.count.failed_before = "failed before", self.count.failed_before + 1
            case "refused":
                state, self.count.refused = "refused", self.count.refused + 1
                self._plan.refuse(self._failed(item, decision.reason or ""))
            case "again":
                self._again.add(item.place)
            case "join" | "do":
                pass
        self._plan.mark([item.place], state, work="join" if decision.verdict == "join" else "do")

    def refusals(self) -> Iterator[ClipRow]:
        """The inputs that are refused, with their reasons."""
        return self._plan.refusals()

    def waiting_items(self) -> Iterator[Item]:
        """The inputs that are to be done."""
        return self._plan.items("waiting")

    def _failed(self, item: Item, reason: str) -> ClipRow:
        return row_of(item, self.settings, "failed", reason=reason)

    # The work.

    def work(
        self,
        engine: Engine | None = None,
        on_turn: Callable[[], None] = lambda: None,
        on_row: Callable[[ClipRow], None] = lambda _: None,
    ) -> None:
        """Do what is left, and write the joint table; also where it is interrupted.

        Args:
            engine: by default `local`.
            on_turn: called several times a second.
            on_row: called with each row as its clip ends.

        Raises SystemFailedError where no worker can work, ConfigError where the folder can't be written.
        """
        self._on_row = on_row
        self._begun = time.monotonic()
        self._prepare()
        try:
            if not self.finished():
                with contextlib.ExitStack() as stack:
                    running = engine or self.local_engine()
                    stack.callback(running.close)
                    session = Session(f"analyze-{os.getpid()}", unique=True)
                    stack.callback(session.close)
                    control = ControlServer(session.directory)
                    stack.callback(control.close)

                    def turn() -> None:
                        control.serve(lambda request: self._reply(request, session.name, running))
                        self._turn()
                        on_turn()

                    running.run(self, turn)
        finally:
            self._finish()

    def local_engine(self) -> LocalEngine:
        """Workers on this machine, as many as there is work for."""
        return LocalEngine(self.worker_settings(threads=self._threads()), self._workers(), self._most_mb())

    def worker_settings(self, engine: str = "local", threads: int = 1) -> WorkerSettings:
        """The settings of a worker of this run. Raises ConfigError where the folder can't be written."""
        self._prepare()
        config = msgspec.structs.replace(self._config, log=LogConfig(), outputs=OutputsConfig())
        return WorkerSettings(
            config=msgspec.to_builtins(config),
            out=pack(self.out) if self.store is None else "",
            store=self.store.address if self.store is not None else None,
            session=msgspec.to_builtins(self._session_record),
            choice=self.request.choice,
            options=self.request.options,
            report=self.request.report,
            also=self.request.also,
            engine=engine,
            threads=threads,
            log=str(self._log_file) if self._log_file is not None else None,
        )

    def _threads(self) -> int:
        """Threads of a worker: all cores for a single clip."""
        return max(1, (self.request.workers or cores()) // self._workers())

    def _workers(self) -> int:
        clips = self._plan.waiting_clips()
        pictures = self._plan.states()["waiting"] - clips
        tasks = clips + -(-pictures // PICTURES_AT_A_TIME)
        return max(1, min(self.request.workers or cores(), tasks))

    def _most_mb(self) -> int | None:
        limit = self._config.workers.max_memory_mb
        return machine_memory_mb() // 2 if limit == "auto" else limit

    def _prepare(self) -> None:
        """Make the folders, and settle the variant of the models, once."""
        if self._prepared:
            return
        self._prepared = True
        try:
            for folder in (CLAIMS, JOURNAL, "frames", "segments", "speech"):
                (self.corpus / folder).mkdir(parents=True, exist_ok=True)
            counts_now = keep(self.corpus, self._precision, replace=self._given.runtime.precision != "auto")
            if self.store is not None:
                self.store.put_files(self.out, [f"{CORPUS}/{VARIANT}"])
        except OSError as error:
            raise ConfigError(describe(error, self.corpus)) from error
        if counts_now != self._precision:
            # Another run, on another processor, has begun this corpus since this one looked.
            self._choose(counts_now)
            self._decide_all()
        sweep_claims(self.corpus)
        self._sweep()

    def _sweep(self) -> None:
        """Delete what dead workers have left, of this run and of others, in the folders of its clips.

        Once at the beginning and once at the end, so that no clip's price depends on how many files lie beside it.
        """
        sweep_data_sets(self.corpus)
        if self.store is None:
            for folder in self._plan.folders():
                sweep_folder(self.out / folder)

    @property
    def waiting(self) -> int:
        """Number of clips that nobody has yet."""
        return self._plan.waiting_clips()

    def next_task(self) -> Task | None:
        """The next task for a worker: the largest clip, or some pictures."""
        found = self._plan.next_clip()
        if found is not None:
            items, join = [found[0]], found[1] == "join"
        else:
            items, join = self._plan.next_pictures(PICTURES_AT_A_TIME), False
        if not items:
            return None
        self._plan.mark([item.place for item in items], "given")
        self._number += 1
        task = self._tasks[self._number] = Task(number=self._number, items=tuple(items), join=join)
        return task

    def finished(self) -> bool:
        """True once nothing is left to do, here or in another run on the same inputs."""
        states = self._plan.states()
        return not (states["waiting"] or states["given"] or states["taken"])

    def on_done(self, done: Done) -> None:
        """Take the answer to a task."""
        task = self._tasks.pop(done.number, None)
        if task is None:
            return
        for item in task.items:
            self.at_work.pop(item.place, None)
        self._plan.mark(done.taken, "taken")
        for row in done.before:
            self._settle(row, elsewhere=True)
        if self.store is not None:
            for row in done.rows:
                self.store.note(f"{CORPUS}/{row.table}" if row.table is not None else f"{row.clip}{SUMMARY}")
            self._append(list(done.rows))
        for row in done.rows:
            self._settle(row)

    def _append(self, rows: list[ClipRow]) -> None:
        """Put rows into the journal of this run itself: of results at an address all, else of clips that no worker
        survived."""
        self._journal.append(rows)
        self._rows_to_put += rows if self.store is not None else ()

    def _put_rows(self, store: Store) -> None:
        """Put the rows since the last time as one more journal. Raises StoreError."""
        if self._rows_to_put:
            self._segment += 1
            data = b"".join(msgspec.json.encode(row) + b"\n" for row in self._rows_to_put)
            store.put(f"{CORPUS}/{JOURNAL}/{self._journal.name}-{self._segment:06}.jsonl", data)
            self._rows_to_put.clear()

    def _settle(self, row: ClipRow, *, elsewhere: bool = False) -> None:
        self._plan.put([row])
        self._plan.mark([row.clip], "done" if row.status == "done" else "failed")
        self._carried += [name for name in row.columns if name not in self._carried]
        count = self.count
        if row.status == "failed":
            count.failed += 1
        elif elsewhere:
            count.elsewhere += 1
        else:
            count.done += 1
            count.again += row.clip in self._again
            count.frames += row.frames
            count.hops += row.hops
            count.seconds += row.duration_s
        self._weight_done += row.bytes
        count.lost += row.lost
        self._changed = True
        self._on_row(row)

    def on_lost(self, task: Task, reason: str) -> None:
        """Give the items of a worker that died to another; what kills its worker three times has failed."""
        self._tasks.pop(task.number, None)
        for item in task.items:
            self.at_work.pop(item.place, None)
            # Of many pictures nobody knows which it was: then each is tried alone, and has its three tries.
            tries = self._plan.tried(item.place) if reason else 0
            if len(task.items) == 1 and tries > MOST_TRIES - 1:
                remove_clip(self.corpus, item.place)
                if self.store is not None:
                    self.store.remove_clip(item.place)
                row = self._failed(item, f"{item.source} ended its worker {MOST_TRIES} times: {reason}")
                self._append([row])
                self._settle(row)
            else:
                self._plan.mark([item.place], "waiting")

    def on_progress(self, progress: Progress) -> None:
        """Take note of how far a clip is."""
        self.at_work[progress.place] = progress

    def _turn(self) -> None:
        now = time.monotonic()
        if self._lease is not None and self._lease.lost is not None:
            raise SystemFailedError(f"{self._lease.lost}; this run stops")
        if self.store is not None and (now >= self._put_at or len(self._rows_to_put) >= MOST_ROWS_TO_PUT):
            self._put_at = now + PUT_ROWS_EVERY_S
            self._put_rows(self.store)
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_S
            self._look_at_taken()
            self._estimate()
        if self._changed and self._pace.due:
            self._write_tables()

    def _look_at_taken(self) -> None:
        """See what other runs have done with the clips that they hold: done, or theirs to do no longer."""
        taken = list(self._plan.items("taken"))
        if not taken:
            return
        self._plan.put(self._reader.new_rows())
        for item in taken:
            if not claim_path(self.corpus, item.place).exists():
                self._plan.mark([item.place], "waiting")
                continue
            with claimed(self.corpus, item.place) as free:
                if free:
                    self._plan.mark([item.place], "waiting")

    def _estimate(self) -> None:
        """Estimate seconds of media in all, and seconds of work left, from the bytes that are done."""
        if not self._weight_done or not self.count.seconds:
            return
        left = self._plan.bytes_of("waiting", "given", "taken")
        half_done = sum(one.seconds for one in self.at_work.values())
        per_byte = self.count.seconds / self._weight_done
        left_media_s = max(0.0, left * per_byte - half_done)
        pace = (self.count.seconds + half_done) / max(1e-3, time.monotonic() - self._begun)
        self.count.total_s = self.count.seconds + left * per_byte
        self.count.left_s = left_media_s / pace if pace > 0 else None

    def _reply(self, request: Request, session: str, engine: Engine) -> Reply:
        if not isinstance(request, StatusRequest):
            return Refused(
                "a corpus runs with the config and the number of workers (--workers) that it was started with"
            )
        return StatusReply(
            session=session,
            up_s=time.monotonic() - self._begun,
            because=None,
            changing=False,
            config=None,
            refused=None,
            given_up=None,
            processes=engine.reports(),
            streams=(),
            corpus=f"{self.results.name}: {sentence(self.count)}",
        )

    # The end.

    def _finish(self) -> None:
        """Write the joint table as it stands, and clean up after this run."""
        if self._lease is not None and self._lease.lost is not None:
            return  # nothing there is ours any more
        try:
            _take_rows(self._plan, self._reader, self.results)
            if self.store is None:
                prune_pictures(self.corpus, self._plan.places_of_table)
            else:
                self._put_rows(self.store)
                self._prune_pictures(self.store)
            self._write_tables()
            self._journal.close()
            if self.request.shard.count == 1:
                merge_journals(self.corpus, self._plan.rows(), self._reader.damaged)
                if self.store is not None:
                    self._put_merged(self.store)
            sweep_claims(self.corpus)
            self._sweep()
        except OSError as error:
            raise ConfigError(describe(error, self.corpus)) from error

    def _prune_pictures(self, store: Store) -> None:
        """As `prune_pictures`; only tables of which no row counts, or of which rows were replaced, are touched."""
        stale = self._plan.stale_tables()
        for table in store.tables_of_pictures():
            relative = f"{CORPUS}/{table}"
            if not self._plan.places_of_table(table):
                store.remove([relative])
            elif table in stale and store.fetch(relative, self.out / relative):
                prune_pictures(self.corpus, self._plan.places_of_table)
                store.put_files(self.out, [relative])
                (self.out / relative).unlink(missing_ok=True)

    def _put_merged(self, store: Store) -> None:
        """Put the one journal of all rows, and remove those that it stands for."""
        folder = f"{CORPUS}/{JOURNAL}"
        store.put_files(self.out, [f"{folder}/{MERGED}"])
        store.remove([f"{folder}/{name}" for name in store.files_in(folder) if name != MERGED])

    def _write_tables(self) -> None:
        begun = time.monotonic()
        own = self.request.shard.count > 1
        report = self.request.report if self.store is not None else None
        try:
            rows, prefix = self._plan.table(own=own), self.request.shard.prefix
            title = self.results.name.rstrip("/").rpartition("/")[2]
            write_tables(self.corpus, rows, self._carried, prefix, self._emotions, title=title, report=report)
        except OSError as error:
            raise ConfigError(describe(error, self.corpus)) from error
        if self.store is not None:
            self.store.put_files(self.out, [f"{CORPUS}/{name}" for name in (CLIPS, CLIPS_CSV, FAILURES, INDEX)])
        self._pace.took(time.monotonic() - begun)
        self._changed = False

    def close(self) -> None:
        """Let go of everything."""
        self._journal.close()
        self._plan.close()
        if self._lease is not None:
            self._lease.close()
        if self._scratch is not None:
            self._scratch.close()


def _take_rows(plan: Plan, reader: JournalReader, results: Results) -> None:
    """Keep the rows that are new in the journals, and forget those whose results are not there."""
    plan.put(reader.new_rows())
    plan.drop_rows(lambda row: counts(results, row))


def sentence(count: Count) -> str:
    """Where a run stands, in one line: `1,184 done before, 16 done now, 2 failed`."""
    parts = [(count.before, "done before"), (count.done, "done now"), (count.elsewhere, "done by another run")]
    parts += [(count.failed + count.failed_before, "failed"), (count.refused, "refused")]
    shown_parts = [f"{number:,} {what}" for number, what in parts if number]
    left = count.total - count.over
    if left:
        shown_parts.append(f"{left:,} left")
    if count.again:
        shown_parts.append(f"{count.again:,} of them again, for other models, settings or bytes")
    return ", ".join(shown_parts) or "nothing to do"


def merge(out: Path) -> tuple[int, int]:
    """Write the joint table of all that lies in an output folder (of all shards). Returns clips and failures.

    Raises ConfigError where there is no corpus, or it can't be written.
    """
    corpus = out / CORPUS
    if not (corpus / JOURNAL).is_dir():
        raise ConfigError(f"{out} holds no corpus: there is no folder {corpus / JOURNAL}")
    plan = Plan()
    try:
        reader = JournalReader(corpus)
        _take_rows(plan, reader, Folder(out))
        if reader.damaged and next(plan.rows(), None) is None:
            raise ConfigError(f"no line of {shown(corpus / JOURNAL)} can be read, so the tables stay as they are")
        prune_pictures(corpus, plan.places_of_table)
        about = set_of_rows(Folder(out), plan.rows()) or SEVEN
        write_tables(corpus, plan.rows(), columns_of(plan.rows()), about=about, title=out.name)
        merge_journals(corpus, plan.rows(), reader.damaged)
        failed = sum(1 for _ in plan.rows("failed"))
        return sum(1 for _ in plan.rows()), failed
    except OSError as error:
        raise ConfigError(describe(error, corpus)) from error
    finally:
        plan.close()
