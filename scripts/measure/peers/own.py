"""Our own loop beside the other programs: `bimodal.Detector` on one picture after another, without blendshapes."""

from __future__ import annotations

import sys

import cv2
import msgspec

from bimodal.api.detector import Detector
from bimodal.bench.loops import READY, turn
from bimodal.errors import BimodalError
from scripts.measure.peers.pictures import Index, Picture, read

CONFIG = {"models": {"face-details": "none", "speech": "none"}}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The pictures; `model` is for others."""

    pictures: Index
    model: str | None = None


def main() -> None:
    """Follow the protocol of python_peer.py."""
    lines, sys.stdout = sys.stdout, sys.stderr
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    pictures = read(order.pictures)
    cv2.setNumThreads(1)
    seen = 0
    try:
        detector = Detector(CONFIG)
    except BimodalError as error:
        print(error, file=lines, flush=True)
        return

    def look(picture: Picture) -> list[dict[str, float]]:
        faces = sorted(detector.faces(picture), key=lambda face: -face.box[2] * face.box[3])
        return [dict(face.probabilities) for face in faces]

    def step() -> int:
        nonlocal seen
        seen += 1
        return len(look(pictures[(seen - 1) % len(pictures)]))

    step()
    print(READY, file=lines, flush=True)
    for line in sys.stdin:
        if line.strip() == "answers":
            said = msgspec.json.encode([look(picture) for picture in pictures])
        else:
            said = msgspec.json.encode(turn(step, float(line)))
        print(said.decode(), file=lines, flush=True)


if __name__ == "__main__":
    main()
