"""`bimodal data prepare`: convert a published data set to a folder with a manifest, pictures and sounds.

Resumable: each finished item is a line of `.prepared.jsonl`, written after its files; a line cut short by a kill is
dropped, and its item is done again. The manifest is written last, in one move.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.session import Artifact
from bimodal.training.datasets.items import Item
from bimodal.training.datasets.manifest import from_row, row_of, write_manifest
from bimodal.training.datasets.ravdess import SAMPLE_RATE, decode
from bimodal.training.datasets.video import INTERVAL_S, FaceCutter, cut_faces
from bimodal.training.errors import DatasetError

JOURNAL = ".prepared.jsonl"
PROBLEMS = "problems.txt"


@dataclass
class Prepared:
    """The result: the items of the new folder, and one sentence for each that failed."""

    items: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def prepare(
    items: Sequence[Item],
    source: Path,
    target: Path,
    *,
    static: Callable[[], Artifact],
    interval_s: float = INTERVAL_S,
    among: EmotionSet = SEVEN,
    done: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """Write every item under `target`, and finally `manifest.csv`.

    Args:
        items: with their splits.
        source: their folder; names under `target` correspond to theirs.
        static: opens the face-static artifact that determines the crop of faces; called only for videos.
        interval_s: seconds between two faces of a video.
        among: the set that their labels are of.
        done: called with the number of finished items, after each.

    Raises DatasetError if `target` holds another data set, or can't be written to.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        journal = _Journal(target, source, interval_s, among)
    except OSError as error:
        raise DatasetError(f"{target} can't be written to: {error.strerror}") from error
    made = Prepared()
    maker = _Maker(source, target, static, interval_s)
    with journal:
        for count, item in enumerate(items, start=1):
            known = journal.known(item)
            if known is None:
                known = maker(item)
                journal.add(item, *known)
            rows, problem = known
            made.items += [replace(row, split=item.split, corpus=item.corpus, own_split=item.own_split) for row in rows]
            made.problems += [problem] if problem else []
            done(count)
    (target / PROBLEMS).unlink(missing_ok=True)
    if made.problems:
        (target / PROBLEMS).write_text("\n".join(made.problems) + "\n", encoding="utf-8")
    if not made.items:
        raise DatasetError(f"nothing of {source} could be prepared; {target / PROBLEMS} says why, one line an item")
    write_manifest(target, made.items, among)
    return made


class _Journal:
    """The finished items, one JSON line each."""

    def __init__(self, target: Path, source: Path, interval_s: float, among: EmotionSet) -> None:
        self._target, self._among = target, among
        self._path = target / JOURNAL
        self._done: dict[str, tuple[list[Item], str]] = {}
        head: dict[str, object] = {"source": str(source.resolve()), "interval_s": interval_s}
        if not among.is_seven:
            head["emotions"] = list(among.emotions)
        whole = self._read(head) if self._path.is_file() else 0
        self._file = self._path.open("r+b" if whole else "wb")
        self._file.seek(whole)
        self._file.truncate()
        if not whole:
            self._write(head)

    def _read(self, head: dict[str, object]) -> int:
        """Read every complete line. Returns the position of their end."""
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].splitlines()
        if not lines:
            return 0
        if json.loads(lines[0]) != head:
            raise DatasetError(
                f"{self._target} was begun with another data set, interval or set of emotions: remove it, or name "
                "another folder"
            )
        for line in lines[1:]:
            entry = json.loads(line)
            rows = [from_row(self._target, row, self._among) for row in entry["rows"]]
            self._done[entry["key"]] = (rows, entry["problem"])
        return whole

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def known(self, item: Item) -> tuple[list[Item], str] | None:
        """Rows and problem of a finished item, if its files still exist; else None."""
        found = self._done.get(str(item.path))
        return found if found is not None and all(row.path.is_file() for row in found[0]) else None

    def add(self, item: Item, rows: Sequence[Item], problem: str) -> None:
        """Record a finished item."""
        table = [row_of(row, self._target, self._among) for row in rows]
        self._write({"key": str(item.path), "rows": table, "problem": problem})

    def _write(self, entry: object) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._file.flush()


class _Maker:
    """Writes the files of items."""

    def __init__(self, source: Path, target: Path, static: Callable[[], Artifact], interval_s: float) -> None:
        self._source, self._target = source, target
        self._static, self._interval_s = static, interval_s
        self._cutter: FaceCutter | None = None

    def __call__(self, item: Item) -> tuple[list[Item], str]:
        """Process an item: (rows, problem); if it fails, rows are empty and the problem says why."""
        try:
            match item.medium:
                case "picture":
                    return [self._picture(item)], ""
                case "sound":
                    return [self._sound(item, item.path)], ""
                case _:
                    return self._video(item)
        except (DatasetError, OSError) as error:
            return [], " ".join(str(error).split())

    def _place(self, item: Item, suffix: str) -> Path:
        try:
            inside = item.path.relative_to(self._source)
        except ValueError:
            inside = Path(hashlib.sha256(str(item.path).encode()).hexdigest()[:8]) / item.path.name
        return self._target / "data" / inside.with_suffix(suffix)

    def _picture(self, item: Item) -> Item:
        suffix = ".png" if item.pixels is not None else item.path.suffix.lower()
        path = self._place(item, suffix)
        if item.pixels is not None:
            write_file(path, png(item.pixels))
        else:
            data = item.path.read_bytes()
            if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
                raise DatasetError(f"{item.path} is no picture")
            write_file(path, data)
        return replace(item, path=path, pixels=None)

    def _sound(self, item: Item, path: Path) -> Item:
        waveform = decode(path)
        place = self._place(item, ".flac")
        write_flac(place, waveform)
        return replace(item, path=place)

    def _video(self, item: Item) -> tuple[list[Item], str]:
        if self._cutter is None:
            self._cutter = FaceCutter(self._static())
        clip = item.path.relative_to(self._source).with_suffix("").as_posix()
        folder = self._place(item, "")
        rows = []
        for cut in cut_faces(item.path, self._cutter, self._interval_s):
            path = folder / f"{round(cut.time_s * 1000):07d}.png"
            write_file(path, png(cut.face))
            rows.append(replace(item, path=path, clip=clip, time_s=cut.time_s))
        problems = [] if rows else [f"{item.path}: no face was found in it"]
        try:
            rows.append(replace(self._sound(item, item.path), clip=clip))
        except DatasetError as error:
            problems.append(str(error))
        return rows, "; ".join(problems)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode grey [H, W] or RGB [H, W, 3] as PNG."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".png", ordered)[1])


def write_file(path: Path, data: bytes) -> None:
    """Write a file in one move: it gets its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)


def write_flac(path: Path, waveform: NDArray[np.float32]) -> None:
    """Write float32 [S] at 16 kHz as 16-bit mono FLAC, in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.new.flac")
    samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)[None]
    with av.open(str(fresh), "w") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        for start, part in _blocks(samples):
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.rate, frame.pts = SAMPLE_RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    fresh.replace(path)


def _blocks(samples: NDArray[np.int16], size: int = 4096) -> Iterable[tuple[int, NDArray[np.int16]]]:
    return ((start, samples[:, start : start + size]) for start in range(0, samples.shape[1], size))
