"""MediaPipe's FaceMesh in a loop: a program for another interpreter that has mediapipe 0.10.14.

It follows the protocol of bimodal/bench/loops.py, and imports nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np


def main() -> None:
    """Print "ready", then process frames for as many seconds as each line of stdin says."""
    # Keep what MediaPipe prints from C out of the protocol.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    frames = np.load(order["frames"], mmap_mode="r", allow_pickle=False)
    try:
        mediapipe: Any = importlib.import_module("mediapipe")
        mesh = mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=order["each_anew"], refine_landmarks=False, max_num_faces=1
        )
    except (ImportError, AttributeError) as error:
        print(f"{sys.executable} has no mediapipe 0.10.14: {error}", file=lines)
        return
    seen = 0

    def step() -> int:
        nonlocal seen
        frame = frames[seen % len(frames)]
        seen += 1
        return len(mesh.process(frame).multi_face_landmarks or ())

    step()
    print("ready", file=lines)
    for line in sys.stdin:
        print(json.dumps(turn(step, float(line))), file=lines)


def turn(step: Any, seconds: float) -> dict[str, Any]:
    """Process frames until the time is over, as `turn` in bimodal/bench/loops.py."""
    latency_ms: list[float] = []
    faces = 0
    cpu_s, begun = time.process_time(), time.perf_counter()
    now = begun
    while not latency_ms or now - begun < seconds:
        faces += step()
        before, now = now, time.perf_counter()
        latency_ms.append(1e3 * (now - before))
    cpu_s = time.process_time() - cpu_s
    return {"seconds": now - begun, "cpu_s": cpu_s, "latency_ms": latency_ms, "faces": faces}


if __name__ == "__main__":
    main()
