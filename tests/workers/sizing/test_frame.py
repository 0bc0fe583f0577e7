"""One frame's work as bare runs."""

from __future__ import annotations

import numpy as np

from models.catalog import resolve
from models.session import open_artifact
from workers.face.settings import FaceSettings
from workers.sizing.frame import first_picture, runs_of


def test_a_frame_takes_each_model_and_runs_give_the_same_again() -> None:
    names = ("blazeface-short", "facemesh-468", "face-compact")
    detector, landmarks, static = (open_artifact(resolve(name), provider="cpu") for name in names)
    runs = runs_of(first_picture(), detector, landmarks, [static], FaceSettings())
    assert {run.artifact.metadata.kind for run in runs} == {"face-detector", "face-landmarks", "face-static"}
    for run in runs:
        for name, value in run.artifact.run(**run.inputs).items():
            np.testing.assert_array_equal(value, run.again()[name])
    (look,) = [run for run in runs if run.artifact.metadata.kind == "face-static"]
    assert len(look.inputs["faces"]) == 1
