"""Embeddings of another static model than the dynamic one was trained for: passed over, and spoken of."""

from __future__ import annotations

import numpy as np
import pytest

from bimodal.broker.messages import Face
from bimodal.models.emotions import EMOTIONS, Mapped
from bimodal.workers.fusion.actor import FORGOTTEN_AFTER_S, NOTED_AFTER_S, ForeignEmbeddings
from bimodal.workers.fusion.dynamic import DynamicModel
from bimodal.workers.fusion.scene import FusionModels, Scene
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.speech import JoinedSpeech

OWN = "face-compact@1"
STEP_NS = 100_000_000


def model(static: str | None = OWN) -> DynamicModel:
    sure = {emotion: float(emotion == "fear") for emotion in EMOTIONS}
    return DynamicModel(lambda _: Mapped(sure, {}), interval_s=0.1, steps=2, dimensions=4, static=static)


@pytest.mark.parametrize("static", [OWN, f"{OWN}+fer-plus@1"])
def test_the_first_of_several_static_models_gives_the_embeddings(static: str) -> None:
    assert model().reads(static)
    assert not model().reads(f"fer-plus@1+{OWN}")
    assert not model().reads(None)
    assert model(static=None).reads("anything@1")


def test_foreign_embeddings_do_not_reach_the_dynamic_model_and_leave_its_window_alone() -> None:
    scene = Scene(FusionSettings(), FusionModels(model()))
    face = Face(
        box=(10.0, 10.0, 50.0, 50.0),
        score=0.9,
        sharpness=1.0,
        mouth=0.0,
        probabilities=dict.fromkeys(EMOTIONS, 1 / 7),
        embedding=np.ones(4, "<f2").tobytes(),
    )
    silence = JoinedSpeech(result=None, probabilities=None, reason="no sound")
    answers = []
    for index, static in enumerate(["other@2", "other@2", "other@2", OWN, "other@2", OWN]):
        (seen,), _ = scene.on_frame(index * STEP_NS, (face,), silence, {"face-static": static})
        answers.append(seen.dynamic is not None)
    assert answers == [False, False, False, False, False, True]


def test_it_is_said_while_it_lasts_and_not_of_a_few_results_while_models_are_swapped() -> None:
    foreign = ForeignEmbeddings()
    foreign.on_result(model(), "other@2", 10.0)
    assert foreign.degraded_reason(model(), 10.0) is None
    foreign.on_result(model(), OWN, 10.5)
    foreign.on_result(model(), "other@2", 10.0 + NOTED_AFTER_S)
    sentence = foreign.degraded_reason(model(), 10.0 + NOTED_AFTER_S)
    assert sentence is not None
    assert "'other@2'" in sentence
    assert f"'{OWN}'" in sentence
    assert foreign.degraded_reason(None, 10.0 + NOTED_AFTER_S) is None
    assert foreign.degraded_reason(model(), 10.1 + NOTED_AFTER_S + FORGOTTEN_AFTER_S) is None
    foreign.on_result(None, "other@2", 100.0)
    assert foreign.degraded_reason(model(), 100.0) is None
