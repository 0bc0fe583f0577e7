"""Measure who is who: composed clips whose people are known, through `bimodal analyze`, against the tracks it gives."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.child_process import child_environment, python_command
from bimodal.training.errors import DatasetError, TrainingError

WIDTH, HEIGHT = 640, 360
FACE = 110
"""Side of a face's box, in pixels, at size 1."""
MARGIN = 1.7
"""Side of what is pasted, in sides of the box."""
PORTRAIT = Path(__file__).parents[2] / "workers" / "demo" / "portrait.jpg"
LEAST_OVERLAP = 0.3

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]


class Place(NamedTuple):
    """Where a person is: centre of the face in pixels, size of it (1 is FACE), and who is in front (higher)."""

    x: float
    y: float = HEIGHT / 2
    size: float = 1.0
    front: int = 0


class Scene(NamedTuple):
    """A composed clip.

    Attributes:
        who: the people's places by their number, at a time in seconds.
        people: how many different people are in it.
        apart: number of tracks that is right without an identity model (each return after a cut is a new one).
        shot: number of the background at a time: another one is a cut.
        hidden: columns that a pillar covers, or none.
    """

    name: str
    seconds: float
    fps: float
    who: Callable[[float], Mapping[int, Place]]
    people: int
    apart: int
    shot: Callable[[float], int] = lambda _: 0
    hidden: tuple[int, int] | None = None


def _steady(t: float) -> dict[int, Place]:
    return {0: Place(170 + 8 * math.sin(2 * t)), 1: Place(470, 180 + 6 * math.sin(3 * t), 0.9)}


def _crossing(t: float) -> dict[int, Place]:
    way = 340 * min(1.0, t / 4.0)
    return {0: Place(150 + way, 175, 1.1, front=1), 1: Place(490 - way, 185, 0.9)}


def _turning_back(t: float) -> dict[int, Place]:
    """Two meet in the middle and go back."""
    way = 150 * math.sin(math.pi * min(1.0, t / 4.0))
    return {0: Place(150 + way, 175, 1.0, front=1), 1: Place(490 - way, 185, 1.0)}


def _pillar(t: float) -> dict[int, Place]:
    return {0: Place(90 + 115 * t, 180)}


def _returns(away_s: float) -> Callable[[float], dict[int, Place]]:
    def who(t: float) -> dict[int, Place]:
        return {} if 2.0 <= t < 2.0 + away_s else {0: Place(320 + 10 * math.sin(t))}

    return who


def _cuts(order: Sequence[int]) -> Callable[[float], dict[int, Place]]:
    def who(t: float) -> dict[int, Place]:
        return {order[min(int(t / 1.5), len(order) - 1)]: Place(320 + 4 * math.sin(2 * t))}

    return who


SCENES: tuple[Scene, ...] = (
    Scene("two people, steady", 4.0, 25, _steady, 2, 2),
    Scene("two people cross", 4.0, 25, _crossing, 2, 2),
    Scene("two people meet and turn back", 4.0, 25, _turning_back, 2, 2),
    Scene("two people cross, 5 pictures a second", 4.0, 5, _crossing, 2, 2),
    Scene("one person passes a pillar", 4.0, 25, _pillar, 1, 1, hidden=(270, 360)),
    Scene("one person is away for 0.6 s", 5.0, 25, _returns(0.6), 1, 1),
    Scene("one person is away for 3 s", 7.0, 25, _returns(3.0), 1, 2),
    Scene("three people, two cuts", 4.5, 25, _cuts((0, 1, 2)), 3, 3, shot=lambda t: int(t / 1.5)),
    Scene("two people, shot and reverse shot", 6.0, 25, _cuts((0, 1, 0, 1)), 2, 4, shot=lambda t: int(t / 1.5) % 2),
    Scene("one person, a picture each 4 s", 60.0, 0.25, lambda t: {0: Place(320 + 15 * math.sin(t))}, 1, 1),
)


class TrackFigures(NamedTuple):
    """What the tracks of one scene are worth.

    Attributes:
        people, tracks: how many there are, and how many were given.
        apart: how many tracks are right without an identity model.
        switches: how often a person's number changed while nothing but frames passed (no cut; a return as it is told).
        fragments: how often a person who was in sight had no face, and had one again.
        missed: share of places in sight without a face.
        idf1: identity F1 (Ristani et al. 2016): the share of faces that carry their person's one number.
    """

    name: str
    people: int
    tracks: int
    apart: int
    switches: int
    fragments: int
    missed: float
    idf1: float


def sprites(folder: Path | None) -> list[Pixels]:
    """Pictures of faces, one a person, each a square of MARGIN boxes, uint8 [S, S, 3] RGB.

    Without a folder they are made of the demo's portrait: as it is, mirrored and darker, smaller and reddish.

    Raises DatasetError where a folder has less than three clips or pictures with a face.
    """
    import cv2

    if folder is None:
        picture = np.asarray(cv2.cvtColor(_read(PORTRAIT), cv2.COLOR_BGR2RGB), np.uint8)
        face = picture[5:215, 119:329]
        dark = (face[:, ::-1] * 0.7).astype(np.uint8)
        red = np.clip(face * np.array([1.1, 0.9, 0.8]), 0, 255).astype(np.uint8)
        return [np.ascontiguousarray(one) for one in (face, dark, red)]
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found: list[Pixels] = []
    events = analyzed(files, allow_failures=True)
    for path in files:
        sprite = _sprite_of(path, events.get(path.stem, []))
        if sprite is not None:
            found.append(sprite)
        if len(found) == 3:
            return found
    raise DatasetError(f"{folder} holds {len(found)} files with a close face; three people are needed")


def _sprite_of(path: Path, events: Sequence[Mapping[str, Any]]) -> Pixels | None:
    import av

    wanted = next((event for event in events if len(event["faces"]) == 1), None)
    if wanted is None:
        return None
    x, y, width, height = wanted["faces"][0]["box"]
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == wanted["seq"]:
                pixels = frame.to_ndarray(format="rgb24")
                half = round(max(width, height) * MARGIN / 2)
                row, column = round(y + height / 2), round(x + width / 2)
                part = pixels[max(0, row - half) : row + half, max(0, column - half) : column + half]
                return np.ascontiguousarray(part) if min(part.shape[:2]) > 1.8 * half else None
    return None


def _read(path: Path) -> Any:
    import cv2

    picture = cv2.imread(str(path))
    if picture is None:
        raise DatasetError(f"{path} is no picture")
    return picture


def compose(scene: Scene, people: Sequence[Pixels]) -> tuple[list[Pixels], list[dict[int, Box]]]:
    """The pictures of a scene, and in each the boxes of the people who can be seen (by half at least)."""
    pictures, truths = [], []
    for number in range(max(1, round(scene.seconds * scene.fps))):
        t = number / scene.fps
        picture = background(scene.shot(t))
        boxes: dict[int, Box] = {}
        for person, place in sorted(scene.who(t).items(), key=lambda item: item[1].front):
            _paste(picture, people[person], place)
            boxes = {other: box for other, box in boxes.items() if _covered(box, place) < 0.5}
            boxes[person] = _box(place)
        if scene.hidden is not None:
            picture[:, scene.hidden[0] : scene.hidden[1]] = 60
            boxes = {person: box for person, box in boxes.items() if _behind(box, scene.hidden) < 0.5}
        pictures.append(picture)
        truths.append(boxes)
    return pictures, truths


def background(shot: int) -> Pixels:
    """A wall with soft blotches, another one for each shot."""
    import cv2

    coarse = np.random.default_rng(shot).uniform(70, 200, (5, 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 255), np.uint8)


def _box(place: Place) -> Box:
    side = FACE * place.size
    return place.x - side / 2, place.y - side / 2, side, side


def _covered(box: Box, by: Place) -> float:
    """Share of a box behind the head (an ellipse's box) of somebody in front."""
    x, y, width, height = _box(by)
    across = max(0.0, min(box[0] + box[2], x + width) - max(box[0], x))
    down = max(0.0, min(box[1] + box[3], y + height) - max(box[1], y))
    return across * down / (box[2] * box[3])


def _behind(box: Box, hidden: tuple[int, int]) -> float:
    return max(0.0, min(box[0] + box[2], hidden[1]) - max(box[0], hidden[0])) / box[2]


def _paste(picture: Pixels, sprite: Pixels, place: Place) -> None:
    """Paste a head with a soft, oval edge."""
    import cv2

    side = round(FACE * MARGIN * place.size)
    head = cv2.resize(sprite, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    away = np.hypot((columns - side / 2) / (0.42 * side), (rows - side / 2) / (0.5 * side))
    alpha = np.clip((1.0 - away) * 8, 0.0, 1.0)[..., None]
    top, left = round(place.y - side / 2), round(place.x - side / 2)
    first_row, first_column = max(0, -top), max(0, -left)
    last_row, last_column = min(side, HEIGHT - top), min(side, WIDTH - left)
    if last_row <= first_row or last_column <= first_column:
        return
    part = picture[top + first_row : top + last_row, left + first_column : left + last_column]
    over = alpha[first_row:last_row, first_column:last_column]
    part[:] = (part * (1 - over) + head[first_row:last_row, first_column:last_column] * over).astype(np.uint8)


def write(path: Path, pictures: Sequence[Pixels], fps: float) -> None:
    """Write pictures as Matroska with their times."""
    from fractions import Fraction

    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=max(1, round(fps)), options={"preset": "ultrafast", "crf": "14"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(1000 * number / fps), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def analyzed(
    paths: Sequence[Path], config: Path | None = None, *, allow_failures: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """Run `bimodal analyze` in a process of its own: the events of each file by its stem.

    Raises TrainingError with the command's own message where it fails, unless failures of single files are allowed.
    """
    with tempfile.TemporaryDirectory(prefix="bimodal-tracks-") as scratch:
        command = python_command("bimodal", "analyze", *(str(path.resolve()) for path in paths), "--out", scratch)
        if config is not None:
            command += ["--config", str(config)]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
        if done.returncode and not allow_failures:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise TrainingError(f"the analysis failed: {lines[-1] if lines else done.returncode}")
        results = {path.stem: Path(scratch, f"{path.stem}.jsonl") for path in paths}
        return {
            stem: [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
            for stem, path in results.items()
            if path.is_file()
        }


def measure(scene: Scene, truths: Sequence[Mapping[int, Box]], events: Sequence[Mapping[str, Any]]) -> TrackFigures:
    """Compare the tracks in events with the people who were there."""
    given: list[dict[int, int]] = [
        _matched(truth, event["faces"]) for truth, event in zip(truths, events, strict=False)
    ]
    numbers = {face["track"] for event in events for face in event["faces"]}
    switches = fragments = 0
    places = sum(len(truth) for truth in truths)
    for person in {person for truth in truths for person in truth}:
        last: int | None = None
        lost = False
        for index, (truth, found) in enumerate(zip(truths, given, strict=False)):
            cut = index > 0 and scene.shot(index / scene.fps) != scene.shot((index - 1) / scene.fps)
            if cut or person not in truth:
                # After a cut, or a return that is longer than any memory, a new number is what is to be expected.
                last, lost = (None, False) if cut or scene.apart > scene.people else (last, False)
                continue
            number = found.get(person)
            if number is None:
                lost = last is not None
                continue
            switches += last is not None and number != last
            fragments += lost
            last, lost = number, False
    matched = sum(len(found) for found in given)
    return TrackFigures(
        name=scene.name,
        people=scene.people,
        tracks=len(numbers),
        apart=scene.apart,
        switches=switches,
        fragments=fragments,
        missed=1 - matched / places if places else 0.0,
        idf1=_idf1(given, places, sum(len(event["faces"]) for event in events)),
    )


def _matched(truth: Mapping[int, Box], faces: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The track of each person in one frame: pairs of most overlap first."""
    pairs = sorted(
        ((_overlap(box, tuple(face["box"])), person, face["track"]) for person, box in truth.items() for face in faces),
        reverse=True,
    )
    found: dict[int, int] = {}
    for overlap, person, track in pairs:
        if overlap >= LEAST_OVERLAP and person not in found and track not in found.values():
            found[person] = track
    return found


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def _idf1(given: Sequence[Mapping[int, int]], places: int, faces: int) -> float:
    """2 · IDTP / (places + faces), with the one-to-one pairing of people and tracks that shares the most frames."""
    from scipy.optimize import linear_sum_assignment

    people = sorted({person for found in given for person in found})
    tracks = sorted({track for found in given for track in found.values()})
    if not people or not places + faces:
        return 0.0
    shared = np.zeros((len(people), len(tracks)))
    for found in given:
        for person, track in found.items():
            shared[people.index(person), tracks.index(track)] += 1
    rows, columns = linear_sum_assignment(-shared)
    return float(2 * shared[rows, columns].sum() / (places + faces))


def evaluate_tracks(folder: Path | None = None, config: Path | None = None) -> list[TrackFigures]:
    """Compose every scene, analyse them all in one run, and measure their tracks.

    Args:
        folder: clips or pictures of at least three people; None: people made of the demo's portrait.

    Raises DatasetError as `sprites`, TrainingError as `analyzed`.
    """
    people = sprites(folder)
    with tempfile.TemporaryDirectory(prefix="bimodal-scenes-") as scratch:
        paths, truths = [], []
        for number, scene in enumerate(SCENES):
            pictures, truth = compose(scene, people)
            path = Path(scratch, f"scene-{number}.mkv")
            write(path, pictures, scene.fps)
            paths.append(path)
            truths.append(truth)
        events = analyzed(paths, config)
        return [
            measure(scene, truth, events[path.stem]) for scene, truth, path in zip(SCENES, truths, paths, strict=True)
        ]


def lines_of(figures: Sequence[TrackFigures]) -> list[str]:
    """The figures as lines of a table, with their sums."""
    names = f"{'people':>6} {'tracks':>6} {'right':>6} {'switches':>8} {'fragments':>9} {'missed':>7} {'IDF1':>5}"
    head = f"{'scene':40} {names}"
    rows = [
        f"{one.name:40} {one.people:6} {one.tracks:6} {one.apart:6} {one.switches:8} {one.fragments:9} "
        f"{one.missed:7.1%} {one.idf1:5.2f}"
        for one in figures
    ]
    total = (
        f"{'all':40} {sum(one.people for one in figures):6} {sum(one.tracks for one in figures):6} "
        f"{sum(one.apart for one in figures):6} {sum(one.switches for one in figures):8} "
        f"{sum(one.fragments for one in figures):9}"
    )
    return [head, *rows, total]
