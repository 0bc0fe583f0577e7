"""Several static models as one: in config.yaml, in what a worker is told, and in what is said of a face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bimodal.config import Config, check_config
from bimodal.models.contract import Crop
from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.models.errors import ArtifactError, CatalogError
from bimodal.models.faces.crop import Outline, crop_face
from bimodal.models.faces.pose import Camera
from bimodal.models.faces.resampling import Square
from bimodal.models.session import Artifact, open_artifact
from bimodal.supervisor.processes import Wanted, processes
from bimodal.workers.errors import ConfigError
from bimodal.workers.face.measures import measures_of
from bimodal.workers.face.static import StaticModels
from bimodal.workers.fusion.settings import Ensemble
from bimodal.workers.settings import FaceActorSettings, FusionActorSettings
from tests.artifacts import make_face_static, without_numbers

POINTS = np.random.default_rng(0).uniform(20, 180, (2, 468, 3)).astype(np.float32)
OUTLINES = [Outline(points, Square(0, 0, 1, 0)) for points in POINTS]
FRAME = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
SIX = ("sad", "happy", "neutral", "anger", "fear", "disgust")


def static(path: Path, **how: object) -> Artifact:
    return open_artifact(make_face_static(path, **how), "face-static", provider="cpu")  # type: ignore[arg-type]


def config(value: object) -> Config:
    return check_config({"models": {"face-static": value, "speech": "none"}}, "test")


def test_one_model_says_what_it_says(tmp_path: Path) -> None:
    model = static(tmp_path / "a.onnx")
    seen = StaticModels([model])(FRAME, OUTLINES)
    crop = model.metadata.crop
    assert crop is not None
    expected = model.run(faces=np.stack([crop_face(FRAME, face, crop, 48) for face in POINTS]))
    for face, said in enumerate(seen.probabilities):
        assert list(said.values()) == pytest.approx(list(expected["probabilities"][face]), abs=1e-6)
    assert seen.embeddings is not None
    np.testing.assert_array_equal(seen.embeddings, expected["embedding"])


def test_an_answer_that_is_no_number_is_an_error_and_no_emotion(tmp_path: Path) -> None:
    good = static(tmp_path / "a.onnx", name="overflows")
    for models in ([without_numbers(good, "probabilities")], [good, without_numbers(good, "probabilities")]):
        with pytest.raises(ArtifactError, match="overflows@1 answered with something that is no number"):
            StaticModels(models)(FRAME, OUTLINES)


def test_each_emotion_is_averaged_over_the_models_that_know_it(tmp_path: Path) -> None:
    first, second = static(tmp_path / "a.onnx"), static(tmp_path / "b.onnx", labels=SIX, embedding=None)
    together = StaticModels([first, second])(FRAME, OUTLINES)
    one, other = StaticModels([first])(FRAME, OUTLINES), StaticModels([second])(FRAME, OUTLINES)
    for face, said in enumerate(together.probabilities):
        alone, six = one.probabilities[face], other.probabilities[face]
        masses = {emotion: (alone[emotion] + six[emotion]) / 2 for emotion in six} | {"surprise": alone["surprise"]}
        expected = {emotion: mass / sum(masses.values()) for emotion, mass in masses.items()}
        assert said == pytest.approx(expected)
        assert sum(said.values()) == pytest.approx(1.0)


def test_the_order_decides_only_whose_embedding_it_is(tmp_path: Path) -> None:
    """Each model gets its own crop, whatever the other's."""
    first = static(tmp_path / "a.onnx", embedding=8)
    second = static(tmp_path / "b.onnx", embedding=16, size=64, crop=Crop(scale=1.5, rotate=False))
    ahead, behind = StaticModels([first, second])(FRAME, OUTLINES), StaticModels([second, first])(FRAME, OUTLINES)
    for one, other in zip(ahead.probabilities, behind.probabilities, strict=True):
        assert one == pytest.approx(other)
    assert ahead.embeddings is not None
    assert behind.embeddings is not None
    assert (ahead.embeddings.shape, behind.embeddings.shape) == ((2, 8), (2, 16))


def test_a_first_model_without_embedding_gives_none(tmp_path: Path) -> None:
    first, second = static(tmp_path / "a.onnx", embedding=None), static(tmp_path / "b.onnx")
    assert StaticModels([first, second])(FRAME, OUTLINES).embeddings is None


def test_a_name_and_a_list_of_it_are_the_same() -> None:
    assert config("face-compact") == config(["face-compact"])
    assert config(["a.onnx", "b.onnx"]).models.face_static == ("a.onnx", "b.onnx")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "in 'models.face-static'"),
        ("none", "must name a model: only face-dynamic, speech, voice-activity and fusion may be none"),
        (["face-compact", "none"], "must name a model"),
        (["face-compact", "face-compact"], "names the same model twice"),
        (["face-compact", 3], "in 'models.face-static.1'"),
        (3, "in 'models.face-static'"),
        ({"a": 1}, "in 'models.face-static'"),
    ],
)
def test_what_can_not_be_is_said_in_one_sentence(value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_workers_get_all_of_them_and_fusion_the_first(tmp_path: Path) -> None:
    paths = [str(make_face_static(tmp_path / f"{name}.onnx", name=name)) for name in ("a", "b")]
    told = [row.settings for row in processes(Wanted(config(paths)))]
    faces = [settings for settings in told if isinstance(settings, FaceActorSettings)]
    fusion = [settings for settings in told if isinstance(settings, FusionActorSettings)]
    assert [settings.static for settings in faces] == [tuple(paths)] * len(faces)
    assert [settings.static for settings in fusion] == [paths[0]]


def test_an_unknown_name_among_them_is_told() -> None:
    with pytest.raises(CatalogError, match="did you mean 'face-compact'"):
        processes(Wanted(config(["face-compact", "face-compct"])))


def test_valence_and_arousal_of_a_model_are_the_events(tmp_path: Path) -> None:
    """The path of `model` values: static model → measures → event; without them they are derived."""
    path = make_face_static(tmp_path / "model.onnx")
    model = onnx.load(str(path))
    constant = onnx.numpy_helper.from_array(np.array([[0.5, -2.0]], np.float32), "said")
    model.graph.initializer.append(constant)
    ones = onnx.helper.make_node("ReduceMean", ["probabilities", "said_axes"], ["mean"], keepdims=1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "said_axes"))
    none = onnx.helper.make_node("Sub", ["mean", "mean"], ["zero"])
    model.graph.node.extend([ones, none, onnx.helper.make_node("Add", ["zero", "said"], ["valence_arousal"])])
    output = onnx.helper.make_tensor_value_info("valence_arousal", onnx.TensorProto.FLOAT, ["N", 2])
    model.graph.output.append(output)
    onnx.save(model, str(path))
    models = StaticModels([open_artifact(path, "face-static", provider="cpu")])
    found = models(np.zeros((90, 90, 3), np.uint8), [Outline(None, Square(45, 45, 60, 0))])
    assert found.affect == [(0.5, -1.0)]
    measured = measures_of(None, Camera(900, 0, 0), None, found.affect[0])
    assert (measured.valence, measured.arousal, measured.affect) == (0.5, -1.0, "model")


def test_several_are_a_product_of_experts_with_weights(tmp_path: Path) -> None:
    artifacts = [static(tmp_path / "a.onnx"), static(tmp_path / "b.onnx", labels=tuple(reversed(EMOTIONS)))]
    one, other = (StaticModels([each])(FRAME, OUTLINES).probabilities for each in artifacts)
    ensemble = Ensemble(rule="product", weights=(0.8, 0.2))
    together = StaticModels(artifacts, ensemble=ensemble)(FRAME, OUTLINES).probabilities
    for first, second, found in zip(one, other, together, strict=True):
        raised = {name: max(first[name], 1e-6) ** 0.8 * max(second[name], 1e-6) ** 0.2 for name in first}
        total = sum(raised.values())
        assert found == pytest.approx({name: value / total for name, value in raised.items()})


def test_a_model_beyond_the_set_is_refused_and_categories_are_told_apart(tmp_path: Path) -> None:
    artifact = static(tmp_path / "a.onnx", labels=("happy", "sad", "contempt"))
    with pytest.raises(ArtifactError, match="knows none of the emotions bored, engaged: its classes are happy, sad"):
        StaticModels([artifact], EmotionSet(("bored", "engaged")))
    found = StaticModels([artifact], EmotionSet(categories=("contempt",)))(FRAME, OUTLINES)
    for probabilities, other in zip(found.probabilities, found.other, strict=True):
        assert sum(probabilities.values()) == pytest.approx(1.0)
        assert list(other) == ["contempt"]
