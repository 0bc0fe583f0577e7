"""What is measured is what a config runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bimodal.config import check_config
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.evaluate import Joined, together
from bimodal.training.evaluate.running import Running, running
from bimodal.workers.fusion.combine import STRATEGIES, Opinion
from tests.artifacts import make_face_static


def test_without_a_config_it_is_the_default_one() -> None:
    models = check_config({}, "test").models
    assert running("face-static", None).models == models.face_static
    assert running("speech", None).models == models.speech
    assert running("speech", None, "a, b") == Running(("a", "b"), Joined("average", (1.0, 1.0)))


def test_a_config_says_models_rule_weights_and_emotions(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    models = "{face-static: [a, b], speech: none, ensemble: product, weights: {a: 0.8, b: 0.2}}"
    path.write_text(f"models: {models}\nemotions: [happy, bored]\n")
    found = running("face-static", path)
    assert found == Running(("a", "b"), Joined("product", (0.8, 0.2)), EmotionSet(("happy", "bored")))
    with pytest.raises(TrainingError, match="runs no model of the kind speech"):
        running("speech", path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {ensemble: sum}", "must be 'average' or 'product', not 'sum'"),
        ("emotions: [happy, joy]", "mean the same"),
        ("models: [", "is not YAML"),
        ("- a", "must hold keys and values"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=said):
        running("face-static", path)


@pytest.mark.parametrize("rule", ["average", "product"])
def test_models_become_one_as_in_the_worker(tmp_path: Path, rule: str) -> None:
    six = tuple(name for name in EMOTIONS if name != "surprise")
    artifacts: list[Artifact] = [
        open_artifact(make_face_static(tmp_path / f"{number}.onnx", labels=labels), provider="cpu")
        for number, labels in enumerate((EMOTIONS, six))
    ]
    rows = np.random.default_rng(0).dirichlet(np.ones(7), (2, 5))
    rows[1, :, EMOTIONS.index("surprise")] = 0
    rows[1] /= rows[1].sum(axis=1, keepdims=True)
    found = together(artifacts, list(rows), SEVEN, Joined(rule, (0.7, 0.3)))  # type: ignore[arg-type]
    for place, answer in enumerate(found):
        first = dict(zip(EMOTIONS, rows[0, place], strict=True))
        second = {name: value for name, value in zip(EMOTIONS, rows[1, place], strict=True) if name in six}
        wanted = STRATEGIES[rule]([Opinion("0", first, 0.7), Opinion("1", second, 0.3)])
        assert list(answer) == pytest.approx(list(wanted.values()), abs=1e-6)
