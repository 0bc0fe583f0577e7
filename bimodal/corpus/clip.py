"""The work on one clip, or on some pictures: claim, analyse, write, join, journal. Every engine runs this class."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bimodal.api.detector import Detector
from bimodal.broker.events import Emotion
from bimodal.broker.paths import unpack
from bimodal.config import Config
from bimodal.corpus.claims import CLAIMS, claimed
from bimodal.corpus.join import DATA_SETS, join_clip, remove_clip, write_pictures
from bimodal.corpus.journal import JOURNAL, JournalReader, JournalWriter
from bimodal.corpus.messages import Done, Progress, WorkerSettings
from bimodal.corpus.results import Folder
from bimodal.corpus.resume import Options, decide, read_record
from bimodal.corpus.rows import ClipRow, Item, Status, Task, of_summary, row_of
from bimodal.corpus.store import Store
from bimodal.errors import BimodalError
from bimodal.recordings.convert import convert
from bimodal.recordings.identity import sha256_of
from bimodal.recordings.reading import clips
from bimodal.recordings.recording import LINES, SUMMARY, describe
from bimodal.recordings.records import CLIP_SUFFIX, SessionRecord
from bimodal.recordings.summary import Summarizer, Summary
from bimodal.recordings.tables import Row, frame_columns, rows
from bimodal.recordings.writers import FileRecording, SourceChecksum
from bimodal.scratch import Scratch
from bimodal.supervisor.addresses import fetch

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.5
LONGEST_NAME = 100


class ClipWorker:
    """Holds the models and does tasks, one after another. Use `close` at the end.

    Raises ConfigError, CatalogError, ArtifactError or ProviderError where the config's models can't be used, StoreError
    where the address of the results can't.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._scratch: Scratch | None = None
        self._store = Store(settings.store) if settings.store is not None else None
        self._out = unpack(settings.out) if self._store is None else self._own_folder() / "out"
        self._corpus = self._out / "corpus"
        if self._store is not None:
            self._make_folders()
        self._session = msgspec.convert(settings.session, SessionRecord)
        self._detector = Detector(msgspec.convert(settings.config, Config), workers=settings.threads)
        self._columns = frame_columns(self._detector.emotions)
        self._journal = JournalWriter(self._corpus)
        self._reader = JournalReader(self._corpus)
        self._rows: dict[str, ClipRow] = {}
        self._tables = 0

    @property
    def models(self) -> dict[str, str]:
        """name@version of every model, by kind."""
        return self._detector.models

    def run(self, task: Task, on_progress: Callable[[Progress], None] = lambda _: None) -> Done:
        """Do a task. What is wrong with a clip is in its row; only faults of the output folder are raised, as OSError
        or StoreError.

        A clip that another run holds is left alone, and so is one that another run has done meanwhile.
        """
        taken: list[str] = []
        before: list[ClipRow] = []
        own: list[Item] = []
        with ExitStack() as claims:
            for item in task.items:
                if not claims.enter_context(claimed(self._corpus, item.place)):
                    taken.append(item.place)
                elif (done := self._done_meanwhile(item, join=task.join)) is not None:
                    before.append(done)
                else:
                    own.append(item)
            if own and own[0].picture:
                made = self._pictures(own, on_progress)
            else:
                made = [self._again_joined(item) if task.join else self._clip(item, on_progress) for item in own]
                if made and self._store is None:
                    self._journal.append(made)
        if self._store is not None:
            self._put(made)
        return Done(number=task.number, rows=tuple(made), taken=tuple(taken), before=tuple(before))

    def _done_meanwhile(self, item: Item, *, join: bool) -> ClipRow | None:
        """The row of an item that another run has completed since this run decided on it.

        A row that is new in the journals, of the same models and settings, was not there when the run began.
        """
        before = self._rows.get(item.place)
        self._rows.update((row.clip, row) for row in self._reader.new_rows())
        row = self._rows.get(item.place)
        if row is None or join or row is before or not self._since_start(row):
            return None
        options = Options(retry_failed=False, overwrite=self._settings.options.overwrite)
        verdict = decide(item, row, Folder(self._out), self._session.settings or "", options).verdict
        return row if verdict in ("done", "failed") else None

    def _since_start(self, row: ClipRow) -> bool:
        return datetime.fromisoformat(row.finished) > datetime.fromisoformat(self._session.started)

    # Files at addresses.

    def _own_folder(self) -> Path:
        if self._scratch is None:
            self._scratch = Scratch("corpus")
        return self._scratch.path

    def _make_folders(self) -> None:
        for folder in (CLAIMS, JOURNAL):
            (self._corpus / folder).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _file(self, item: Item, on_progress: Callable[[Progress], None]) -> Iterator[Path]:
        """The item's file on this machine; one at an address is fetched, and removed afterwards."""
        if not item.remote:
            yield unpack(item.file)
            return
        place = self._own_folder() / "source" / (item.file.rpartition("/")[2].lstrip(".")[-LONGEST_NAME:] or "file")
        place.parent.mkdir(exist_ok=True)

        def on_piece() -> None:  # a worker that is silent for long counts as hung
            on_progress(Progress(item.place, 0, 0.0, 0.0))

        try:
            fetch(item.file, place, expected=item.bytes, mtime_ns=item.mtime_ns, on_piece=on_piece)
            yield place
        finally:
            place.unlink(missing_ok=True)

    def _put(self, rows: list[ClipRow]) -> None:
        """Put what was made into the store, and forget it here."""
        assert self._store is not None
        assert self._scratch is not None
        self._store.put_results(self._out)
        for row in rows:
            if row.status == "failed":
                self._store.remove_clip(row.clip)
        self._scratch.empty()
        self._make_folders()

    # Clips.

    def _clip(self, item: Item, on_progress: Callable[[Progress], None]) -> ClipRow:
        try:
            with self._file(item, on_progress) as file:
                return self._analysed(item, file, on_progress)
        except BimodalError as error:  # it could not be fetched
            remove_clip(self._corpus, item.place)
            return self._row(item, "failed", reason=str(error))

    def _analysed(self, item: Item, file: Path, on_progress: Callable[[Progress], None]) -> ClipRow:
        begun, cpu = time.monotonic(), time.process_time()
        recording: FileRecording | None = None
        try:
            reading = self._detector.read(file, name=item.name, choice=self._settings.choice)
            given = item.shown_file if item.remote else None
            check = SourceChecksum(reading.opened.source, file, given, source=item.source)
            folder = self._out / item.folder
            recording = FileRecording(
                folder, reading.opened, self._session, check, time.monotonic, overwrite=True, alone=True
            )
            duration_s = (reading.opened.duration_ns or 0) / 1e9
            frames, due = 0, begun
            for event in reading.events:
                if isinstance(event, Emotion):
                    recording.add(event)
                    frames += 1
                else:
                    recording.add_hop(event)
                if (now := time.monotonic()) >= due:
                    due = now + FLUSH_EVERY_S
                    recording.flush()
                    on_progress(Progress(item.place, frames, event.t, duration_s))
            recording.close()
            tables, recording = recording.tables, None
            notes = [*reading.problems.notes, reading.problems.text()]
            note = "; ".join(note for note in notes if note) or None
            return self._joined(item, note, time.monotonic() - begun, time.process_time() - cpu, tables)
        except Exception as error:
            reason = _reason(item, error)
        finally:
            if recording is not None:
                recording.stop()
        remove_clip(self._corpus, item.place)
        return self._row(item, "failed", reason=reason)

    def _again_joined(self, item: Item) -> ClipRow:
        """Put results that an earlier run has made into the joint tables."""
        if self._store is not None:
            self._store.fetch_tables(item.place, self._out, [LINES, CLIP_SUFFIX, SUMMARY, *DATA_SETS.values()])
        return self._joined(item)

    def _joined(
        self,
        item: Item,
        note: str | None = None,
        wall_s: float = 0.0,
        cpu_s: float = 0.0,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> ClipRow:
        """Put complete results into the joint tables; gives their row. `tables` of them need not be read."""
        join_clip(self._out, self._corpus, item.place, item.columns, tables)
        summary = msgspec.json.decode((self._out / f"{item.place}{SUMMARY}").read_bytes(), type=Summary)
        record = read_record(Folder(self._out), item.place)
        if self._settings.report or self._settings.also:
            self._further_files(item.place)
        return self._row(
            item,
            note=note,
            sha256=record.stream.source.sha256 if record is not None else None,
            wall_s=round(wall_s, 3),
            cpu_s=round(cpu_s, 3),
            **of_summary(summary),
        )

    def _further_files(self, place: str) -> None:
        (clip,) = clips(self._out / f"{place}.jsonl")
        now = datetime.now().astimezone()
        if self._settings.report:
            # Templates are loaded only where a page is wanted.
            from bimodal.recordings.report.page import write_report

            write_report(clip, now)
        convert(clip, self._settings.also, now)

    def _row(self, item: Item, status: Status = "done", **given: Any) -> ClipRow:
        row = row_of(item, self._session.settings or "", status, engine=self._settings.engine, **given)
        self._rows[row.clip] = row
        return row

    # Pictures: many in one file of the data set.

    def _pictures(self, items: list[Item], on_progress: Callable[[Progress], None]) -> list[ClipRow]:
        made: list[ClipRow] = []
        table: list[tuple[str, dict[str, str], Row]] = []
        for number, item in enumerate(items, 1):
            try:
                with self._file(item, on_progress) as file:
                    row, found = self._picture(item, file)
                table += [(item.place, item.columns, one) for one in found]
            except Exception as error:
                row = self._row(item, "failed", reason=_reason(item, error))
            made.append(row)
            on_progress(Progress(item.place, number, 0.0, 0.0))
        if not table:
            if self._store is None:
                self._journal.append(made)
            return made
        self._tables += 1

        def journal(name: str) -> None:
            # Before the file has its name: rows count only where it is, so none counts twice.
            made[:] = [msgspec.structs.replace(row, table=name) if row.status == "done" else row for row in made]
            if self._store is None:
                self._journal.append(made)

        write_pictures(self._corpus, self._tables, table, journal, self._columns)
        self._rows.update((row.clip, row) for row in made)
        return made

    def _picture(self, item: Item, file: Path) -> tuple[ClipRow, list[Row]]:
        begun, cpu = time.monotonic(), time.process_time()
        reading = self._detector.read(file, name=item.name, choice=self._settings.choice)
        summarizer, found = Summarizer(reading.opened, reading.opened.source), []
        for event in reading.events:
            if isinstance(event, Emotion):
                summarizer.add(event)
                found += rows(event, self._columns)
        wall_s = time.monotonic() - begun
        row = self._row(
            item,
            note=reading.problems.text(),
            sha256=sha256_of(file),
            wall_s=round(wall_s, 4),
            cpu_s=round(time.process_time() - cpu, 4),
            **of_summary(summarizer.summary(wall_s)),
        )
        return row, found

    def close(self) -> None:
        """Let go of models, journal and temporary files."""
        self._journal.close()
        self._detector.close()
        if self._scratch is not None:
            self._scratch.close()


def _reason(item: Item, error: Exception) -> str:
    """Say why a clip failed, in one sentence; an unexpected error goes to the log with its traceback."""
    if isinstance(error, BimodalError):
        return str(error)
    if isinstance(error, OSError):
        return describe(error, Path(item.name) if item.remote else unpack(item.file))
    log.error("%s failed", item.place, exc_info=error)
    return f"{type(error).__name__} in {item.source}; the log has the details"
