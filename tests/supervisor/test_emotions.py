"""What the results of a config are about, by what its models know."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bimodal.config import Config, check_config
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.errors import ArtifactError
from bimodal.supervisor.emotions import check_models, set_of_config
from bimodal.supervisor.processes import Wanted, processes
from bimodal.supervisor.provenance import model_records, settings_of
from bimodal.workers.capture.choice import DEFAULT
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings, FusionActorSettings, ViewActorSettings
from tests.artifacts import make_face_dynamic, make_face_static, make_speech

OWN = ("neutral", "happy", "bored", "contempt")


def with_categories(path: Path, *own: str) -> Path:
    """Declare classes of an artifact as its own."""
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "categories", "[" + ", ".join(f'"{name}"' for name in own) + "]"
    onnx.save_model(model, str(path))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    face = make_face_static(folder / "face.onnx", labels=(*SEVEN.emotions, "bored", "contempt"))
    voice = make_speech(folder / "voice.onnx", labels=("neutral", "calm", "happy"))
    return {"face-static": str(with_categories(face, "bored")), "speech": str(voice)}


def config(models: dict[str, str], **values: object) -> Config:
    return check_config({"models": models, **values}, "test")


def test_the_default_is_the_seven_and_no_more() -> None:
    assert set_of_config(Config()) == SEVEN


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ({}, ("boredom", "contempt")),
        ({"categories": "none"}, ()),
        ({"categories": ["contempt", "pain"]}, ("contempt",)),
        ({"categories": ["calm"]}, ("calm",)),
        ({"emotions": list(OWN)}, ()),
    ],
)
def test_categories_are_those_that_a_model_knows_and_that_count(
    models: dict[str, str], values: dict[str, object], categories: tuple[str, ...]
) -> None:
    assert set_of_config(config(models, **values)).categories == categories


def test_a_model_that_knows_none_of_the_set_is_refused_before_anything_starts(models: dict[str, str]) -> None:
    wanted = config(models, emotions=["bored", "contempt"])
    with pytest.raises(ArtifactError, match=r"voice.onnx knows none of the emotions bored, contempt: its classes are"):
        processes(Wanted(wanted))


def test_models_that_do_not_fit_are_refused_before_anything_starts(models: dict[str, str], tmp_path: Path) -> None:
    dynamic = make_face_dynamic(tmp_path / "dynamic.onnx", embedding_space="another")
    fusion = {"fusion": "face-compact"}
    for other, values, sentence in (
        ({"face-detector": models["speech"]}, {}, "voice.onnx is a speech artifact, but a face-detector artifact is"),
        ({"face-landmarks": models["speech"]}, {}, "but a face-landmarks artifact is needed here"),
        ({"voice-activity": models["speech"]}, {}, "but a voice-activity artifact is needed here"),
        ({"face-details": ["facemesh-478", models["speech"]]}, {}, "but a face-blendshapes artifact is needed here"),
        (fusion, {"fusion": {"strategy": "learned"}}, "but a fusion artifact is needed here"),
        ({"face-dynamic": str(dynamic)}, {}, "embeddings of 'another', but the static model gives those of 'tiny'"),
        ({}, {"capture": {"window_s": 2.0}}, "tiny-speech wants windows of 3 s, but capture cuts 2 s"),
    ):
        wanted = config(models | other, **values)
        for start in (lambda wanted: processes(Wanted(wanted)), check_models):
            with pytest.raises((ArtifactError, ConfigError), match=sentence):
                start(wanted)
    assert check_models(config(models | fusion)) == [], "not used, so not asked"


def test_what_is_not_on_this_machine_is_named_and_the_rest_checked(models: dict[str, str]) -> None:
    missing = {"face-landmarks": "gone.onnx", "face-dynamic": "emo-affectnet-ramas"}
    first, second = check_models(config(models | missing))
    assert "'emo-affectnet-ramas' is not on this machine yet: run 'bimodal models fetch" in first
    assert second == "there is no model file gone.onnx"
    with pytest.raises(ArtifactError, match="a face-detector artifact is needed"):
        check_models(config(models | missing | {"face-detector": models["speech"]}))


def test_every_process_has_the_same_set(models: dict[str, str]) -> None:
    wanted = config(models, emotions=["neutral", "happy", "bored"], outputs={"lsl": True})
    rows = processes(Wanted(wanted), ("face", "audio", "fusion", "view", "lsl", "capture"))
    sets = {row.settings.emotions for row in rows}  # type: ignore[attr-defined]
    assert sets == {EmotionSet(("neutral", "happy", "bored"), ("contempt",))}
    kinds = {type(row.settings) for row in rows}
    assert {FaceActorSettings, AudioActorSettings, FusionActorSettings, ViewActorSettings} <= kinds


def test_dominance_is_known_from_the_outputs(models: dict[str, str], tmp_path: Path) -> None:
    model = onnx.load(models["speech"])
    model.graph.output.append(onnx.helper.make_tensor_value_info("arousal_dominance_valence", 1, ["N", 3]))
    path = tmp_path / "with.onnx"
    onnx.save_model(model, str(path))
    assert not set_of_config(config(models)).dominance
    assert set_of_config(config(models | {"speech": str(path)})).dominance


def test_the_set_is_part_of_the_identity_of_results() -> None:
    def checksum(**values: object) -> str:
        wanted = check_config(values, "test")
        return settings_of(wanted, records, DEFAULT)

    records = model_records(Config())
    plain = checksum()
    assert plain == checksum(emotions=list(SEVEN.emotions), categories="auto")
    others = {checksum(emotions=["neutral", "happy"]), checksum(emotions=["happy", "neutral"])}
    others |= {checksum(categories="none"), checksum(categories=["calm"])}
    assert len(others | {plain}) == 5
