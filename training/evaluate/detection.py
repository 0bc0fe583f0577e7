"""Evaluate face detection: recall and false positives on composed pictures, and on pictures annotated as WIDER Face.

A detection counts for a face where their boxes overlap by MATCH and neither is taken; boxes of different detectors
follow different conventions, so the threshold is low.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.detections import overlap
from bimodal.models.faces.locate import FaceLocator
from bimodal.models.session import open_artifact
from bimodal.training.datasets.items import files_under
from bimodal.training.datasets.video import FaceFinder, frames_of
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import find_model
from bimodal.training.evaluate.scenes import (
    CONDITIONS,
    Box,
    Cutout,
    background,
    compose,
    fer_cutout,
    frame_cutout,
)

MATCH = 0.3
CUTOUT_INTERVAL_S = 1.0
SMALLEST_CUTOUT = 60
"""Faces of clips that are cut out are at least this large, in pixels."""
MOST_CUTOUTS = 200
WIDER_SIZES = ((0, 16), (16, 32), (32, 64), (64, 128), (128, 100_000))

Picture = NDArray[np.uint8]
Find = Callable[[Picture], Sequence[Box]]


class Found(msgspec.Struct, frozen=True):
    """Figures of one detector under one condition.

    Attributes:
        faces, found: number of faces, and of those found.
        false: detections that are no face.
        pictures: number of pictures.
        milliseconds: mean CPU time of a picture.
    """

    faces: int
    found: int
    false: int
    pictures: int
    milliseconds: float

    @property
    def recall(self) -> float:
        """Share of the faces found; 1 without faces."""
        return self.found / self.faces if self.faces else 1.0


@dataclass(frozen=True)
class Labelled:
    """A picture and the boxes of the faces in it; `ignored` ones count neither way."""

    picture: Picture
    boxes: Sequence[Box]
    ignored: Sequence[Box] = ()


def matches(boxes: Sequence[Box], found: Sequence[Box]) -> list[int | None]:
    """The detection of each face, best overlaps first, each taken once; None for a face that is not found."""
    pairs = sorted(
        (
            (-overlap(box, other), row, column)
            for row, box in enumerate(boxes)
            for column, other in enumerate(found)
            if overlap(box, other) >= MATCH
        ),
    )
    taken: dict[int, int] = {}
    for _, row, column in pairs:
        if row not in taken and column not in taken.values():
            taken[row] = column
    return [taken.get(row) for row in range(len(boxes))]


def measure(find: Find, pictures: Iterable[Labelled]) -> Found:
    """Run a detector over pictures."""
    faces = found = false = count = 0
    spent = 0.0
    for one in pictures:
        begun = time.process_time()
        boxes = find(one.picture)
        spent += time.process_time() - begun
        matched = matches(one.boxes, boxes)
        rest = [box for place, box in enumerate(boxes) if place not in matched]
        excused = [place for place in matches(one.ignored, rest) if place is not None]
        faces, found = faces + len(one.boxes), found + sum(place is not None for place in matched)
        false += len(rest) - len(excused)
        count += 1
    return Found(faces, found, false, count, 1000 * spent / max(1, count))


# Detectors


def our_finder(detector: str, min_size: float, max_faces: int = 64) -> Find:
    """Detection as a face worker does it: a detector, close looks, landmarks."""
    artifacts = [open_artifact(find_model(name), provider="cpu") for name in (detector, "facemesh-468")]
    locate = FaceLocator(artifacts[0], artifacts[1], min_size=min_size, max_faces=max_faces)
    return lambda picture: [box_of(one.face.row) for one in locate(picture)]


def box_of(row: Sequence[float]) -> Box:
    """The box of a row."""
    return row[0], row[1], row[2], row[3]


def opencv_finder(path: Path) -> Find:
    """OpenCV's FaceDetectorYN with a YuNet file as its authors publish it, at full size and its default threshold."""
    try:
        detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, 0.3)
    except cv2.error as error:
        raise DatasetError(f"{path} can't be opened by OpenCV's FaceDetectorYN") from error

    def find(picture: Picture) -> list[Box]:
        detector.setInputSize((picture.shape[1], picture.shape[0]))
        _, rows = detector.detect(np.ascontiguousarray(picture[..., ::-1]))
        return [] if rows is None else [box_of([float(value) for value in row]) for row in rows]

    return find


def mediapipe_finder(path: Path) -> Find:
    """MediaPipe Tasks' face detector with its own model file; its package is no dependency of this one."""
    import mediapipe as mp  # type: ignore[import-not-found]

    options = mp.tasks.vision.FaceDetectorOptions(base_options=mp.tasks.BaseOptions(model_asset_path=str(path)))
    detector = mp.tasks.vision.FaceDetector.create_from_options(options)

    def find(picture: Picture) -> list[Box]:
        seen = detector.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture)))
        boxes = [one.bounding_box for one in seen.detections]
        return [(box.origin_x, box.origin_y, box.width, box.height) for box in boxes]

    return find


def haar_finder(path: Path) -> Find:
    """The Haar cascade that the package `fer` uses, with its settings; needs an OpenCV that still has cascades."""
    if not hasattr(cv2, "CascadeClassifier"):
        raise DatasetError(f"this OpenCV ({cv2.__version__}) has no cascades: measure {path} with OpenCV 4")
    cascade = cv2.CascadeClassifier(str(path))

    def find(picture: Picture) -> list[Box]:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return [box_of([float(v) for v in row]) for row in cascade.detectMultiScale(grey, 1.1, 5, minSize=(24, 24))]

    return find


PEERS: Mapping[str, Callable[[Path], Find]] = {
    "opencv": opencv_finder,
    "mediapipe": mediapipe_finder,
    "haar": haar_finder,
}
"""Detectors of others by the word of --peer, each made from its model file."""


# Pictures


def cutouts_of(folder: Path) -> list[Cutout]:
    """Cut faces out of a folder: pictures of 48×48 pixels as in FER2013, and clips.

    Raises DatasetError if there is none.
    """
    found: list[Cutout] = []
    finder = FaceFinder()
    for path in files_under(folder, "video"):
        for _, frame in frames_of(path, CUTOUT_INTERVAL_S):
            points = finder(frame)
            if points is None:
                continue
            left, top = points[:, :2].min(axis=0).tolist()
            right, bottom = points[:, :2].max(axis=0).tolist()
            if max(right - left, bottom - top) >= SMALLEST_CUTOUT:
                found.append(frame_cutout(frame, (left, top, right - left, bottom - top)))
    pictures = list(files_under(folder, "picture"))
    for path in pictures[:: max(1, len(pictures) // MOST_CUTOUTS)]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is not None and grey.shape == (48, 48):
            found.append(fer_cutout(np.asarray(grey, np.uint8)))
    if not found:
        raise DatasetError(f"{folder} holds no clip with a face, and no face of 48×48 pixels as in FER2013")
    return found


def composed(cutouts: Sequence[Cutout], name: str, count: int) -> Iterator[Labelled]:
    """Compose `count` pictures of a condition of CONDITIONS, the same ones every time."""
    place = list(CONDITIONS).index(name)
    for number in range(count):
        scene = compose(cutouts, CONDITIONS[name], np.random.default_rng((place, number)))
        yield Labelled(scene.picture, scene.boxes)


def empty(count: int) -> Iterator[Labelled]:
    """Draw `count` pictures without a face."""
    for number in range(count):
        yield Labelled(background(np.random.default_rng((99, number))), ())


def wider_pictures(annotations: Path, folder: Path) -> Iterator[Labelled]:
    """Read pictures annotated in WIDER Face's own form (wider_face_val_bbx_gt.txt): path, number of faces, and a line
    `x y width height blur expression illumination invalid occlusion pose` for each. Invalid faces are ignored.

    Raises DatasetError where a line or a picture can't be read.
    """
    try:
        lines = iter(annotations.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{annotations} can't be read: {error}") from error
    for name in lines:
        try:
            count = int(next(lines))
            rows = [[float(value) for value in next(lines).split()] for _ in range(max(1, count))]
        except (StopIteration, ValueError) as error:
            raise DatasetError(f"{annotations} is not in WIDER Face's form after '{name}'") from error
        picture = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        if picture is None:
            raise DatasetError(f"{folder / name} can't be read as a picture")
        valid = [row for row in rows[:count] if min(row[2:4]) > 0]
        invalid = [box_of(row) for row in valid if len(row) > 7 and row[7]]
        boxes = [box_of(row) for row in valid if not (len(row) > 7 and row[7])]
        yield Labelled(np.ascontiguousarray(picture[..., ::-1]), boxes, invalid)


def by_size(pictures: Sequence[Labelled]) -> dict[str, list[Labelled]]:
    """The pictures with the faces of one size each, as WIDER_SIZES; faces of other sizes are ignored."""
    rows = {}
    for low, high in WIDER_SIZES:
        name = f"WIDER, {low} to {high} px" if high < WIDER_SIZES[-1][1] else f"WIDER, {low} px and more"
        rows[name] = [
            Labelled(
                one.picture,
                [box for box in one.boxes if low <= max(box[2:]) < high],
                [*one.ignored, *(box for box in one.boxes if not low <= max(box[2:]) < high)],
            )
            for one in pictures
        ]
    return rows


# The whole evaluation


def finders_of(models: Sequence[str], peers: Sequence[str], min_size: int) -> dict[str, Find]:
    """Detectors by name: ours as a face worker runs them, and others as `NAME=FILE`.

    Raises DatasetError for an unknown peer or one that can't run here.
    """
    found: dict[str, Find] = {name: our_finder(name, min_size) for name in models}
    for word in peers:
        name, _, file = word.partition("=")
        if name not in PEERS or not file:
            raise DatasetError(f"--peer '{word}' must be one of {', '.join(f'{peer}=FILE' for peer in PEERS)}")
        if not Path(file).is_file():
            raise DatasetError(f"there is no file {file}")
        try:
            found[name] = PEERS[name](Path(file))
        except ImportError as error:
            raise DatasetError(
                f"--peer {name} needs the package {error.name}: install it into this environment"
            ) from error
    return found


def evaluate(
    finders: Mapping[str, Find],
    faces: Path | None,
    wider: tuple[Path | None, Path | None],
    *,
    count: int,
    blank: int,
) -> dict[str, dict[str, Found]]:
    """Run all detectors on all pictures: figures by condition, then by detector. Every detector sees the same pictures.

    Raises DatasetError where faces or annotations can't be read, or neither is given.
    """
    annotations, folder = wider
    if (annotations is None) != (folder is None):
        raise DatasetError("--wider and --pictures belong together: the annotations, and the folder of the pictures")
    if faces is None and annotations is None:
        raise DatasetError("say whose faces to put into pictures with --faces, or name pictures with --wider")
    found: dict[str, dict[str, Found]] = {}
    if faces is not None:
        cutouts = cutouts_of(faces)
        for name in CONDITIONS:
            found[name] = {who: measure(find, composed(cutouts, name, count)) for who, find in finders.items()}
    if annotations is not None and folder is not None:
        for name, pictures in by_size(list(wider_pictures(annotations, folder))).items():
            found[name] = {who: measure(find, pictures) for who, find in finders.items()}
    if blank:
        found["no face"] = {who: measure(find, empty(blank)) for who, find in finders.items()}
    return found


DRAWN = "24 to 60 px beside a close-up"
FOUND, MISSED, FALSE = (40, 200, 60), (230, 60, 40), (250, 200, 40)


def draw(find: Find, cutouts: Sequence[Cutout], path: Path) -> None:
    """Write a composed picture with what a detector says of it: found faces green, missed ones red, false ones yellow.

    Raises DatasetError where the file can't be written.
    """
    (one,) = composed(cutouts, DRAWN, 1)
    boxes = find(one.picture)
    matched = matches(one.boxes, boxes)
    picture = one.picture.copy()
    marks = [(box, FALSE) for place, box in enumerate(boxes) if place not in matched]
    marks += [
        (box, MISSED) if place is None else (boxes[place], FOUND) for box, place in zip(one.boxes, matched, strict=True)
    ]
    for (x, y, width, height), colour in marks:
        cv2.rectangle(picture, (round(x), round(y)), (round(x + width), round(y + height)), colour, 2)
    try:
        written = cv2.imwrite(str(path), picture[..., ::-1])
    except cv2.error:  # an ending that is no picture's
        written = False
    if not written:
        raise DatasetError(f"{path} can't be written: name a .png or .jpg in a folder that is there")


def table(found: Mapping[str, Mapping[str, Found]]) -> Iterator[str]:
    """The figures as a Markdown table: recall, false positives, CPU milliseconds a picture."""
    names = list(next(iter(found.values())))
    yield "| condition | faces | " + " | ".join(f"{name}: recall, false, ms" for name in names) + " |"
    yield "|---" * (2 + len(names)) + "|"
    for condition, row in found.items():
        figures = [f"{one.recall:.3f}, {one.false}, {one.milliseconds:.1f}" for one in row.values()]
        yield f"| {condition} | {next(iter(row.values())).faces} | " + " | ".join(figures) + " |"
