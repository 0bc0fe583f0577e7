"""What is to be done with an input, by what lies in the output folder: nothing, all, the joint tables, or a refusal."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, overload

import msgspec

from bimodal.broker.paths import shown, unpack
from bimodal.corpus.journal import counts
from bimodal.corpus.results import Results
from bimodal.corpus.rows import ClipRow, Item
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.identity import ENDINGS, sha256_of
from bimodal.recordings.recording import SUMMARY
from bimodal.recordings.records import CLIP_SUFFIX, ClipRecord, set_of
from bimodal.supervisor.addresses import fetch
from bimodal.workers.errors import SourceError

Verdict = Literal["do", "again", "join", "done", "failed", "refused"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does with results that are there.

    Attributes:
        again: do what is complete once more.
        retry_failed: do what failed once more.
        overwrite: replace results of other sources, and of sources that have changed.
    """

    again: bool = False
    retry_failed: bool = False
    overwrite: bool = False


class Decision(NamedTuple):
    """Verdict on an input.

    Attributes:
        verdict: "do": for the first time; "again": once more; "join": results are complete, their rows in the joint
            tables are not; "done" or "failed": by an earlier run; "refused": other results lie there, or it is a
            folder that can't be read.
        reason: of a refusal, one sentence.
    """

    verdict: Verdict
    reason: str | None = None


def decide(item: Item, row: ClipRow | None, results: Results, settings: str, options: Options) -> Decision:
    """Decide on one input; reads its bytes only where size, and mark (etag) or time of change, differ from what its
    results say.

    Args:
        row: the last row of its place in the journals, None without one.
        settings: checksum of the models and settings of this run.
    """
    if item.refused is not None:
        return Decision("refused", item.refused)
    if row is None or not counts(results, row):
        return _by_files(item, results, settings, options)
    if row.status == "failed":
        unchanged = row.settings == settings and _untouched(item, row.bytes, row.mtime_ns, row.etag)
        retry = options.retry_failed or options.again or not unchanged
        return Decision("again" if retry else "failed")
    if not _same(item, row.bytes, row.mtime_ns, row.etag, row.sha256):
        return _changed(item, row.source, row.sha256, options)
    if options.again or row.settings != settings or (row.kind == "picture") != item.picture:
        return Decision("again")
    if row.columns != item.columns:
        return Decision("again" if item.picture else "join")
    return Decision("done")


def _by_files(item: Item, results: Results, settings: str, options: Options) -> Decision:
    """Decide by NAME.session.json: results of `analyze`, or of a worker that was killed before its last line."""
    if item.picture or not any(results.exists(f"{item.place}{ending}") for ending in ENDINGS):
        return Decision("do")
    record = read_record(results, item.place)
    if record is None:
        if options.overwrite:
            return Decision("again")
        place = f"{results.name}/{item.place}"
        return Decision("refused", f"{place}.… holds results that don't say of which file; --overwrite replaces them")
    source = record.stream.source
    if not _same(item, source.bytes or 0, source.mtime_ns or 0, None, source.sha256):
        return _changed(item, source.path or source.name, source.sha256, options)
    complete = results.exists(f"{item.place}{SUMMARY}")
    if complete and record.session.settings == settings and not options.again:
        return Decision("join")
    return Decision("again" if complete else "do")


def _changed(item: Item, source: str, sha256: str | None, options: Options) -> Decision:
    if options.overwrite:
        return Decision("again")
    name = item.shown_file if item.remote else shown(unpack(item.file))
    if source == item.source and sha256 is not None:
        sentence = f"{name} has changed since its results were made; --overwrite replaces them"
    else:
        sentence = f"{item.place}.… holds results of another file ({source}), not of {name}; --overwrite replaces them"
    return Decision("refused", sentence)


def read_record(results: Results, place: str) -> ClipRecord | None:
    """NAME.session.json of a place; None where there is none that can be read."""
    data = results.read(f"{place}{CLIP_SUFFIX}")
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(data, type=ClipRecord) if data is not None else None
    return None


@overload
def set_of_rows(results: Results, rows: Iterable[ClipRow], about: EmotionSet) -> EmotionSet: ...
@overload
def set_of_rows(results: Results, rows: Iterable[ClipRow], about: None = None) -> EmotionSet | None: ...
def set_of_rows(results: Results, rows: Iterable[ClipRow], about: EmotionSet | None = None) -> EmotionSet | None:
    """The emotions and categories of the results of rows, as their records say, joined with those of `about`.

    None where there is neither. One clip of each settings is looked at.
    """
    seen: set[str] = set()
    further: dict[str, float] = {}
    for row in rows:
        if row.status != "done":
            continue
        further |= row.other
        found = (
            EmotionSet(tuple(row.share)) if about is not None and not row.share.keys() <= set(about.emotions) else None
        )
        if row.kind == "clip" and row.settings not in seen:
            seen.add(row.settings)
            record = read_record(results, row.clip)
            found = set_of(record.stream) if record is not None else found
        if found is not None:
            about = found if about is None else about.joined(found)
    return (about or SEVEN).joined(EmotionSet((), tuple(further))) if further else about


def _untouched(item: Item, size: int, mtime_ns: int, etag: str | None) -> bool:
    """True where a file can't be another one than that of a result: by size, and by its store's mark or its time."""
    if item.bytes != size:
        return False
    return item.etag == etag if item.etag is not None and etag is not None else item.mtime_ns == mtime_ns


def _same(item: Item, size: int, mtime_ns: int, etag: str | None, sha256: str | None) -> bool:
    """True where a file is the one of a result: by size and mark or time of change, else by its bytes."""
    if not item.mtime_ns and not item.bytes and (item.remote or not unpack(item.file).exists()):
        return True  # the source is gone, its results are there
    if _untouched(item, size, mtime_ns, etag):
        return True
    if sha256 is None or item.bytes != size:
        return False
    with contextlib.suppress(OSError, SourceError):
        return _sha256(item) == sha256
    return False


def _sha256(item: Item) -> str:
    if not item.remote:
        return sha256_of(unpack(item.file))
    with tempfile.TemporaryDirectory(prefix="bimodal-compare-") as folder:
        place = Path(folder) / "file"
        fetch(item.file, place)
        return sha256_of(place)
