"""Files that reach outside themselves, or ask for operators of others, are refused before ONNX Runtime sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bimodal.models.errors import ArtifactError
from bimodal.models.scan import DEEPEST, scan
from bimodal.models.session import open_artifact
from tests.artifacts import make_face_static, make_speech

Change = Callable[[onnx.ModelProto], None]


def changed(path: Path, change: Change) -> Path:
    """A working artifact, but for one thing. Saved as bytes: onnx.save would follow what is external."""
    model = onnx.load(make_face_static(path))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def outside(tensor: onnx.TensorProto, location: str) -> None:
    """Keep a tensor's values in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


@pytest.mark.parametrize(
    "location", ["weights.bin", "../weights.bin", "/etc/passwd", "a/../../weights.bin", "link.bin"]
)
def test_weights_in_another_file_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "m").mkdir()
    for place in (tmp_path, tmp_path / "m"):
        (place / "weights.bin").write_bytes(bytes(4096))
    (tmp_path / "m" / "link.bin").symlink_to("/etc/passwd")

    def change(model: onnx.ModelProto) -> None:
        outside(next(tensor for tensor in model.graph.initializer if tensor.raw_data), location)

    with pytest.raises(ArtifactError, match=r"m\.onnx keeps weights in another file"):
        open_artifact(changed(tmp_path / "m" / "m.onnx", change), provider="cpu")


def hidden(model: onnx.ModelProto, tensor: onnx.TensorProto, where: str) -> None:
    """Put a tensor into an odd place of a model."""
    node = helper.make_node("Constant", [], ["hidden"], value=tensor)
    if where == "constant":
        model.graph.node.append(node)
    elif where == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    elif where == "function":
        model.functions.append(helper.make_function("own", "f", [], ["hidden"], [node], [helper.make_opsetid("", 18)]))
    elif where == "branch":
        graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1])])
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph))
    else:
        attribute = model.graph.node[0].attribute.add()
        attribute.name, attribute.type = "many", onnx.AttributeProto.TENSORS
        attribute.tensors.append(tensor)


@pytest.mark.parametrize("where", ["constant", "sparse", "function", "branch", "list"])
def test_they_are_found_wherever_they_hide(tmp_path: Path, where: str) -> None:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "w")
    clean = changed(tmp_path / "clean.onnx", lambda model: hidden(model, tensor, where))
    scan(clean.read_bytes(), "clean.onnx")
    outside(tensor, "../x")
    with pytest.raises(ArtifactError, match="keeps weights in another file"):
        open_artifact(changed(tmp_path / "m.onnx", lambda model: hidden(model, tensor, where)), provider="cpu")


def test_operators_of_others_are_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Shell", [], ["z"], domain="evil.ops"))
        model.opset_import.append(helper.make_opsetid("evil.ops", 1))

    with pytest.raises(ArtifactError, match=r"needs the operator Shell of 'evil\.ops'"):
        open_artifact(changed(tmp_path / "m.onnx", change), provider="cpu")


def test_programs_compiled_for_a_device_are_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        node = helper.make_node("EPContext", [], ["z"], domain="com.microsoft", ep_cache_context="../x.so")
        model.graph.node.append(node)

    with pytest.raises(ArtifactError, match="EPContext, which runs programs from other files"):
        open_artifact(changed(tmp_path / "m.onnx", change), provider="cpu")


def test_functions_of_the_file_itself_are_its_own_operators(tmp_path: Path) -> None:
    path = changed(tmp_path / "m.onnx", lambda model: hidden(model, onnx.TensorProto(data_type=1), "function"))
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("f", [], ["z"], domain="own"))
    scan(model.SerializeToString(), "m.onnx")


@pytest.mark.parametrize(
    "data", [b"not a model", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 20, b"\x3b", b"\x00\x00", b"\x3a\x05"]
)
def test_what_is_no_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"^m\.onnx is empty \(0 bytes\)$"):
        scan(b"", "m.onnx")
    with pytest.raises(ArtifactError, match="is no ONNX file"):
        scan(data, "m.onnx")


def test_graphs_within_graphs_have_an_end() -> None:
    data = b""
    for tag in (0x32, 0x2A, 0x0A) * DEEPEST:  # graph in attribute in node
        data = bytes([tag]) + varint(len(data)) + data
    with pytest.raises(ArtifactError, match="graphs within graphs"):
        scan(bytes([0x3A]) + varint(len(data)) + data, "m.onnx")


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def test_an_input_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for axis in (1, 2):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 10**6

    with pytest.raises(ArtifactError, match=r"more than a worker can give it|can't be opened"):
        open_artifact(changed(tmp_path / "m.onnx", change), provider="cpu")


@pytest.mark.parametrize(
    ("key", "value"),
    [("window_s", "1e300"), ("sample_rate", "0"), ("sample_rate", "99999999999"), ("name", "a\x1b[2J")],
)
def test_metadata_that_asks_for_too_much_is_refused(tmp_path: Path, key: str, value: str) -> None:
    model = onnx.load(make_speech(tmp_path / "m.onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props} | {key: value}
    del model.metadata_props[:]
    helper.set_model_props(model, properties)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="metadata is wrong"):
        open_artifact(tmp_path / "m.onnx", provider="cpu")


def test_more_operators_or_constants_than_a_network_has_are_told_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_face_static(tmp_path / "m.onnx")
    monkeypatch.setattr("bimodal.models.scan.MOST_OF_ONE", 2)
    graph = onnx.load(path).graph
    with pytest.raises(ArtifactError, match=f"has {len(graph.node)} operators; an artifact may have 2"):
        scan(Path(path).read_bytes(), str(path))
