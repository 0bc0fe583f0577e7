"""Another program in a loop, for the interpreter of its own environment: `python -I python_peer.py NAME`.

It follows the protocol of bimodal/bench/loops.py with one more request, "answers", and imports nothing of ours. Every
adapter takes a picture, uint8 [H, W, 3] RGB, and gives its faces, the largest first: for each the probabilities of its
emotions by the program's own words; empty for a program that names none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Faces = list[dict[str, float]]
Adapter = Callable[[Any], Faces]


def fer(_order: dict[str, Any]) -> Adapter:
    """fer, as its README uses it: the Haar cascade of OpenCV."""
    from fer.fer import FER

    detector = FER(mtcnn=False)

    def look(picture: Any) -> Faces:
        found = detector.detect_emotions(np.ascontiguousarray(picture[:, :, ::-1]))
        found.sort(key=lambda face: -face["box"][2] * face["box"][3])
        return [{word: float(value) for word, value in face["emotions"].items()} for face in found]

    return look


def mediapipe(order: dict[str, Any]) -> Adapter:
    """MediaPipe's face landmarker, picture by picture; up to ten faces, with blendshapes."""
    import mediapipe as mp  # type: ignore[import-not-found]
    from mediapipe.tasks.python import BaseOptions, vision  # type: ignore[import-not-found]

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=order["model"]), num_faces=10, output_face_blendshapes=True
    )
    landmarker = vision.FaceLandmarker.create_from_options(options)

    def look(picture: Any) -> Faces:
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        return [{} for _ in landmarker.detect(image).face_landmarks]

    return look


def facial_emotion_recognition(_order: dict[str, Any]) -> Adapter:
    """facial-emotion-recognition, as its own loop works: boxes by MTCNN, a grey face each; without its drawing."""
    import cv2
    import torch
    from facial_emotion_recognition import EmotionRecognition

    program = EmotionRecognition(device="cpu")
    words = [program.emotions[place] for place in range(len(program.emotions))]

    def look(picture: Any) -> Faces:
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        boxes, _ = program.mtcnn.detect(bgr)
        found = []
        rows = [] if boxes is None else boxes.round().astype(int).clip(0).tolist()
        for x0, y0, x1, y1 in sorted(rows, key=lambda box: -(box[2] - box[0]) * (box[3] - box[1])):
            face = grey[y0:y1, x0:x1]
            if face.size:
                with torch.no_grad():
                    logs = program.network(program.transform(face).unsqueeze(0))
                found.append(dict(zip(words, torch.exp(logs)[0].tolist(), strict=True)))
        return found

    return look


ADAPTERS = {"fer": fer, "mediapipe": mediapipe, "facial-emotion-recognition": facial_emotion_recognition}


def main() -> None:
    """Print "ready", then answer the requests of stdin, a line each."""
    # Keep what libraries print out of the protocol.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    data, at, pictures = np.fromfile(order["pictures"]["path"], np.uint8), 0, []
    for height, width in order["pictures"]["sizes"]:
        pictures.append(data[at : at + height * width * 3].reshape(height, width, 3))
        at += height * width * 3
    try:
        look = ADAPTERS[sys.argv[1]](order)
        look(pictures[0])
    except Exception as error:
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=lines)
        raise
    print("ready", file=lines)
    for line in sys.stdin:
        if line.strip() == "answers":
            print(json.dumps([look(picture) for picture in pictures]), file=lines)
        else:
            print(json.dumps(turn(look, pictures, float(line))), file=lines)


def turn(look: Adapter, pictures: list[Any], seconds: float) -> dict[str, Any]:
    """Look at picture after picture until the time is over, as `turn` in bimodal/bench/loops.py."""
    latency_ms: list[float] = []
    faces = 0
    cpu_s, begun = time.process_time(), time.perf_counter()
    now = begun
    while not latency_ms or now - begun < seconds:
        faces += len(look(pictures[len(latency_ms) % len(pictures)]))
        before, now = now, time.perf_counter()
        latency_ms.append(1e3 * (now - before))
    cpu_s = time.process_time() - cpu_s
    return {"seconds": now - begun, "cpu_s": cpu_s, "latency_ms": latency_ms, "faces": faces}


if __name__ == "__main__":
    main()
