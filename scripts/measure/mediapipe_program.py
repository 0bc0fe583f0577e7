"""MediaPipe's FaceMesh in a loop: a program for another interpreter, in whose environment mediapipe 0.10.14 is.

It takes part in what bench/looping.py describes, and imports nothing of ours.
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
    """Be ready, and look at frames for as long as each line says."""
    # What MediaPipe prints in C must not stand among the lines.
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

    def look() -> int:
        nonlocal seen
        frame = frames[seen % len(frames)]
        seen += 1
        return len(mesh.process(frame).multi_face_landmarks or ())

    look()
    print("ready", file=lines)
    for line in sys.stdin:
        print(json.dumps(turn(look, float(line))), file=lines)


def turn(look: Any, seconds: float) -> dict[str, Any]:
    """Frame after frame until the time is over, as `turn` in bench/looping.py."""
    latency_ms: list[float] = []
    faces = 0
    cpu_s, begun = time.process_time(), time.perf_counter()
    now = begun
    while not latency_ms or now - begun < seconds:
        faces += look()
        before, now = now, time.perf_counter()
        latency_ms.append(1e3 * (now - before))
    cpu_s = time.process_time() - cpu_s
    return {"seconds": now - begun, "cpu_s": cpu_s, "latency_ms": latency_ms, "faces": faces}


if __name__ == "__main__":
    main()
