"""CPU of the face pipeline a frame, by what the frames show, as a line of JSON; of this checkout or an older one.

Run: python scripts/measure/frame_costs.py [CLIP], with the checkout to be measured as working folder and PYTHONPATH.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np

SIZE = (1280, 720)
FRAMES, FRAME_NS = 120, 33_333_333
NOISE = 4.0
"""Deviation of the noise of each pixel, in grey levels: a webcam in a room at night."""


def main() -> None:
    """Print CPU milliseconds a frame by case."""
    cv2.setNumThreads(1)
    from bimodal.workers.demo import DEMO

    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO
    moving = [_filled(frame) for frame in _frames(clip)]
    wall = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    cases: dict[str, Sequence[Any]] = {
        "an empty room": list(_noisy(wall)),
        "one close face, still": list(_noisy(moving[0])),
        "one close face, moving": moving,
    }
    found = {f"live, {name}": _live(frames) for name, frames in cases.items()}
    found |= {f"a file, {name}": _file(frames[:: max(1, len(frames) // 12)]) for name, frames in cases.items()}
    print(json.dumps(found))


def _pipeline() -> Any:
    from bimodal.models.catalog import resolve
    from bimodal.models.session import open_artifact
    from bimodal.workers.face.pipeline import FacePipeline
    from bimodal.workers.face.settings import FaceSettings

    precision: dict[str, Any] = {"precision": os.environ["PRECISION"]} if "PRECISION" in os.environ else {}
    names = ("yunet-n", "facemesh-468", "face-robust")
    detector, landmarks, static = (open_artifact(resolve(name, **precision), provider="cpu") for name in names)
    return FacePipeline(detector, landmarks, [static], FaceSettings())


def _live(frames: Sequence[Any]) -> float:
    """A live stream of 30 frames a second, with hints as the broker passes them."""
    from bimodal.broker.streams import LastSeen

    pipeline, spent = _pipeline(), 0.0
    last: Any = LastSeen()
    gives_seen = "seen" in inspect.signature(pipeline.look).parameters
    for seq in range(FRAMES):
        frame, pts_ns = frames[seq % len(frames)], seq * FRAME_NS
        hints = last.for_job(SimpleNamespace(modality="face", seq=seq, pts_ns=pts_ns))
        seen = [last.faces if hints is not None else ()] if gives_seen else []
        begun = time.process_time()
        faces, hints = pipeline.look(frame, seq, pts_ns, hints, *seen)
        spent += time.process_time() - begun
        last.remember(SimpleNamespace(seq=seq, hints=hints, faces=tuple(faces)))
    return 1000 * spent / FRAMES


def _file(frames: Sequence[Any]) -> float:
    """A file, each frame by itself."""
    pipeline = _pipeline()
    pipeline(frames[0])
    begun = time.process_time()
    for frame in frames:
        pipeline(frame)
    return 1000 * (time.process_time() - begun) / len(frames)


def _frames(clip: Path) -> Iterator[Any]:
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == FRAMES:
                return
            yield frame.to_ndarray(format="rgb24")


def _filled(frame: Any) -> Any:
    """A picture scaled to the height of 1280×720 pixels, in the middle of a grey one."""
    factor = min(SIZE[0] / frame.shape[1], SIZE[1] / frame.shape[0])
    large = cv2.resize(frame, None, fx=factor, fy=factor)
    picture = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
    left, top = (SIZE[0] - large.shape[1]) // 2, (SIZE[1] - large.shape[0]) // 2
    picture[top : top + large.shape[0], left : left + large.shape[1]] = large
    return picture


def _noisy(picture: Any, count: int = 9) -> Iterator[Any]:
    """A picture as a camera gives it again and again: each time with other noise."""
    random = np.random.default_rng(0)
    for _ in range(count):
        noise = random.normal(0, NOISE, picture.shape)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
