"""Two networks as one: the rule that joins them is fitted, and the graph follows it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal.config import check_config
from bimodal.export.quantize.quantize import nodes_of, quantize_part
from bimodal.models.architectures.face_api_expression import FaceApiExpression
from bimodal.models.architectures.face_compact import FaceCompact
from bimodal.models.architectures.face_robust import (
    SIDE,
    FaceRobustGraph,
    Novelty,
    Rule,
    area_weights,
    even_light,
    linear_weights,
    second_knows,
)
from bimodal.models.catalog import ROOT
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import open_artifact
from bimodal.supervisor.emotions import set_of_config
from bimodal.training.commands import train
from bimodal.training.evaluate.face_conditions import changed_by
from bimodal.training.evaluate.metrics import accuracy, softmax, uar
from bimodal.training.face.robust import (
    SHARES,
    TAUS,
    Answers,
    Fitted,
    cross_fitted,
    fit_rule,
    pooled,
)
from bimodal.training.to_artifact import write_artifact
from tests.artifacts import make_face_static

PRIOR = np.array([0.34, 0.27, 0.15, 0.11, 0.03, 0.02, 0.08])


def answers(count: int = 600, seed: int = 0) -> Answers:
    """A first network that knows frequent emotions, and a second that knows them all a little."""
    random = np.random.default_rng(seed)
    true = random.choice(7, count, p=PRIOR)
    hot = np.eye(7)[true]
    first = softmax(2.5 * hot + 1.5 * np.log(PRIOR) + random.normal(0, 1, (count, 7)))
    second = softmax(2.0 * hot + random.normal(0, 1.2, (count, 7)))
    clear = random.choice([0.0, 0.4, 1.0], (count, 1), p=[0.1, 0.1, 0.8])
    return Answers(np.log(first), np.log(second), clear, random.random((count, 1)), true.astype(np.int64))


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(TAUS),
    st.sampled_from(SHARES),
    st.floats(0, 1),
    st.floats(0.2, 3),
    st.just(()) | st.tuples(*[st.floats(-1, 1)] * 7),
)
def test_graph_computes_the_rule_that_was_fitted(
    tau: float, share: float, poor: float, temperature: float, offsets: tuple[float, ...]
) -> None:
    some = answers(20)
    fitted = Fitted(tau, share, poor, 0.35, temperature, offsets)
    rule = Rule(PRIOR.tolist(), *fitted)
    with torch.inference_mode():
        found = rule(*(torch.from_numpy(each).float() for each in some[:4])).numpy()
    np.testing.assert_allclose(found, softmax(pooled(some, PRIOR, fitted), temperature), atol=1e-5)


OWN = ("bored", "happy", "confused", "anger")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(TAUS), st.sampled_from(SHARES))
def test_of_ones_own_emotions_the_second_network_moves_mass_between_those_it_knows(
    seed: int, tau: float, share: float
) -> None:
    random = np.random.default_rng(seed)
    first, second = (np.log(random.dirichlet(np.ones(width), 20)) for width in (4, 2))
    prior = random.dirichlet(np.full(4, 3.0))
    true, detailed = np.zeros(20, np.int64), random.random((20, 1))
    some = Answers(first, second, np.ones((20, 1)), detailed, true, tuple(second_knows(OWN)))
    assert some.shared == (1, 3)
    fitted = Fitted(tau, share, 0.7, 0.5, 1.0)
    rule = Rule(prior.tolist(), *fitted, shared=some.shared)
    with torch.inference_mode():
        found = rule(*(torch.from_numpy(each).float() for each in some[:4])).numpy()
    np.testing.assert_allclose(found, softmax(pooled(some, prior, fitted)), atol=1e-5)
    alone = softmax(pooled(some, prior, fitted._replace(share=0.0, detailed_share=0.0)))
    np.testing.assert_allclose(found[:, [0, 2]], alone[:, [0, 2]], atol=1e-5)
    weight = share + detailed[:, 0] * (0.5 - share)
    odds = np.log(found[:, 1] / found[:, 3])
    wanted = (1 - weight) * np.log(alone[:, 1] / alone[:, 3]) + weight * (second[:, 0] - second[:, 1])
    np.testing.assert_allclose(odds, wanted, atol=1e-3)


def test_where_both_know_all_the_emotions_it_is_the_product_over_all() -> None:
    some = answers(30)
    fitted = Fitted(0.3, 0.2, 0.7, 0.4, 1.0)
    among_all = some._replace(shared=tuple(range(7)))
    np.testing.assert_allclose(
        softmax(pooled(among_all, PRIOR, fitted)), softmax(pooled(some, PRIOR, fitted)), atol=1e-9
    )


def test_pictures_that_are_not_clear_are_judged_by_the_first_network_alone() -> None:
    some = answers(50)
    poor = some._replace(clear=np.zeros((50, 1)))
    np.testing.assert_allclose(pooled(poor, PRIOR, Fitted(0.3, 0.4, 0.7, 0.6, 1.0)), some.first - 0.7 * np.log(PRIOR))


def test_dark_blurred_small_and_covered_pictures_are_not_clear() -> None:
    random = np.random.default_rng(3)
    sharp = np.clip(cv2.resize(random.normal(128, 60, (12, 12, 3)), (SIDE, SIDE)), 0, 255)
    sharp = np.clip(sharp + random.normal(0, 9, sharp.shape), 0, 255).astype(np.uint8)
    changes = ("light × 0.12", "motion blur of 7 px", "16 px", "lower half covered", "eyes covered")
    some = np.stack([sharp, *(changed_by(name, sharp, 0) for name in changes)])
    with torch.inference_mode():
        _, _, clear, detailed, _ = graph().opinions(torch.from_numpy(some))
    assert clear[0] > 0.9
    assert clear[1:5].max() < 0.5
    assert clear[5] < clear[0]
    assert detailed[[1, 3]].max() < detailed[0]


def test_pictures_are_enlarged_as_others_do() -> None:
    picture = np.random.default_rng(0).random((48, 48)).astype(np.float32)
    weights = linear_weights(48, SIDE)
    np.testing.assert_allclose(weights @ picture @ weights.T, cv2.resize(picture, (SIDE, SIDE)), atol=1e-4)


def test_rule_is_better_than_the_first_network_alone_also_where_it_was_not_fitted() -> None:
    fitted_on, held = answers(seed=1), answers(seed=2)
    rule = fit_rule(fitted_on, PRIOR, Fitted(0, 0, 0.3, 0.2, 1.0))
    found = pooled(held, PRIOR, rule).argmax(axis=1)
    alone = held.first.argmax(axis=1)
    assert rule.tau > 0
    assert uar(held.true, found) > uar(held.true, alone) + 0.05
    assert accuracy(held.true, found) > accuracy(held.true, alone) - 0.03


def test_folds_are_never_fitted_on_themselves() -> None:
    some = answers(500)

    def fit(answers: Answers) -> Fitted:
        return fit_rule(answers, PRIOR, Fitted(0, 0, 0.5, 0.3, 1.0))

    rows = cross_fitted(some, PRIOR, fit)
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    first = np.arange(500) % 5 == 0
    rule = fit(some.take(~first))
    wanted = softmax(pooled(some.take(first), PRIOR, rule), rule.temperature)
    np.testing.assert_allclose(rows[first], wanted)


def test_pictures_shrink_by_area() -> None:
    weights = area_weights(112, 40)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), 40 / 112, atol=1e-6)
    np.testing.assert_allclose(area_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])


def test_dark_pictures_get_light_and_bright_ones_stay() -> None:
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    bright = torch.linspace(0, 255, 48).expand(1, 3, 48, 48)
    assert torch.allclose(even_light(bright, luma), bright, atol=1e-3)
    dark = bright * 0.12
    lit = even_light(dark, luma)
    assert lit.std() > 0.6 * 50
    assert 80 < lit.mean() < 140
    blank = torch.full((1, 3, 48, 48), 7.0)
    assert even_light(blank, luma).isfinite().all()


def test_novelty_is_the_distance_to_the_nearest_mean_in_units() -> None:
    means = np.array([[0.0, 0.0], [10.0, 0.0]])
    whiten = np.diag([1.0, 0.5])  # the second direction has twice the deviation
    novelty = Novelty(means, whiten, 2.0)
    with torch.inference_mode():
        found = novelty(torch.tensor([[0.0, 0.0], [10.0, 4.0], [7.0, 0.0], [0.0, -8.0]]))
    np.testing.assert_allclose(found, [[0.0], [1.0], [1.5], [2.0]], atol=1e-5)


def graph() -> FaceRobustGraph:
    torch.manual_seed(0)
    rule = Rule(PRIOR.tolist(), 0.3, 0.2, 0.7, 0.4, 1.0)
    return FaceRobustGraph(FaceCompact(7, (8, 16, 24), 1).eval(), FaceApiExpression().eval(), rule).eval()


def test_mirror_images_get_one_answer_and_a_picture_that_is_not_clear_that_of_the_first_network() -> None:
    torch.manual_seed(1)
    rule = Rule(PRIOR.tolist(), 0.3, 0.4, 0.7, 0.6, 1.0)
    first, clear_first, second = FaceCompact(7, (8, 16, 24), 1), FaceCompact(7, (8, 16, 24), 1), FaceApiExpression()
    with torch.no_grad():
        second.classify.weight.normal_(std=3.0)  # so that its opinions differ between a picture and its mirror image
    large = FaceRobustGraph(first, second, rule, clear_first=clear_first, mirrored=True).eval()
    alone = FaceRobustGraph(first, second, rule, mirrored=True).eval()
    sharp = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))
    flat = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(-1, SIDE, SIDE, 3) * 40
    with torch.inference_mode():
        found, embedding = large(sharp)
        mirrored, _ = large(sharp.flip(2))
        torch.testing.assert_close(mirrored, found, atol=1e-5, rtol=0)
        torch.testing.assert_close(embedding, large.embed(sharp), atol=1e-4, rtol=1e-4)
        assert (found - alone(sharp)[0]).abs().max() > 1e-4
        torch.testing.assert_close(large(flat)[0], alone(flat)[0])


def test_a_network_for_degraded_faces_answers_where_a_picture_is_not_clear() -> None:
    torch.manual_seed(1)
    rule = Rule(PRIOR.tolist(), 0.3, 0.4, 0.7, 0.6, 1.0)
    first, poor = (FaceCompact(7, (8, 16, 24), 1).eval() for _ in range(2))
    second = FaceApiExpression().eval()
    both = FaceRobustGraph(first, second, rule, poor_first=poor).eval()
    sharp = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8))
    flat = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(-1, SIDE, SIDE, 3) * 40
    with torch.inference_mode():
        torch.testing.assert_close(both(sharp), FaceRobustGraph(first, second, rule).eval()(sharp))
        probabilities, embedding = both(flat)
        torch.testing.assert_close(probabilities, FaceRobustGraph(poor, second, rule).eval()(flat)[0])
        torch.testing.assert_close(embedding, both.embed(flat), msg="embeddings are the first network's everywhere")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("robust") / "model.onnx"
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    metadata = Metadata(
        contract=CONTRACT_VERSION, kind="face-static", name="tiny", version="1", license="none", source="a test",
        labels=EMOTIONS, embedding_space="tiny@1", crop=Crop(),
    )  # fmt: skip
    assert write_artifact(graph(), metadata, noise[:2], {0: "batch"}, [noise, noise[:1]], path) < 1e-4
    return path


def test_only_the_first_network_is_quantized_and_the_answer_stays_near(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(str(exported))
    noise = np.random.default_rng(1).integers(0, 256, (6, 1, SIDE, SIDE, 3), dtype=np.uint8)
    small = quantize_part(model, "first.", iter(noise))
    kinds = [node.op_type for node in small.graph.node]
    assert kinds.count("QuantizeLinear") > 5
    held = {entry.name for entry in small.graph.initializer}
    second = [
        node for node in small.graph.node if node.op_type == "Conv" and any("second." in name for name in node.input)
    ]
    assert len(second) == 31
    assert all(set(node.input[1:]) <= held for node in second), "its weights stay floating point"
    path = tmp_path / "int8.onnx"
    onnx.save(small, str(path))
    before, after = (
        open_artifact(each, provider="cpu").run(faces=noise[0])["probabilities"] for each in (exported, path)
    )
    np.testing.assert_allclose(before, after, atol=0.05)


def test_nodes_of_a_network_are_those_that_see_no_other(exported: Path) -> None:
    model = onnx.load(str(exported))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    first, second = nodes_of(model.graph, "first."), nodes_of(model.graph, "second.")
    assert first
    assert second
    assert not first & second
    assert nodes_of(model.graph, "third.") == set()


@pytest.mark.skipif(not (ROOT / "face-robust/model.onnx").is_file(), reason="the artifact is not made yet")
def test_shipped_artifact_knows_a_face_from_its_own_colours() -> None:
    artifact = open_artifact(ROOT / "face-robust/model.onnx", "face-static", provider="cpu")
    assert artifact.metadata.labels == EMOTIONS
    grey = np.full((1, SIDE, SIDE, 3), 128, np.uint8)
    found = artifact.run(faces=grey)["probabilities"]
    assert found.sum() == pytest.approx(1, abs=1e-4)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two of the seven and one other, and first.pt: an untrained network of these emotions."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("valid", 5)):
        for place, name in enumerate(("bored", "happy", "anger")):
            for number in range(count):
                path = folder / "pictures" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), random.integers(60 * place, 60 * place + 90, (48, 48), dtype=np.uint8))
    torch.manual_seed(0)
    torch.save({"network": FaceCompact(3, (8, 16, 24), 1).state_dict()}, folder / "first.pt")
    return folder


def write_config(folder: Path, **values: object) -> Path:
    path = folder / "own.yaml"
    usual = {"name": "own-robust", "version": "1", "data": str(folder / "pictures"), "output": str(folder / "out")}
    given = {"first": str(folder / "first.pt"), "widths": [8, 16, 24], "depth": 1, "quantized": 0}
    path.write_text(yaml.safe_dump({**usual, **given, "calibration_every": 4, **values}))
    return path


def test_a_product_of_ones_own_emotions_is_made_and_runs(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimodal.training.face.robust.load_network", lambda _: FaceApiExpression().eval())
    config = write_config(own, emotions=["bored", "happy", "anger"], offsets={"bored": 1})
    result = CliRunner().invoke(train, ["face-robust", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "face-api's network joins in happy, anger; of the others the first network alone tells" in result.output
    artifact = open_artifact(own / "out" / "model.onnx", "face-static", provider="cpu")
    assert artifact.metadata.labels == ("bored", "happy", "anger")
    assert artifact.metadata.categories == ("bored",)
    assert "pictures, whose licence their owner knows" in artifact.metadata.license
    metrics = artifact.metadata.metrics or {}
    assert dict(metrics["rule"])["offsets"] == [1.0, 0.0, 0.0]
    assert "pictures outside the emotions bored, happy, anger left out" in str(metrics["protocol"])
    models = {"face-static": str(own / "out" / "model.onnx"), "speech": "none"}
    running = check_config({"models": models, "emotions": ["anger", "bored"]}, "test")
    assert set_of_config(running).emotions == ("anger", "bored")


def test_networks_run_only_where_they_count_and_one_picture_is_answered_alike_in_any_batch(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bimodal.training.face.robust.load_network", lambda _: FaceApiExpression().eval())
    torch.save({"network": FaceCompact(3, (8, 16, 24), 1).state_dict()}, own / "poor.pt")
    config = write_config(
        own, emotions=["bored", "happy", "anger"], poor_first=str(own / "poor.pt"), quantized=2, tau=0.2, share=0.3
    )
    result = CliRunner().invoke(train, ["face-robust", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    path = own / "out" / "model.onnx"
    branches = {
        attribute.g.name
        for node in onnx.load(str(path)).graph.node
        if node.op_type == "If"
        for attribute in node.attribute
    }
    assert {"poor_first.counts", "second.counts"} <= branches
    artifact = open_artifact(path, "face-static", provider="cpu")
    sharp = np.random.default_rng(2).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    flat = np.full((2, SIDE, SIDE, 3), 90, np.uint8)
    together = artifact.run(faces=np.concatenate([sharp, flat]))
    for each, faces in enumerate((sharp, flat)):
        alone = artifact.run(faces=faces)
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name][2 * each : 2 * each + 2])


@pytest.mark.parametrize(
    ("emotions", "said"),
    [
        (
            ["bored", "engaged"],
            "face-api's network knows none of the emotions bored, engaged, and joins where it knows",
        ),
        (["bored", "happy"], "face-api's network knows happy of the emotions bored, happy"),
        (["happy", "bored", "anger"], "answers in bored, happy, anger, and this config is of happy, bored, anger"),
        (["bored", "happy", "anger", "sad"], "shows no sad in 'train'"),
        (["bored", "happy", "anger"], "'offsets' names fear, which is not one of the emotions bored, happy, anger"),
    ],
)
def test_what_can_not_be_joined_is_said(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emotions: list[str], said: str
) -> None:
    monkeypatch.setattr("bimodal.training.face.robust.load_network", lambda _: FaceApiExpression().eval())
    first = make_face_static(tmp_path / "first.onnx", labels=("bored", "happy", "anger"), categories=("bored",))
    offsets = {"happy": 0.5, "fear": 1.0} if "offsets" in said else {}
    path = write_config(own, emotions=emotions, first=str(first), offsets=offsets)
    result = CliRunner().invoke(train, ["face-robust", "--config", str(path)])
    assert result.exit_code == 1
    assert said in result.stderr
