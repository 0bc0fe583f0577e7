"""PyTorch weights of known networks become artifacts that the live pipeline takes; anything else is named.

The authors' weights are not at hand: the state dicts here have their names and shapes, as published, and random values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.models.catalog import resolve
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.dynamic import dynamic_model

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxslim")
functional = torch.nn.functional

ROOT = Path(__file__).parents[3]
STATIC_BYTES, DYNAMIC_BYTES = 98_562_934, 11_569_812
"""Of the authors' files FER_static_ResNet50_AffectNet.pt and FER_dinamic_LSTM_Aff-Wild2.pt."""

State = dict[str, Any]


def _conv(random: Any, outputs: int, inputs: int, size: int) -> Any:
    return torch.randn(outputs, inputs, size, size, generator=random) * (2.0 / (inputs * size * size)) ** 0.5


def _norm(random: Any, prefix: str, channels: int, gain: float = 1.0) -> State:
    return {
        f"{prefix}.weight": gain * (0.5 + torch.rand(channels, generator=random)),
        f"{prefix}.bias": 0.2 * torch.randn(channels, generator=random),
        f"{prefix}.running_mean": 0.2 * torch.randn(channels, generator=random),
        f"{prefix}.running_var": 0.5 + torch.rand(channels, generator=random),
        f"{prefix}.num_batches_tracked": torch.tensor(7),
    }


def static_state() -> State:
    """Names and shapes as published; values random, but such that answers differ from face to face."""
    random = torch.Generator().manual_seed(0)
    state: State = {"conv_layer_s2_same.weight": _conv(random, 64, 3, 7) / 60, **_norm(random, "batch_norm1", 64)}
    inputs = 64
    for layer, (width, depth) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True), start=1):
        for block in range(depth):
            name = f"layer{layer}.{block}"
            state[f"{name}.conv1.weight"] = _conv(random, width, inputs, 1)
            state[f"{name}.conv2.weight"] = _conv(random, width, width, 3)
            state[f"{name}.conv3.weight"] = _conv(random, 4 * width, width, 1)
            for number, channels in ((1, width), (2, width), (3, 4 * width)):
                state |= _norm(random, f"{name}.batch_norm{number}", channels, 0.4 if number == 3 else 1.0)
            if block == 0:
                state[f"{name}.i_downsample.0.weight"] = _conv(random, 4 * width, inputs, 1)
                state |= _norm(random, f"{name}.i_downsample.1", 4 * width)
            inputs = 4 * width
    for name, outputs, inputs in (("fc1", 512, 2048), ("fc2", 7, 512)):
        state[f"{name}.weight"] = torch.randn(outputs, inputs, generator=random) * inputs**-0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=random)
    return state


def dynamic_state() -> State:
    random = torch.Generator().manual_seed(1)
    state: State = {}
    for name, inputs, hidden in (("lstm1", 512, 512), ("lstm2", 512, 256)):
        for part, shape in (("weight_ih", (4 * hidden, inputs)), ("weight_hh", (4 * hidden, hidden))):
            state[f"{name}.{part}_l0"] = torch.randn(*shape, generator=random) * 0.08
        for part in ("bias_ih", "bias_hh"):
            state[f"{name}.{part}_l0"] = torch.randn(4 * hidden, generator=random) * 0.1
    state["fc.weight"] = torch.randn(7, 256, generator=random) * 0.5
    state["fc.bias"] = torch.randn(7, generator=random) * 0.1
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("torch")
    torch.save(static_state(), path / "FER_static_ResNet50_AffectNet.pt")
    torch.save(dynamic_state(), path / "FER_dinamic_LSTM_Aff-Wild2.pt")
    return path


def _export(file: Path, architecture: str, out: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["torch", str(file), "--architecture", architecture, "--out", str(out), *more])


@pytest.fixture(scope="module")
def static(folder: Path) -> Artifact:
    result = _export(folder / "FER_static_ResNet50_AffectNet.pt", "emo-affectnet", folder / "out")
    assert result.exit_code == 0, result.output
    assert "128 nodes" in result.output
    return open_artifact(folder / "out/emo-affectnet/model.onnx", "face-static", provider="cpu")


@pytest.fixture(scope="module")
def dynamic(folder: Path) -> Artifact:
    file = folder / "FER_dinamic_LSTM_Aff-Wild2.pt"
    result = _export(file, "emo-affectnet-dynamic", folder / "out", "--name", "emo-affectnet-aff-wild2")
    assert result.exit_code == 0, result.output
    return open_artifact(folder / "out/emo-affectnet-aff-wild2/model.onnx", "face-dynamic", provider="cpu")


def test_state_dicts_are_as_large_as_the_published_files(folder: Path) -> None:
    """A zip file also holds the names in it, hence a little to and fro."""
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.pt")}
    assert sizes["FER_static_ResNet50_AffectNet.pt"] == pytest.approx(STATIC_BYTES, rel=3e-4)
    assert sizes["FER_dinamic_LSTM_Aff-Wild2.pt"] == pytest.approx(DYNAMIC_BYTES, rel=3e-4)


def _norm_by_hand(state: State, prefix: str, maps: Any) -> Any:
    mean, var, weight, bias = (state[f"{prefix}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(maps, mean, var, weight, bias, eps=1e-3)


def static_by_hand(state: State, faces: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The network as FACTS describes it, written down once more without any of our modules."""
    bgr = faces[..., ::-1].astype(np.float32) - np.array([91.4953, 103.8827, 131.0912], np.float32)
    maps = torch.from_numpy(np.ascontiguousarray(bgr.transpose(0, 3, 1, 2)))
    maps = functional.conv2d(functional.pad(maps, (2, 3, 2, 3)), state["conv_layer_s2_same.weight"], stride=2)
    maps = functional.max_pool2d(torch.relu(_norm_by_hand(state, "batch_norm1", maps)), 3, 2)
    for layer, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            name, stride = f"layer{layer}.{block}", 2 if block == 0 and layer > 1 else 1
            path = functional.conv2d(maps, state[f"{name}.conv1.weight"], stride=stride)
            path = torch.relu(_norm_by_hand(state, f"{name}.batch_norm1", path))
            path = functional.conv2d(path, state[f"{name}.conv2.weight"], padding=1)
            path = torch.relu(_norm_by_hand(state, f"{name}.batch_norm2", path))
            path = _norm_by_hand(state, f"{name}.batch_norm3", functional.conv2d(path, state[f"{name}.conv3.weight"]))
            if block == 0:
                maps = functional.conv2d(maps, state[f"{name}.i_downsample.0.weight"], stride=stride)
                maps = _norm_by_hand(state, f"{name}.i_downsample.1", maps)
            maps = torch.relu(maps + path)
    embedding = torch.relu(functional.linear(maps.mean(dim=(2, 3)), state["fc1.weight"], state["fc1.bias"]))
    logits = functional.linear(embedding, state["fc2.weight"], state["fc2.bias"])
    return torch.softmax(logits, dim=1).numpy(), embedding.numpy()


def _portrait() -> NDArray[np.uint8]:
    picture = cv2.imread(str(ROOT / "workers/demo/portrait.jpg"))
    assert picture is not None
    return np.asarray(picture[..., ::-1], np.uint8)


@pytest.mark.parametrize("count", [1, 3])
def test_static_answers_as_the_published_network_would(static: Artifact, count: int) -> None:
    face = cv2.resize(_portrait(), (224, 224))
    faces = np.stack([face, 255 - face, np.roll(face, 40, axis=1)])[:count]
    with torch.inference_mode():
        probabilities, embedding = static_by_hand(static_state(), faces)
    found = static.run(faces=faces)
    assert float(embedding.max()) > 0.1
    np.testing.assert_allclose(found["embedding"], embedding, atol=2e-4 * float(embedding.max()))
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-4)


def test_static_says_what_it_is(static: Artifact) -> None:
    metadata = static.metadata
    assert metadata.labels == ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger")
    assert metadata.embedding_space == "emo-affectnet@1"
    assert metadata.crop is not None
    assert (metadata.crop.scale, metadata.crop.rotate) == (1.0, False)
    metrics = metadata.metrics or {}
    assert metrics["agreement_random"] == metrics["agreement_real"] == 1.0
    assert {"parity_embedding_real", "parity_probabilities_random"} <= set(metrics)


def test_the_live_pipeline_takes_the_static_model(static: Artifact) -> None:
    detector, landmarks = (open_artifact(resolve(name), provider="cpu") for name in ("blazeface-short", "facemesh-468"))
    (face,) = FacePipeline(detector, landmarks, static, FaceSettings())(_portrait())
    assert face.embedding is not None
    embedding = np.frombuffer(face.embedding, "<f2")
    assert embedding.shape == (512,)
    assert embedding.min() >= 0
    assert sum(face.probabilities.values()) == pytest.approx(1)
    assert set(face.probabilities) == {"neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"}


def test_fusion_takes_the_dynamic_model_beside_its_static_one_only(static: Artifact, dynamic: Artifact) -> None:
    model = dynamic_model(dynamic, static.metadata.embedding_space)
    assert (model.steps, model.interval_s, model.dimensions) == (10, 0.2, 512)
    embeddings = np.abs(np.random.default_rng(0).normal(0, 1, (1, 10, 512))).astype(np.float32)
    state = dynamic_state()
    with torch.inference_mode():
        steps = torch.from_numpy(embeddings)
        for name, hidden in (("lstm1", 512), ("lstm2", 256)):
            steps = _lstm_by_hand(state, name, hidden, steps)
        logits = functional.linear(steps[:, -1], state["fc.weight"], state["fc.bias"])
        expected = torch.softmax(logits, dim=1).numpy()[0]
    assert list(model.predict(embeddings).probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    with pytest.raises(ArtifactError, match="trained on embeddings of 'emo-affectnet@1'"):
        dynamic_model(dynamic, "face-compact@1")


def _lstm_by_hand(state: State, name: str, hidden: int, steps: Any) -> Any:
    h = c = torch.zeros(len(steps), hidden)
    outputs = []
    for step in steps.unbind(1):
        gates = step @ state[f"{name}.weight_ih_l0"].T + state[f"{name}.bias_ih_l0"]
        gates = gates + h @ state[f"{name}.weight_hh_l0"].T + state[f"{name}.bias_hh_l0"]
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def _without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("fc.bias"), "lacks fc.bias"),
        (lambda state: {**state, "extra.weight": torch.zeros(1)}, "has the unexpected extra.weight"),
        (lambda state: {**state, "fc.weight": torch.zeros(8, 256)}, "fc.weight (8×256 instead of 7×256)"),
        (lambda state: {**state, "fc.bias": torch.full((7,), float("nan"))}, "no finite numbers in fc.bias"),
        (lambda state: {"weights": 3}, "holds no state dict"),
        (lambda state: {"state_dict": _without("fc.bias")(state)}, "lacks fc.bias"),
    ],
)
def test_misfits_are_named_and_nothing_is_written(tmp_path: Path, change: Callable[[State], Any], words: str) -> None:
    torch.save(change(dynamic_state()), tmp_path / "odd.pt")
    result = _export(tmp_path / "odd.pt", "emo-affectnet-dynamic", tmp_path / "out")
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


class Planted:
    """A pickle that would create a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_named_and_never_run(tmp_path: Path) -> None:
    torch.save({"fc.weight": Planted(tmp_path / "planted")}, tmp_path / "evil.pt")
    result = _export(tmp_path / "evil.pt", "emo-affectnet-dynamic", tmp_path / "out")
    assert result.exit_code == 1
    assert "holds a Python object" in result.output
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04broken"])
def test_no_weights_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.pt").write_bytes(content)
    result = _export(tmp_path / "odd.pt", "emo-affectnet", tmp_path / "out")
    assert result.exit_code == 1
    assert "can't be read as PyTorch weights" in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_own_face_checkpoint_of_any_width(tmp_path: Path) -> None:
    from bimodal.models.architectures.face_compact import FaceCompact

    torch.manual_seed(0)
    torch.save(FaceCompact(widths=(16, 24, 32), depth=1).state_dict(), tmp_path / "weights.pt")
    result = _export(tmp_path / "weights.pt", "face-compact", tmp_path, "--temperature", "0.7", "--name", "mine")
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "mine/model.onnx", "face-static", provider="cpu")
    assert artifact.metadata.temperature == 0.7
    assert artifact.metadata.embedding_space == "mine@1"
    assert artifact.inputs[0].shape == ("batch", 48, 48, 3)


def test_own_speech_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("librosa")
    from bimodal.models.architectures.speech_compact import SpeechCompact

    torch.manual_seed(0)
    torch.save({"model": SpeechCompact(channels=16, hidden=8).state_dict()}, tmp_path / "weights.pt")
    result = _export(tmp_path / "weights.pt", "speech-compact", tmp_path, "--name", "mine", "--license", "CC0")
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "mine/model.onnx", "speech", provider="cpu")
    assert artifact.metadata.license == "CC0"
    assert artifact.run(waveform=np.zeros((2, 20_000), np.float32))["probabilities"].shape == (2, 7)


SCRIPTS: Mapping[str, str] = {
    "reads files": "return torch.from_file('/etc/hostname', size=4) + x.mean((2, 3))",
    "writes files": "torch.save(x, 'out.pt')\n        return x.mean((2, 3))",
}


def _script(path: Path, body: str) -> Path:
    """TorchScript needs the source of what it compiles, so it stands in a file."""
    import importlib.util

    source = path.with_suffix(".py")
    source.write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        " + body + "\n"
    )
    spec = importlib.util.spec_from_file_location("scripted", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.jit.save(torch.jit.script(module.Net()), str(path))
    return path


DESCRIBED = "kind: face-static\nlabels: [happy, sad, fear]\nsize: 16\npixels: {scale: 0.0039}\n"


def test_torchscript_becomes_an_artifact_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(DESCRIBED + "logits: true\nembedding: output_1\n")
    file = _script(
        tmp_path / "net.pt", "print('hello', x.shape)\n        m = x.mean((2, 3))\n        return m * 9.0, m.relu()"
    )
    more = ("--config", str(tmp_path / "words.yaml"), "--name", "scripted")
    result = _export(file, "torchscript", tmp_path / "out", *more)
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/scripted/model.onnx", "face-static", provider="cpu")
    faces = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    means = faces.mean(axis=(1, 2)) * 0.0039
    found = artifact.run(faces=faces)
    np.testing.assert_allclose(found["embedding"], means, atol=1e-5)
    powers = np.exp(9 * means)
    np.testing.assert_allclose(found["probabilities"], powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    assert "TorchScript" in _export(file, "emo-affectnet", tmp_path / "out").output


@pytest.mark.parametrize("body", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_torchscript_that_touches_files_is_not_opened(tmp_path: Path, body: str) -> None:
    (tmp_path / "words.yaml").write_text(DESCRIBED)
    file = _script(tmp_path / "net.pt", body)
    result = _export(file, "torchscript", tmp_path / "out", "--config", str(tmp_path / "words.yaml"))
    assert result.exit_code == 1
    assert "which a model has no need of" in result.output
    assert not (tmp_path / "out").exists()


def test_torchscript_that_fails_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(DESCRIBED)
    file = _script(tmp_path / "net.pt", "return x.mean((2, 3)) @ torch.zeros(5, 3)")
    result = _export(file, "torchscript", tmp_path / "out", "--config", str(tmp_path / "words.yaml"))
    assert result.exit_code == 1
    assert "can't be run as TorchScript" in result.output
    assert len(result.output.strip().splitlines()) == 1
