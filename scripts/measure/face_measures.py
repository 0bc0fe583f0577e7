"""What the measures of a face cost: CPU time of the face pipeline with and without them, A B A B in one process.

Run: python -m scripts.measure.face_measures PICTURE
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import FaceMeasures
from bimodal.export.real_inputs import read_picture
from bimodal.models.catalog import resolve
from bimodal.models.faces.details import Details
from bimodal.models.faces.pose import Camera
from bimodal.models.session import open_artifact
from bimodal.workers.face import pipeline as module
from bimodal.workers.face.measures import measures_of
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings

ROUNDS, RUNS = 12, 10


def main() -> None:
    """Print the cost of a frame with one face, relative to that without measures."""
    picture = read_picture(Path(sys.argv[1]))
    names = ("yunet-n", "facemesh-468", "face-robust", "facemesh-478", "face-blendshapes")
    detector, landmarks, static, irises, blendshapes = (
        open_artifact(resolve(name), provider="cpu", threads=1) for name in names
    )
    plain = FacePipeline(detector, landmarks, [static], FaceSettings())
    fine = FacePipeline(detector, landmarks, [static], FaceSettings(), (irises, blendshapes))
    real = measures_of
    kinds: dict[str, tuple[FacePipeline, Callable[..., FaceMeasures]]] = {
        "without measures": (plain, _nothing),
        "with the mesh's": (plain, real),
        "with a finer look": (fine, real),
    }
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, (pipeline, measures) in kinds.items():
            setattr(module, "measures_of", measures)  # noqa: B010 - swapped for the comparison
            begun = time.process_time()
            for _ in range(RUNS):
                pipeline(picture)
            spent[kind].append((time.process_time() - begun) / RUNS * 1000)
    setattr(module, "measures_of", real)  # noqa: B010
    base = statistics.median(spent["without measures"])
    for kind, each in spent.items():
        cost = statistics.median(each)
        print(f"{kind}: {cost:.2f} ms of CPU a frame, {cost / base:.3f} of without")


def _nothing(_mesh: NDArray[np.float32] | None, _camera: Camera, _details: Details | None = None) -> FaceMeasures:
    return FaceMeasures()


if __name__ == "__main__":
    main()
