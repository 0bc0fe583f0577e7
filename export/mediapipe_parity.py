"""The converted detector and mesh against the original files in LiteRT's interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.export.from_mediapipe import DETECTOR_VALUES, MESH_VALUES
from bimodal.export.parity import Difference, measure
from bimodal.models.session import Artifact

Pictures = NDArray[np.uint8]

BOX_TOLERANCE = 2e-3  # of values up to ±300, in pixels of the 128 input
SCORE_TOLERANCE = 2e-3  # of raw scores up to ±100
POINT_TOLERANCE = 2e-3  # in pixels of the 192 input
PRESENCE_TOLERANCE = 1e-4  # of a probability

Floats = NDArray[np.float32]


class Original:
    """A TFLite file, one picture a run, on one thread."""

    def __init__(self, tflite: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(tflite), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]

    def __call__(self, values: Floats) -> dict[int, Floats]:
        """float32 [1, H, W, 3] → flat outputs by their number of values."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        found = (self._interpreter.get_tensor(o["index"]) for o in self._interpreter.get_output_details())
        return {value.size: value.ravel().copy() for value in found}


def detector_parity(artifact: Artifact, tflite: Path, inputs: str, pictures: Pictures) -> list[Difference]:
    """uint8 [N, 128, 128, 3] → differences of `boxes` and `scores`; none for no pictures."""
    if len(pictures) == 0:
        return []
    original = Original(tflite)
    theirs = [original(DETECTOR_VALUES(picture[None])) for picture in pictures]
    ours = [artifact.run(image=picture[None]) for picture in pictures]
    return [
        _measure("boxes", inputs, ours, [found[896 * 16] for found in theirs], BOX_TOLERANCE),
        _measure("scores", inputs, ours, [found[896] for found in theirs], SCORE_TOLERANCE),
    ]


def mesh_parity(artifact: Artifact, tflite: Path, inputs: str, pictures: Pictures) -> list[Difference]:
    """uint8 [N, 192, 192, 3] → differences of `points` and `presence`; ours looks at all in one run, too."""
    if len(pictures) == 0:
        return []
    original = Original(tflite)
    theirs = [original(MESH_VALUES(picture[None])) for picture in pictures]
    points = [found[468 * 3] for found in theirs]
    presence = [(1 / (1 + np.exp(-found[1]))).astype(np.float32) for found in theirs]
    single = [artifact.run(faces=picture[None]) for picture in pictures]
    together = artifact.run(faces=pictures)
    batch = [{name: values[n : n + 1] for name, values in together.items()} for n in range(len(pictures))]
    return [
        _measure("points", inputs, single, points, POINT_TOLERANCE),
        _measure("presence", inputs, single, presence, PRESENCE_TOLERANCE),
        _measure("points", f"{inputs}_in_one_run", batch, points, POINT_TOLERANCE),
        _measure("presence", f"{inputs}_in_one_run", batch, presence, PRESENCE_TOLERANCE),
    ]


def noise(count: int, size: int) -> Pictures:
    """The same random pictures every time."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _measure(
    output: str, inputs: str, ours: Sequence[dict[str, Floats]], theirs: Sequence[Floats], tolerance: float
) -> Difference:
    return measure(output, inputs, [found[output].ravel() for found in ours], theirs, tolerance)
