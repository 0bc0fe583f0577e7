"""Convert Silero VAD's 16 kHz network to a voice-activity artifact.

The weights are in the wheel silero-vad (MIT). The original graph chooses between two networks by sample rate and
queries shapes at every step; this one is the 16 kHz network alone, rebuilt from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.errors import SourceModelError
from bimodal.export.parity import Difference, measure
from bimodal.models.contract import CONTRACT_VERSION, Metadata
from bimodal.models.session import Artifact

WHEEL = "silero-vad==6.2.3"
VERSION = "6.2.3"
WEIGHTS_FILE = "silero_vad/data/silero_vad_16k_sequence.onnx"
ORIGINAL_FILE = "silero_vad/data/silero_vad.onnx"
FILES: Mapping[str, str] = {
    WEIGHTS_FILE: "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    ORIGINAL_FILE: "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
}

SAMPLE_RATE = 16_000
STEP = 512
CONTEXT = 64
TOLERANCE = 1e-5

Floats = NDArray[np.float32]

# Names in the original → shape; the STFT's filters are 129 cosines, then 129 sines.
WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "stft.forward_basis_buffer": (258, 1, 256),
    "encoder.0.weight": (128, 129, 3),
    "encoder.0.bias": (128,),
    "encoder.1.weight": (64, 128, 3),
    "encoder.1.bias": (64,),
    "encoder.2.weight": (64, 64, 3),
    "encoder.2.bias": (64,),
    "encoder.3.weight": (128, 64, 3),
    "encoder.3.bias": (128,),
    "output.weight": (1, 128, 1),
    "output.bias": (1,),
}
ENCODER_STRIDES = (1, 2, 2, 1)


def convert(source: Path) -> onnx.GraphProto:
    """N consecutive steps of one sound: `waveform` float32 [N, 576] (64 previous samples, 512 new), `state` float32
    [2, 1, 128] before the first → `probability` float32 [N, 1] in 0…1, `next_state` float32 [2, 1, 128] after the last.

    Raises SourceModelError if the file is not the network that the exporter knows.
    """
    weights = read_weights(source)
    nodes = [*_spectrum_nodes(), *_encoder_nodes(), *_recurrent_nodes()]
    # The state's two halves are the LSTM's h and c.
    return helper.make_graph(
        nodes,
        "silero-vad",
        inputs=[_float("waveform", ["N", CONTEXT + STEP]), _float("state", [2, 1, 128])],
        outputs=[_float("probability", ["N", 1]), _float("next_state", [2, 1, 128])],
        initializer=[numpy_helper.from_array(value, name) for name, value in (weights | _constants()).items()],
    )


def read_weights(source: Path) -> dict[str, NDArray[np.generic]]:
    """Read the weights by name; the LSTM's three as `lstm.input`, `lstm.recurrent`, `lstm.bias`.

    Raises SourceModelError if one is missing or has another shape.
    """
    graph = onnx.load(str(source)).graph
    found = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    lstm = next((node for node in graph.node if node.op_type == "LSTM"), None)
    if lstm is None:
        raise SourceModelError(f"{source} holds no LSTM, so it is not the voice-activity network the exporter knows")
    names = dict(zip(("lstm.input", "lstm.recurrent", "lstm.bias"), lstm.input[1:4], strict=True))
    weights = {name: found.get(names.get(name, name)) for name in (*WEIGHTS, *names)}
    for name, value in weights.items():
        if value is None or (name in WEIGHTS and value.shape != WEIGHTS[name]):
            raise SourceModelError(f"{source} has no weights '{name}' of the shape that the exporter knows")
    return {name: value for name, value in weights.items() if value is not None}


def metadata(metrics: dict[str, object] | None = None) -> Metadata:
    """Metadata of the artifact."""
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="voice-activity",
        name="silero-vad",
        version=VERSION,
        license="MIT",
        source=f"{WEIGHTS_FILE} in the wheel {WHEEL}, sha256 {FILES[WEIGHTS_FILE]}",
        sample_rate=SAMPLE_RATE,
        metrics=metrics,
    )


def parity(artifact: Artifact, original: Path, inputs: str, sounds: Floats) -> list[Difference]:
    """Compare with the original graph on sounds float32 [N, S] at 16 kHz: all steps of a sound in one run, against step
    by step."""
    session = ort.InferenceSession(str(original), providers=["CPUExecutionProvider"])
    rate = np.array(SAMPLE_RATE, np.int64)
    found: list[list[Floats]] = [[], [], [], []]
    for steps in np.stack(_steps(sounds), axis=1):
        mine = artifact.run(waveform=steps, state=np.zeros((2, 1, 128), np.float32))
        state, theirs = np.zeros((2, 1, 128), np.float32), []
        for step in steps:
            probability, state = session.run(None, {"input": step[None], "state": state, "sr": rate})
            theirs.append(probability)
        for values, value in zip(
            found, (mine["probability"], np.concatenate(theirs), mine["next_state"], state), strict=True
        ):
            values.append(value)
    return [
        measure("probability", inputs, found[0], found[1], TOLERANCE),
        measure("next_state", inputs, found[2], found[3], TOLERANCE * 10),
    ]


def made_sounds() -> Floats:
    """Synthesise float32 [4, 3 s]: silence, noise, a hum with overtones, swelling noise; deterministic."""
    random = np.random.default_rng(0)
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 140 * k * time + np.sin(5 * time)) / k for k in range(1, 20)) / 6
    hiss = random.normal(0, 0.1, time.size)
    return np.stack([np.zeros_like(time), hiss, hum * (np.sin(9 * time) > 0), hiss * time / 3]).astype(np.float32)


def _steps(sounds: Floats) -> list[Floats]:
    padded = np.pad(sounds, ((0, 0), (CONTEXT, 0)))
    count = sounds.shape[1] // STEP
    return [padded[:, step * STEP : step * STEP + CONTEXT + STEP] for step in range(count)]


def _spectrum_nodes() -> list[onnx.NodeProto]:
    """Magnitudes [N, 129, 4] of four frames of 256 samples, one each 128; 64 samples are mirrored at the end."""
    return [
        helper.make_node("Pad", ["waveform", "mirrored"], ["padded"], mode="reflect"),
        helper.make_node("Unsqueeze", ["padded", "axis_1"], ["signal"]),
        helper.make_node("Conv", ["signal", "stft.forward_basis_buffer"], ["spectrum"], strides=[128]),
        helper.make_node("Split", ["spectrum"], ["real", "imaginary"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["real", "real"], ["real_power"]),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary_power"]),
        helper.make_node("Add", ["real_power", "imaginary_power"], ["power"]),
        helper.make_node("Sqrt", ["power"], ["features_0"]),
    ]


def _encoder_nodes() -> list[onnx.NodeProto]:
    """Four convolutions, [N, 129, 4] → [N, 128, 1]."""
    nodes = []
    for layer, stride in enumerate(ENCODER_STRIDES):
        inputs = [f"features_{layer}", f"encoder.{layer}.weight", f"encoder.{layer}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"convolved_{layer}"], strides=[stride], pads=[1, 1]))
        nodes.append(helper.make_node("Relu", [f"convolved_{layer}"], [f"features_{layer + 1}"]))
    return nodes


def _recurrent_nodes() -> list[onnx.NodeProto]:
    """All steps of the LSTM, [N, 128, 1] → [N, 1, 128] in time, and the probability after each."""
    lstm = ["sequence", "lstm.input", "lstm.recurrent", "lstm.bias", "", "h", "c"]
    return [
        helper.make_node("Transpose", [f"features_{len(ENCODER_STRIDES)}"], ["sequence"], perm=[0, 2, 1]),
        helper.make_node("Split", ["state"], ["h", "c"], axis=0, num_outputs=2),
        helper.make_node("LSTM", lstm, ["each_h", "next_h", "next_c"], hidden_size=128),
        helper.make_node("Concat", ["next_h", "next_c"], ["next_state"], axis=0),
        helper.make_node("Squeeze", ["each_h", "axis_1"], ["all_h"]),
        helper.make_node("Transpose", ["all_h"], ["hidden"], perm=[0, 2, 1]),
        helper.make_node("Relu", ["hidden"], ["rectified"]),
        helper.make_node("Conv", ["rectified", "output.weight", "output.bias"], ["logit"]),
        helper.make_node("Squeeze", ["logit", "axis_1"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["probability"]),
    ]


def _constants() -> dict[str, NDArray[np.generic]]:
    return {"mirrored": np.array([0, 0, 0, 64], np.int64), "axis_1": np.array([1], np.int64)}


def _float(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
