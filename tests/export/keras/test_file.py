"""Keras files are looked at without Keras: what may stand in them, and what is refused by name."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.export.errors import SourceModelError
from bimodal.export.keras.file import inspect, modern
from bimodal.export.keras.names import MODELS, keras_names

h5py = pytest.importorskip("h5py")


def layer(kind: str, **settings: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": {"name": f"my_{kind}", **settings}}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    inner = {"name": "net", "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": inner, "registered_name": None}


def keras_file(folder: Path, config: dict[str, Any]) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_dataset("values", data=[1.0])
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def h5_file(folder: Path, config: dict[str, Any] | None) -> Path:
    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=[1.0])
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize("make", [keras_file, h5_file])
def test_plain_layers_pass(tmp_path: Path, make: Any) -> None:
    config = sequential(layer("Dense", activation="relu"), layer("LSTM"))
    file = inspect(make(tmp_path, config))
    assert file.format == make.__name__.removesuffix("_file")
    assert (file.config, file.warnings) == (config, ())


def test_weights_only_have_no_config(tmp_path: Path) -> None:
    assert inspect(h5_file(tmp_path, None)).format == "weights"


REFUSED = {
    "Lambda": (layer("Lambda", function="code"), "'my_Lambda' is a Lambda"),
    "inside a wrapper": (layer("TimeDistributed", layer=layer("Lambda")), "'my_Lambda' is a Lambda"),
    "inside a model": (layer("Functional", layers=[layer("Lambda")]), "'my_Lambda' is a Lambda"),
    "another class": (layer("Mine"), "'my_Mine' is the custom object 'Mine'"),
    "a file reader": (layer("TextVectorization", vocabulary="/etc/passwd"), "TextVectorization, which takes text"),
    "a registered class": ({**layer("Dense"), "registered_name": "Mine>Dense"}, "custom object 'Mine>Dense'"),
    "another module": ({**layer("Dense"), "module": "os"}, "code of the module 'os'"),
    "a module like Keras": ({**layer("Dense"), "module": "keras_evil.layers"}, "module 'keras_evil.layers'"),
    "a function of Keras": ({**layer("Dense"), "module": "keras.utils"}, "module 'keras.utils'"),
    "a function": (layer("Dense", kernel_initializer={"class_name": "function", "config": "f"}), "'f' is the custom"),
    "an activation": (layer("Dense", activation="mine"), "custom activation 'mine'"),
}


@pytest.mark.parametrize(("item", "sentence"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("make", [keras_file, h5_file])
def test_code_is_refused_by_name(tmp_path: Path, make: Any, item: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SourceModelError, match=sentence):
        inspect(make(tmp_path, sequential(layer("Dense"), item)))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.text(min_size=1, max_size=12).filter(
        lambda kind: kind not in keras_names().layers | keras_names().settings | MODELS
    ),
)
def test_no_depth_hides_an_unknown_class(tmp_path_factory: pytest.TempPathFactory, around: Any, kind: str) -> None:
    hidden = layer("Dense", extra=[around, {"deep": [layer(kind)]}])
    with pytest.raises(SourceModelError):
        inspect(h5_file(tmp_path_factory.mktemp("deep"), sequential(hidden)))


def test_slow_layers_are_named(tmp_path: Path) -> None:
    config = sequential(layer("GRU"), layer("Masking"), layer("LSTM", recurrent_dropout=0.2), layer("Dense"))
    assert [sentence.split()[1] for sentence in inspect(keras_file(tmp_path, config)).warnings] == [
        "'my_GRU'",
        "'my_Masking'",
        "'my_LSTM'",
    ]


def test_a_zip_holds_nothing_but_a_network(tmp_path: Path) -> None:
    path = keras_file(tmp_path, sequential(layer("Dense")))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/../../evil.py", "print('here')")
    with pytest.raises(SourceModelError, match="holds 'assets/"):
        inspect(path)


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    path = h5_file(tmp_path, sequential(layer("Dense")))
    with h5py.File(path, "r+") as file:
        file["inside/elsewhere"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(SourceModelError, match="links to another file"):
        inspect(path)


def test_values_kept_in_other_files_are_refused(tmp_path: Path) -> None:
    path = h5_file(tmp_path, sequential(layer("Dense")))
    with h5py.File(path, "r+") as file:
        file.create_dataset("far", (4,), "f4", external=[(str(tmp_path / "raw"), 0, 16)])
    with pytest.raises(SourceModelError, match="keeps its values in another file"):
        inspect(path)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"nothing of Keras")
    for wrong, sentence in (
        (path, "is no Keras file"),
        (tmp_path, "there is no Keras file"),
        (tmp_path / "no", "no Keras"),
    ):
        with pytest.raises(SourceModelError, match=sentence):
            inspect(wrong)


def test_old_sequential_configs_get_an_input_layer() -> None:
    first = {"class_name": "Conv1D", "config": {"filters": 3, "batch_input_shape": [None, 216, 1]}}
    new = modern({"class_name": "Sequential", "config": [first, {"class_name": "Flatten", "config": {}}]})
    kinds = [item["class_name"] for item in new["config"]["layers"]]
    assert kinds == ["InputLayer", "Conv1D", "Flatten"]
    assert new["config"]["layers"][0]["config"]["batch_input_shape"] == [None, 216, 1]
    assert "batch_input_shape" not in new["config"]["layers"][1]["config"]
    assert modern(new) == new
