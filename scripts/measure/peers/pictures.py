"""Pictures that every program reads alike: raw RGB in one file, and where each begins."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.api.detector import Detector
from bimodal.bench.figures import BenchError
from bimodal.models.emotions import EMOTIONS
from bimodal.training.datasets.fer2013 import load_fer2013

Picture = NDArray[np.uint8]
T = TypeVar("T")

# A face of 48×48 pixels is shown as a photograph would: four times as large, with a margin for the detectors.
BLOWN_UP, MARGIN = 4, 96
GREY = 128


class Index(msgspec.Struct, frozen=True):
    """The pictures in `path`, uint8 RGB, one after another: height and width of each."""

    path: str
    sizes: tuple[tuple[int, int], ...]


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """A set of labelled faces, one a picture; `of` is how many the whole set has."""

    name: str
    pictures: tuple[Picture, ...]
    labels: tuple[str, ...]
    of: int


def write(pictures: Iterable[Picture], path: Path) -> Index:
    """Write pictures uint8 [H, W, 3] RGB into one file."""
    sizes = []
    with path.open("wb") as file:
        for picture in pictures:
            sizes.append((int(picture.shape[0]), int(picture.shape[1])))
            file.write(np.ascontiguousarray(picture).tobytes())
    return Index(str(path), tuple(sizes))


def read(index: Index) -> list[Picture]:
    """Read what `write` wrote."""
    data, at, found = np.fromfile(index.path, np.uint8), 0, []
    for height, width in index.sizes:
        found.append(data[at : at + height * width * 3].reshape(height, width, 3))
        at += height * width * 3
    return found


def frames_of(clip: Path, count: int) -> list[Picture]:
    """The first frames of a clip; raises BenchError where it has none."""
    capture = cv2.VideoCapture(str(clip))
    found: list[Picture] = []
    while len(found) < count:
        there, bgr = capture.read()
        if not there:
            break
        found.append(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
    capture.release()
    if not found:
        raise BenchError(f"{clip} has no frames that can be read")
    return found


def blown_up(face: Picture) -> Picture:
    """A face [48, 48, 3] enlarged, in the middle of a grey picture."""
    large = cv2.resize(face, None, fx=BLOWN_UP, fy=BLOWN_UP, interpolation=cv2.INTER_CUBIC)
    framed = cv2.copyMakeBorder(large, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(GREY,) * 3)
    return np.asarray(framed, np.uint8)


def labelled_sets(data: Path, limit: int | None) -> list[Labelled]:
    """FER2013's `valid` by the FER+ majority (more than half of the votes, seven emotions), and the press photographs.

    Args:
        data: folder with `fer2013/` and `press_faces/`; what is missing is left out.
        limit: take so many of each set, spread evenly; None takes all.

    Raises BenchError if neither is there.
    """
    found = []
    if (data / "fer2013" / "valid.csv").is_file():
        faces = load_fer2013(data / "fer2013", "valid")
        assert faces.majority is not None
        places = [place for place, label in enumerate(faces.majority.tolist()) if label >= 0]
        chosen = spread(places, limit)
        pictures = tuple(blown_up(np.repeat(faces.pictures[place][..., None], 3, axis=2)) for place in chosen)
        labels = tuple(EMOTIONS[int(faces.majority[place])] for place in chosen)
        found.append(Labelled(name="FER2013 valid", pictures=pictures, labels=labels, of=len(places)))
    manifest = data / "press_faces" / "manifest.csv"
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        some = spread(rows, limit)
        read_all = tuple(_photograph(manifest.parent / row["path"]) for row in some)
        labels = tuple(row["label"] for row in some)
        found.append(Labelled(name="press photographs", pictures=read_all, labels=labels, of=len(rows)))
    if not found:
        raise BenchError(f"{data} holds neither fer2013/valid.csv nor press_faces/manifest.csv")
    return found


# The square that face-api's network reads best, by the longer side of our box.
SQUARE = 1.1


def faces_in(pictures: Sequence[Picture]) -> list[Picture | None]:
    """The largest face of each picture that our own detector finds, cut out as a square; None where it finds none."""
    with Detector({"models": {"face-details": "none", "speech": "none"}}) as detector:
        return [_cut(picture, [face.box for face in detector.faces(picture)]) for picture in pictures]


def _cut(picture: Picture, boxes: Sequence[tuple[float, float, float, float]]) -> Picture | None:
    if not boxes:
        return None
    x, y, width, height = max(boxes, key=lambda box: box[2] * box[3])
    half = SQUARE * max(width, height) / 2
    centre = x + width / 2, y + height / 2
    around = int(half) + 1
    padded = cv2.copyMakeBorder(picture, around, around, around, around, cv2.BORDER_REPLICATE)
    left, top, side = round(centre[0] - half) + around, round(centre[1] - half) + around, max(1, round(2 * half))
    return np.asarray(padded[max(0, top) : top + side, max(0, left) : left + side], np.uint8)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most `limit` items, spread evenly over all."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[place * len(items) // limit] for place in range(limit)]


def _photograph(path: Path) -> Picture:
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise BenchError(f"{path} can't be read as a picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
