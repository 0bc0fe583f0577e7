"""Measure what compressing frames for workers on other machines costs: bytes, CPU, and how the answers differ.

python -m scripts.measure.pixels [--frames 60] [--regions] [CLIP …]

Without clips it takes the demo. The same models look at every frame as it is, and as it comes out of each encoding.
With --regions it measures instead what would be left to send if a worker were given the places of known faces only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

import bimodal
from bimodal.api.detector import Face
from bimodal.broker.messages import Encoding
from bimodal.broker.pixels import decode, encode
from bimodal.models.faces.detections import overlap
from bimodal.workers.demo import DEMO

TRIED: tuple[tuple[Encoding, int], ...] = (
    ("jpeg", 95),
    ("jpeg", 90),
    ("jpeg", 80),
    ("jpeg", 60),
    ("webp", 90),
    ("webp", 75),
)
SAME_FACE = 0.5
"""Overlap of two boxes from which on they are of one face."""


class Difference(msgspec.Struct, kw_only=True):
    """How answers for compressed frames differ from those for the frames as they are.

    Attributes:
        faces, lost, added: in the frames as they are; of these not found again; found in addition.
        other_label: faces whose most probable emotion is another one.
        changes: sum over emotions of the absolute difference, halved, of each face (0 equal … 1 nothing in common).
        overlaps: of each face's two boxes, 0…1.
        bytes, raw_bytes, encode_s, decode_s: of all frames.
    """

    frames: int = 0
    faces: int = 0
    lost: int = 0
    added: int = 0
    other_label: int = 0
    changes: list[float] = []
    overlaps: list[float] = []
    bytes: int = 0
    raw_bytes: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0

    def add(self, before: Sequence[Face], after: Sequence[Face]) -> None:
        """Compare the faces of one frame."""
        left = list(after)
        self.frames += 1
        self.faces += len(before)
        for face in before:
            best = max(left, key=lambda other: overlap(face.box, other.box), default=None)
            if best is None or overlap(face.box, best.box) < SAME_FACE:
                self.lost += 1
                continue
            left.remove(best)
            self.overlaps.append(overlap(face.box, best.box))
            self.other_label += face.label != best.label
            kinds = face.probabilities.keys() | best.probabilities.keys()
            apart = (abs(face.probabilities.get(kind, 0) - best.probabilities.get(kind, 0)) for kind in kinds)
            self.changes.append(sum(apart) / 2)
        self.added += len(left)

    def row(self, name: str) -> str:
        """One line of the table."""
        changes, overlaps = self.changes or [0.0], self.overlaps or [1.0]
        cells = (
            name,
            f"{self.raw_bytes / max(1, self.bytes):.1f} ×",
            f"{self.bytes / self.frames / 1000:.0f} kB",
            f"{1e3 * self.encode_s / self.frames:.2f}",
            f"{1e3 * self.decode_s / self.frames:.2f}",
            f"{self.lost} + {self.added} of {self.faces}",
            f"{100 * self.other_label / max(1, len(self.changes)):.1f} %",
            f"{np.mean(changes):.3f} / {np.quantile(changes, 0.95):.3f}",
            f"{np.mean(overlaps):.3f}",
        )
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| encoding | smaller | a frame | encode, ms of CPU | decode, ms of CPU | faces lost + added | other label "
    "| difference of probabilities, mean / 95 % | overlap of boxes |"
)


def frames_of(clip: Path, most: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of a clip, evenly over it: uint8 [H, W, 3] RGB."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        every = max(1, (stream.frames or most) // most)
        for number, frame in enumerate(container.decode(stream)):
            if number % every == 0 and number // every < most:
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def compare(clips: Sequence[Path], most: int) -> dict[tuple[Encoding, int], Difference]:
    """Look at the frames of clips in every way."""
    found = {way: Difference() for way in TRIED}
    with bimodal.Detector({"models": {"speech": "none", "face-details": "none"}}) as detector:
        for clip in clips:
            for picture in frames_of(clip, most):
                before = detector.faces(picture)
                for (encoding, quality), difference in found.items():
                    begun = time.thread_time()
                    data = encode(picture, encoding, quality)
                    encoded = time.thread_time()
                    back = decode(data, picture.shape)
                    difference.decode_s += time.thread_time() - encoded
                    difference.encode_s += encoded - begun
                    difference.bytes += len(data)
                    difference.raw_bytes += picture.nbytes
                    difference.add(before, detector.faces(back))
    return found


# What it would save to send the places of known faces only.


class Share(msgspec.Struct, kw_only=True):
    """Bytes of the whole frames of a clip as `auto` sends them, and of the places of their faces likewise."""

    name: str
    shape: tuple[int, ...] = ()
    frames: int = 0
    faces: int = 0
    whole: int = 0
    parts: int = 0

    def row(self) -> str:
        """One line of the table."""
        whole, parts = (size / max(1, self.frames) for size in (self.whole, self.parts))
        cells = (
            self.name,
            f"{self.shape[1]}×{self.shape[0]}" if self.shape else "",
            f"{self.faces / max(1, self.frames):.1f}",
            f"{whole / 1000:.1f} kB",
            f"{parts / 1000:.1f} kB",
            f"{whole / parts:.1f} ×" if parts else "–",
            f"{LINE_BYTES_S / whole:.0f}" if whole else "–",
            f"{LINE_BYTES_S / parts:.0f}" if parts else "–",
        )
        return f"| {' | '.join(cells)} |"


SHARE_HEAD = (
    "| clip | frame | faces | whole frame | places of faces | smaller | whole frames a second at 100 Mbit/s "
    "| places a second |"
)
LINE_BYTES_S = 100e6 / 8
MOST_HEIGHT = 720
"""`capture.max_height`."""
ROOM = 2.0
"""A place is a square of so many times the longer side of a face's box: the mesh looks at 1.5 times, and faces move."""


def place_of(box: Sequence[float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a frame that are sent of a face."""
    x, y, width, height = box
    half = ROOM * max(width, height) / 2
    return tuple(  # type: ignore[return-value]
        slice(max(0, round(middle - half)), min(most, round(middle + half)))
        for middle, most in ((y + height / 2, shape[0]), (x + width / 2, shape[1]))
    )


def shares(clips: Sequence[Path], most: int, encoding: Encoding = "jpeg", quality: int = 90) -> Iterator[Share]:
    """Compress the frames of clips whole, and the places of their faces alone; then all clips together."""
    total = Share(name="all")
    with bimodal.Detector({"models": {"speech": "none", "face-details": "none"}}) as detector:
        for clip in clips:
            found = Share(name=clip.name)
            for frame in frames_of(clip, most):
                size = round(frame.shape[1] * MOST_HEIGHT / frame.shape[0]), MOST_HEIGHT
                high = frame.shape[0] > MOST_HEIGHT
                picture = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if high else frame, np.uint8)
                places = [picture[place_of(face.box, picture.shape)] for face in detector.faces(picture)]
                found.shape = picture.shape
                for one in (found, total):
                    one.frames += 1
                    one.faces += len(places)
                    one.whole += len(encode(picture, encoding, quality))
                    one.parts += sum(len(encode(np.ascontiguousarray(place), encoding, quality)) for place in places)
            yield found
    yield total


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.measure.pixels", description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path, default=[DEMO])
    parser.add_argument("--frames", type=int, default=60, help="of each clip")
    parser.add_argument("--regions", action="store_true", help="what sending the places of faces only would save")
    arguments = parser.parse_args()
    if arguments.regions:
        print(f"{SHARE_HEAD}\n|{'---|' * 8}")
        for share in shares(arguments.clips, arguments.frames):
            print(share.row(), flush=True)
        return
    print(f"{HEAD}\n|{'---|' * 9}")
    for (encoding, quality), difference in compare(arguments.clips, arguments.frames).items():
        print(difference.row(f"{encoding} {quality}"))


if __name__ == "__main__":
    main()
