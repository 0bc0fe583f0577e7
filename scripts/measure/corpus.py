"""Measure corpora: claims a second of the coordinator without any work, memory, and pace and CPU beside `analyze`.

python -m scripts.measure.corpus [--clips 100000] [--short 24] [--repeats 2] [--before CHECKOUT]
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from bimodal.broker.control import ProcessReport
from bimodal.child_process import child_environment, python_command
from bimodal.config import Config
from bimodal.corpus.claims import claimed
from bimodal.corpus.journal import JournalWriter
from bimodal.corpus.local import Coordinator
from bimodal.corpus.messages import Done
from bimodal.corpus.rows import ClipRow
from bimodal.corpus.run import CorpusRequest, Run
from bimodal.workers.demo import DEMO

TABLE = "frames/pictures/none.parquet"


class NoWork:
    """An engine that claims and journals every clip, and does nothing with it."""

    name = "none"

    def __init__(self, run: Run) -> None:
        self._corpus = run.corpus
        self._journal = JournalWriter(run.corpus)

    def run(self, coordinator: Coordinator, on_turn: Callable[[], None]) -> None:
        """Take every task, and answer it at once."""
        while not coordinator.finished():
            for _ in range(100):
                task = coordinator.next_task()
                if task is None:
                    break
                item = task.items[0]
                with claimed(self._corpus, item.place):
                    row = ClipRow(
                        clip=item.place,
                        source=item.source,
                        file=item.file,
                        kind="clip",
                        status="done",
                        bytes=item.bytes,
                        mtime_ns=item.mtime_ns,
                        table=TABLE,
                    )
                    self._journal.append([row])
                coordinator.on_done(Done(number=task.number, rows=(row,)))
            on_turn()

    def reports(self) -> tuple[ProcessReport, ...]:
        """No workers."""
        return ()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def coordinator(clips: int, folder: Path) -> dict[str, float]:
    """Claims a second and memory of a run over `clips` empty files."""
    study, out = folder / "study", folder / "out"
    for number in range(clips):
        path = study / f"p{number // 1000:04}" / f"{number:06}.mp4"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    (out / "corpus" / TABLE).parent.mkdir(parents=True)
    run = Run(CorpusRequest(given=(str(study),), out=str(out)), Config())
    before, begun = memory_mb(), time.monotonic()
    run.plan()
    planned, planned_mb = time.monotonic() - begun, memory_mb()
    pq.write_table(pa.table({"clip": pa.array([], pa.string())}), out / "corpus" / TABLE)
    begun, cpu = time.monotonic(), time.process_time()
    run.work(NoWork(run))
    took, cpu_s = time.monotonic() - begun, time.process_time() - cpu
    run.close()
    return {
        "clips": clips,
        "plan_s": round(planned, 1),
        "claims_per_s": round(clips / took),
        "cpu_ms_per_clip": round(1000 * cpu_s / clips, 3),
        "memory_before_mb": round(before, 1),
        "memory_planned_mb": round(planned_mb, 1),
        "memory_mb": round(memory_mb(), 1),
    }


def analyse(arguments: list[str], out: Path, checkout: Path | None = None) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds and frames of one `bimodal analyze`, of this checkout or another."""
    shutil.rmtree(out, ignore_errors=True)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = python_command("bimodal", "analyze", *arguments, "--out", str(out))
    env = child_environment({"PYTHONPATH": str(checkout.absolute())} if checkout is not None else None)
    subprocess.run(command, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    frames = sum(path.read_bytes().count(b"\n") for path in out.rglob("*.jsonl") if "speech" not in path.name)
    journal = sum(path.read_bytes().count(b"\n") for path in (out / "corpus").rglob("journal/*.jsonl"))
    return time.monotonic() - begun, cpu, frames - journal


def cut(path: Path, seconds: float) -> None:
    """Write the first seconds of the demo clip, without coding it again."""
    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.time_base and packet.dts * packet.time_base < seconds:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)


def beside_analyze(folder: Path, clips: int, repeats: int, before: Path | None) -> dict[str, float]:
    """Pace and CPU of a corpus of short clips beside the same files eight at a time, in turn (A B A B), and of the
    same corpus with the checkout `before`, where there is one."""
    study, out = folder / "short", folder / "results"
    study.mkdir()
    for number in range(clips):
        cut(study / f"{number:03}.mp4", 0.5 + 3.5 * number / max(1, clips - 1))
    files = sorted(map(str, study.iterdir()))
    totals = {"files": [0.0, 0.0, 0.0], "corpus": [0.0, 0.0, 0.0]}
    if before is not None:
        totals["before"] = [0.0, 0.0, 0.0]
    for _ in range(repeats):
        for begin in range(0, clips, 8):
            found = analyse(files[begin : begin + 8], out)
            totals["files"] = [a + b for a, b in zip(totals["files"], found, strict=True)]
        for name in ("before", "corpus"):
            if name in totals:
                found = analyse([str(study)], out, before if name == "before" else None)
                totals[name] = [a + b for a, b in zip(totals[name], found, strict=True)]
    pace = {name: frames / wall for name, (wall, _, frames) in totals.items()}
    cpu = {name: 1000 * used / frames for name, (_, used, frames) in totals.items()}
    figures = {f"{name}_frames_per_s": round(value, 1) for name, value in pace.items()}
    figures |= {f"{name}_cpu_ms_per_frame": round(value, 1) for name, value in cpu.items()}
    for name in totals.keys() - {"corpus"}:
        figures[f"pace_ratio_to_{name}"] = round(pace["corpus"] / pace[name], 2)
        figures[f"cpu_ratio_to_{name}"] = round(cpu["corpus"] / cpu[name], 2)
    return figures


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--short", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--before", type=Path, help="another checkout, whose corpus is measured in the same run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.clips:
            print(msgspec.json.encode(coordinator(given.clips, Path(scratch))).decode(), flush=True)
        if given.short:
            print(msgspec.json.encode(beside_analyze(Path(scratch), given.short, given.repeats, given.before)).decode())


if __name__ == "__main__":
    main()
