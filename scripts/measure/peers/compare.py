"""The comparison: each program's process, its answers, its speed, and the rows of the tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from bimodal.bench.figures import BenchError
from bimodal.bench.loops import Loop, LoopRun
from bimodal.bench.machine import pss_mib
from bimodal.models.emotions import EMOTIONS, emotion_of
from scripts.measure.peers import environments
from scripts.measure.peers.environments import PEERS
from scripts.measure.peers.pictures import Index, Labelled, faces_in, write

# A picture may take so long before its program counts as hung.
SECONDS_A_PICTURE = 3.0
# TensorFlow and torch take long to load where other things run.
STARTS_WITHIN_S = 600.0

Answer = list[list[dict[str, float]]]


class PeerLoop(Loop):
    """A program's process."""

    def _read_line(self, patience_s: float) -> str:
        return super()._read_line(max(patience_s, STARTS_WITHIN_S))

    def answers(self, count: int) -> Answer:
        """The faces of each of its `count` pictures. Raises BenchError where the process ends."""
        self._write_line("answers")
        line = self._read_line(60 + SECONDS_A_PICTURE * count)
        try:
            return msgspec.json.decode(line, type=Answer)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BenchError(f"{self._what} ended in the middle; the log says why") from error

    @property
    def memory_mib(self) -> float:
        """Memory that it takes now (proportional set size)."""
        return pss_mib(self._process.pid)


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How a program does on a set.

    Attributes:
        count, of: pictures shown, of so many.
        found: share of the pictures in which it found a face.
        accuracy, uar: over all pictures shown; without a face is wrong. None for a program without emotions.
        accuracy_found: over the pictures in which it found a face.
    """

    program: str
    data: str
    count: int
    of: int
    found: float
    accuracy: float | None = None
    uar: float | None = None
    accuracy_found: float | None = None


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a program is on the clip, each value the median of its runs, and with it the lowest and the highest
    number of frames a second."""

    program: str
    frames_per_s: float
    lowest: float
    highest: float
    median_ms: float
    cpu_ms: float
    memory_mib: float
    faces_a_frame: float


def order_of(name: str, pictures: Index, models: Path) -> dict[str, object]:
    """What a program's process is told. Raises BenchError where the file of its model is missing."""
    model = PEERS[name].model
    if model is not None and not (models / model).is_file():
        raise BenchError(f"{name} needs {model}, and there is none in {models}: name its folder with --models")
    return {"pictures": msgspec.to_builtins(pictures), "model": None if model is None else str(models / model)}


def start(name: str, folder: Path, pictures: Index, models: Path, log: Path | None) -> PeerLoop:
    """Start a program's process."""
    return PeerLoop(environments.command(folder, name), order_of(name, pictures, models), what=name, log=log)


def label_of(faces: Sequence[Mapping[str, float]]) -> str | None:
    """The emotion of the largest face; None without a face, or where the program says something else (contempt)."""
    if not faces or not faces[0]:
        return None
    return emotion_of(max(faces[0], key=lambda word: faces[0][word]))


class Shown:
    """A labelled set as programs are shown it: whole pictures, or faces cut out of them."""

    def __init__(self, labelled: Labelled, place: Path) -> None:
        """`place`: beginning of the paths of its files."""
        self.labelled = labelled
        self._place = place
        self._whole: Index | None = None
        self._cut: tuple[Index, frozenset[int]] | None = None

    def to(self, name: str) -> tuple[Index, frozenset[int]]:
        """The pictures for a program, and the places of those that are left out since no face was cut out of them."""
        if not PEERS[name].cut:
            self._whole = self._whole or write(self.labelled.pictures, self._place.with_suffix(".rgb"))
            return self._whole, frozenset()
        if self._cut is None:
            faces = faces_in(self.labelled.pictures)
            index = write((face for face in faces if face is not None), self._place.with_suffix(".faces.rgb"))
            self._cut = index, frozenset(place for place, face in enumerate(faces) if face is None)
        return self._cut


def filled(answers: Answer, missing: Collection[int]) -> Answer:
    """Answers with none in the places of pictures that were left out."""
    left = iter(answers)
    return [[] if place in missing else next(left) for place in range(len(answers) + len(missing))]


def score(name: str, data: Labelled, answers: Answer) -> Score:
    """Compare the answers with the labels."""
    found = sum(map(bool, answers))
    base = Score(program=name, data=data.name, count=len(answers), of=data.of, found=found / len(answers))
    if not PEERS[name].emotions:
        return base
    said = [label_of(faces) for faces in answers]
    right = [one == label for one, label in zip(said, data.labels, strict=True)]
    classes = [emotion for emotion in EMOTIONS if emotion in data.labels]
    recalls = []
    for emotion in classes:
        places = [place for place, label in enumerate(data.labels) if label == emotion]
        recalls.append(sum(right[place] for place in places) / len(places))
    return msgspec.structs.replace(
        base,
        accuracy=sum(right) / len(right),
        uar=sum(recalls) / len(recalls),
        accuracy_found=sum(right) / found if found else None,
    )


def speeds(loops: Mapping[str, PeerLoop], repeats: int, seconds: float, progress: Callable[[str], None]) -> list[Speed]:
    """Run the programs in turn, `repeats` times."""
    runs: dict[str, list[LoopRun]] = {name: [] for name in loops}
    for repeat in range(repeats):
        for name, loop in loops.items():
            progress(f"{name}, {repeat + 1} of {repeats}")
            runs[name].append(loop.run(seconds))
    return [_speed(name, several, loops[name].memory_mib) for name, several in runs.items()]


def _speed(name: str, runs: list[LoopRun], memory_mib: float) -> Speed:
    def median(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    rates = [run.frames_per_s for run in runs]
    return Speed(
        program=name,
        frames_per_s=median(rates),
        lowest=min(rates),
        highest=max(rates),
        median_ms=median([run.median_ms for run in runs]),
        cpu_ms=median([run.cpu_ms for run in runs]),
        memory_mib=memory_mib,
        faces_a_frame=median([run.faces / len(run.latency_ms) for run in runs]),
    )


def each(names: Sequence[str], run: Callable[[str], None], say: Callable[[str], None]) -> list[str]:
    """Run something for each program; one that can't be measured is said, and the others are. Returns those."""
    failed = []
    for name in names:
        try:
            run(name)
        except BenchError as error:
            say(str(error))
            failed.append(name)
    return failed


# Tables in Markdown.


def score_table(scores: Sequence[Score]) -> list[str]:
    """A row for each program and set."""
    lines = [
        "| program | set | pictures | a face found | accuracy | UAR | accuracy where found |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(scores, key=lambda each: (each.data, list(PEERS).index(each.program))):
        shown = f"{one.count:,}" if one.count == one.of else f"{one.count:,} of {one.of:,}"
        values = (one.found, one.accuracy, one.uar, one.accuracy_found)
        cells = [
            PEERS[one.program].what,
            one.data,
            shown,
            *("–" if value is None else f"{value:.1%}" for value in values),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def speed_table(found: Sequence[Speed]) -> list[str]:
    """A row for each program."""
    lines = [
        "| program | frames/s | CPU of a frame | a frame | memory | faces a frame |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {PEERS[one.program].what} | {one.frames_per_s:.1f} ({one.lowest:.1f} – {one.highest:.1f}) | "
            f"{one.cpu_ms:.1f} ms | {one.median_ms:.1f} ms | {one.memory_mib:.0f} MiB | {one.faces_a_frame:.2f} |"
        )
    return lines
