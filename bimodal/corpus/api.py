"""`bimodal.analyze_corpus`: folders, globs and lists in, the joint tables out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bimodal.api.sources import ConfigLike, choice_of, config_of
from bimodal.console import state_directory
from bimodal.corpus.results import CORPUS
from bimodal.corpus.resume import Options
from bimodal.corpus.run import WHOLE, CorpusRequest, Count, Engine, Run, Shard, sentence
from bimodal.corpus.tables import CLIPS
from bimodal.options import with_quick
from bimodal.supervisor.addresses import file_system, is_address
from bimodal.workers.capture.choice import Channel
from bimodal.workers.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset


def analyze_corpus(
    sources: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    config: ConfigLike = None,
    workers: int | Literal["auto"] = "auto",
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    root: str | Path | None = None,
    again: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
    pictures: Literal["one-table", "files"] = "one-table",
    shard: tuple[int, int] = (1, 1),
    report: bool = False,
    quick: bool | None = None,
    video_track: int | None = None,
    audio_track: int | None = None,
    channel: Channel = "mix",
) -> CorpusResult:
    """Analyse folders, globs and lists, each clip once; what an earlier run has done stays as it is.

    Args:
        sources: a file, a folder, a glob, an address of one ("s3://…") or "@LIST", or several of them.
        out: the folder for the results, or its address.
        config: a path of a config.yaml, its values as a dict, or None for the defaults.
        workers: number of worker processes (of Ray actors); "auto": one a core.
        engine, address, root, again, retry_failed, overwrite, pictures, report: the options of `bimodal analyze`.
        quick, video_track, audio_track, channel: also its options.
        shard: (I, N): the I-th of N parts.

    Clips that fail raise nothing: they are in `failures`. Raises SourceError where inputs can't be read, another
    `bimodal.errors.BimodalError` where the config, its models or the folder can't be used.
    """
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    number, count = shard
    if not 1 <= number <= count:
        raise SourceError(f"shard= is (I, N) with I from 1 to N, not {shard}")
    log_file = state_directory() / "analyze.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    request = CorpusRequest(
        given=tuple(map(str, given)),
        out=str(out),
        root=str(root) if root is not None else None,
        options=Options(again=again, retry_failed=retry_failed, overwrite=overwrite),
        choice=choice_of(video_track, audio_track, channel),
        pictures=pictures,
        shard=Shard(number, count) if count > 1 else WHOLE,
        workers=None if workers == "auto" else workers,
        report=report,
    )
    run = Run(request, with_quick(config_of(config), quick), log_file=log_file)
    try:
        run.plan()
        chosen: Engine | None = None
        if engine == "ray":
            from bimodal.corpus.ray_engine import RayEngine

            chosen = RayEngine(run.worker_settings("ray"), workers=request.workers, address=address)
        run.work(chosen)
        return CorpusResult(run.store.address if run.store is not None else run.out, run.count, request.shard.prefix)
    finally:
        run.close()


class CorpusResult:
    """The joint tables of an output folder.

    Attributes:
        out: the folder, or its address.
        count: what this run has done, found done, and could not do.
    """

    def __init__(self, out: str | Path, count: Count, prefix: str = "") -> None:
        self.out = out
        self.count = count
        self._prefix = prefix

    @property
    def clips(self) -> pa.Table:
        """One row a clip: the table of corpus/clips.parquet."""
        import pyarrow.parquet as pq

        system, path = self._place(f"{self._prefix}{CLIPS}")
        return pq.read_table(path, filesystem=system)

    @property
    def failures(self) -> pa.Table:
        """The rows of the clips that have failed."""
        import pyarrow.compute as pc

        clips = self.clips
        return clips.filter(pc.equal(clips["status"], "failed"))

    @property
    def frames(self) -> pyarrow.dataset.Dataset:
        """One row a frame and face, of all clips; read what you need: `.to_table(columns=…, filter=…)`."""
        return self._data_set("frames")

    @property
    def speech(self) -> pyarrow.dataset.Dataset:
        """One row a hop of the voice, of all clips."""
        return self._data_set("speech")

    @property
    def segments(self) -> pyarrow.dataset.Dataset:
        """One row a stretch with one label, a turn of speech, a blink or a shot, of all clips."""
        return self._data_set("segments")

    def _data_set(self, name: str) -> pyarrow.dataset.Dataset:
        from pyarrow import dataset

        system, path = self._place(name)
        return dataset.dataset(path, filesystem=system, format="parquet")

    def _place(self, name: str) -> tuple[Any, str]:
        """The file system of fsspec (None for this machine's own), and the path of one of the joint tables in it."""
        place = f"{self.out}/{CORPUS}/{name}"
        if not is_address(place):
            return None, place
        system, path = file_system(place)
        system.invalidate_cache()
        return system, path

    def to_pandas(self) -> Any:
        """`clips` as a pandas data frame."""
        return self.clips.to_pandas()

    def __repr__(self) -> str:
        return f"<bimodal.CorpusResult {str(self.out)!r}: {sentence(self.count)}>"
