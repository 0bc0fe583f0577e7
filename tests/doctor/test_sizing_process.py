"""One frame's work as bare runs."""

from __future__ import annotations

import pytest

from bimodal.doctor.sizing_process import first_picture, runs_of
from bimodal.models.catalog import resolve
from bimodal.models.session import open_artifact
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings


def test_a_frame_takes_each_model_and_runs_give_the_same_again() -> None:
    names = ("blazeface-short", "facemesh-468", "face-compact")
    detector, landmarks, static = (open_artifact(resolve(name), provider="cpu") for name in names)
    runs = runs_of(first_picture(), detector, landmarks, [static], FaceSettings())
    assert {run.artifact.metadata.kind for run in runs} == {"face-detector", "face-landmarks", "face-static"}
    (look,) = [run for run in runs if run.artifact.metadata.kind == "face-static"]
    assert len(look.inputs["faces"]) == 1
    (found,) = FacePipeline(detector, landmarks, [static], FaceSettings())(first_picture())
    (again,) = look.repeat()["probabilities"]
    assert list(found.probabilities.values()) == pytest.approx(again.tolist(), abs=1e-6)
