"""Opening artifacts: what keeps its contract runs, anything else is refused with a sentence that helps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bimodal.models.catalog import resolve
from bimodal.models.contract import CONTRACT_KEY, Crop, read_properties, to_properties
from bimodal.models.errors import ArtifactError, ProviderError
from bimodal.models.session import open_artifact
from tests.artifacts import make_face_dynamic, make_face_static, make_speech

REPOSITORY = Path(__file__).parents[2]


def changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def set_property(key: str, value: str | None) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != key]
        del model.metadata_props[:]
        helper.set_model_props(model, dict(kept + ([(key, value)] if value is not None else [])))

    return change


def test_an_artifact_runs_and_says_what_it_is(tmp_path: Path) -> None:
    artifact = open_artifact(make_face_static(tmp_path / "m.onnx"), "face-static", provider="cpu")
    assert artifact.identity == "tiny-face-static@1"
    assert artifact.provider == "cpu"
    assert artifact.metadata.crop == Crop()
    outputs = artifact.run(faces=np.zeros((5, 48, 48, 3), np.uint8))
    assert outputs["probabilities"].shape == (5, 7)


def test_metadata_survives_the_way_through_a_file(tmp_path: Path) -> None:
    metadata = open_artifact(make_face_dynamic(tmp_path / "m.onnx"), provider="cpu").metadata
    assert read_properties(to_properties(metadata), "m.onnx") == metadata


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no model file"):
        open_artifact(tmp_path / "nowhere.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ArtifactError, match=r"broken\.onnx can't be opened"):
        open_artifact(broken)


def test_another_kind_than_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is a speech artifact, but a face-static artifact is needed"):
        open_artifact(make_speech(tmp_path / "m.onnx"), "face-static")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (set_property(CONTRACT_KEY, None), "is not a bimodal artifact"),
        (set_property(CONTRACT_KEY, "7"), "contract version '7'"),
        (set_property("labels", '["happy"]'), "has 7 classes, but 'labels' names 1"),
        (set_property("labels", '["a","b","c","d","e","f","g"]'), "label 'a' is none of the emotions"),
        (set_property("labels", "happy, sad"), "'labels' is not JSON"),
        (set_property("labels", None), "needs 'labels' in its metadata"),
        (set_property("crop", '{"scale": "big"}'), "metadata is wrong"),
        (set_property("crop", '{"margin": 1}'), "metadata is wrong"),
        (set_property("kind", "face-guess"), "metadata is wrong"),
    ],
)
def test_metadata_that_breaks_the_contract_is_refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], sentence: str
) -> None:
    path = changed(make_face_static(tmp_path / "m.onnx"), change)
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path, "face-static", provider="cpu")
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


def test_inputs_of_another_name_type_or_shape_are_refused(tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name == "faces":
                    node.input[place] = "pictures"
        model.graph.input[0].name = "pictures"

    with pytest.raises(ArtifactError, match="needs an input named 'faces' \\(it has pictures\\)"):
        open_artifact(changed(make_face_static(tmp_path / "a.onnx"), rename), provider="cpu")

    def four_channels(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 4

    with pytest.raises(ArtifactError, match="must have shape"):
        open_artifact(changed(make_face_static(tmp_path / "b.onnx"), four_channels), provider="cpu")


def test_an_output_that_is_no_probability_is_found_by_the_warm_up(tmp_path: Path) -> None:
    def without_softmax(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type == "Softmax":
                node.op_type = "Relu"
                del node.attribute[:]

    path = changed(make_face_static(tmp_path / "m.onnx"), without_softmax)
    with pytest.raises(ArtifactError, match="is a softmax missing"):
        open_artifact(path, provider="cpu")


def test_an_input_too_many_is_refused(tmp_path: Path) -> None:
    def add_input(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))

    with pytest.raises(ArtifactError, match="takes no input named 'more'"):
        open_artifact(changed(make_face_static(tmp_path / "m.onnx"), add_input), provider="cpu")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="CUDA may really work here")
def test_cuda_that_is_not_there_is_an_error_and_no_silent_fallback(tmp_path: Path) -> None:
    path = make_face_static(tmp_path / "m.onnx")
    with pytest.raises(ProviderError, match="CUDA was asked for"):
        open_artifact(path, provider="cuda")
    assert open_artifact(path, provider="auto").provider == "cpu"


MEMORY = """
import gc, sys
from bimodal.models.session import open_artifact
def own():
    rows = dict(line.split(":") for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
    return int(rows["Private_Dirty"].split()[0]) * 1024
before = own()
artifact = open_artifact(sys.argv[1], provider="cpu")
gc.collect()
print(own() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="counts memory as Linux tells it")
def test_an_open_artifact_takes_its_weights_and_not_the_file_several_times_over() -> None:
    path = resolve("face-compact")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2.5 * path.stat().st_size
