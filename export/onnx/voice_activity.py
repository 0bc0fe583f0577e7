"""Convert a foreign voice-activity network to an artifact: 32 ms of new sound a step, and a recurrent state.

A worker gives 512 new samples at 16 kHz behind the 64 before them. A network that hears less gets the newest of them.
Its states become the contract's one `state` [2, N, H]; without any it is an empty one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bimodal.export.artifact import Progress, check_name, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.feeds import FLOATS, Feed, Port, check_fed, guessed, listed, parse_feed
from bimodal.export.onnx.ports import inputs_of, results_of
from bimodal.export.onnx.wrap import PREFIX, enclose, prefixed, raise_opset
from bimodal.export.real_inputs import sounds_of
from bimodal.models.contract import CONTRACT_VERSION, Metadata

STEP_S, LOOKBACK_S = 0.032, 0.004
"""New sound a step, and the sound before it, in seconds; see workers/audio/pipeline.py."""

Values = NDArray[Any]


class Parts(msgspec.Struct, frozen=True):
    """The parts of a voice-activity network.

    Attributes:
        waveform: its input of `samples` samples.
        states, next_states: inputs and outputs of its state, in the same order.
        axis: on which several states are joined.
        width: last size of the contract's state.
        probability: its output, of `columns` columns, of which `voice` is the one of voice.
        feeds: what its other inputs get.
    """

    waveform: Port
    samples: int
    states: tuple[Port, ...]
    next_states: tuple[str, ...]
    axis: int
    width: int
    probability: str
    voice: int
    feeds: tuple[Feed, ...]


def adopt_voice_activity(
    model: onnx.ModelProto,
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx for a foreign voice-activity network; nothing is written if anything is wrong.

    Raises ExportError (file, description, parity) or ArtifactError (contract).
    """
    name, version, rate = description.name or path.stem, description.version or "1", description.sample_rate
    check_name(name)
    if rate is None:
        raise SourceModelError(f"say at which rate {path} hears: --sample-rate (8000 or 16000, most often)")
    parts = _parts(model, description, rate, path)
    original = Steps(model, parts, path)
    random = np.random.default_rng(0)
    whole = round(STEP_S * rate) + round(LOOKBACK_S * rate)
    hiss = [_case(random.normal(0, 0.1, (1, whole)), random, parts.width) for _ in range(3)]
    heard = [sound[start : start + whole] for sound in sounds_of(sounds, rate)
             for start in range(0, max(1, sound.size - whole), 40 * whole)][:8]  # fmt: skip
    real = [_case(np.resize(sound, whole)[None], random, parts.width) for sound in heard if sound.size]
    original.settle([*hiss, *real])
    wrapped = _wrap(raise_opset(model, path), parts, original, rate, name)
    if parts.feeds:
        progress(f"fed: {', '.join(map(str, parts.feeds))}")
    progress(
        f"it hears {parts.samples} samples a step; {len(parts.states) or 'no'} "
        f"state{'s' if len(parts.states) != 1 else ''}" + ("; a sigmoid is added" if original.logit else "")
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    metadata = Metadata(
        contract=CONTRACT_VERSION,
        kind="voice-activity",
        name=name,
        version=version,
        license=description.license or "unknown",
        source=f"{description.source or 'converted'} (from {path.name}, sha256 {digest})",
        sample_rate=rate,
    )
    return ship(wrapped, metadata, original, {"random": hiss, "real": real}, out, progress)


def _case(wave: Values, random: np.random.Generator, width: int) -> dict[str, Values]:
    return {
        "waveform": wave.astype(np.float32),
        "state": random.normal(0, 0.1, (2, len(wave), width)).astype(np.float32),
    }


def _parts(model: onnx.ModelProto, description: Description, rate: int, path: Path) -> Parts:
    inputs, results = inputs_of(model.graph), results_of(model)
    said = dict(parse_feed(text) for text in description.feed or ())
    free = [port for port in inputs if port.name not in said and guessed(port, "voice-activity", rate) is None]
    states = [
        port
        for port in free
        if port.type in FLOATS and len(port.shape or ()) == 3 and port.shape and port.shape[1] != 1
    ]
    waves = [port for port in free if port not in states and (description.input in (None, port.name))]
    if len(waves) != 1 or waves[0].type != TensorProto.FLOAT or len(waves[0].shape or ()) not in (2, 3):
        raise SourceModelError(
            f"{path} has the inputs {listed(inputs)}: one must be a waveform float [N, samples] (--input), states are "
            "float [2, N, H], and what else there is needs --feed NAME=NUMBER"
        )
    wave = waves[0]
    whole = round(STEP_S * rate) + round(LOOKBACK_S * rate)
    fixed = wave.columns or (round(description.window_s * rate) if description.window_s else None)
    if fixed is None:
        raise SourceModelError(
            f"{path} takes any number of samples: say how much it hears at once with --window, in seconds"
        )
    if fixed > whole:
        raise SourceModelError(
            f"{path} hears {fixed} samples at once, but a step has {whole} at {rate} Hz ({STEP_S:g} s and the "
            f"{LOOKBACK_S:g} s "
            "before): a network of longer windows can't be a voice-activity model here"
        )
    floats = [result for result in results if result.port.type in FLOATS]
    scores = [result for result in floats if len(result.port.shape or ()) != 3]
    chosen = [result for result in scores if description.output in (None, result.port.name)]
    if len(chosen) != 1:
        raise SourceModelError(f"{path} has the outputs {listed(results)}: say which is the voice's with --output")
    nexts = [result.tensor for result in floats if len(result.port.shape or ()) == 3]
    if len(nexts) != len(states):
        raise SourceModelError(
            f"{path} takes {len(states)} states, but gives {len(nexts)}: {listed(inputs)}; {listed(results)}"
        )
    axis, width = _state_form(states, path)
    feeds = []
    for port in inputs:
        if port in states or port is wave:
            continue
        value = said.get(port.name) or guessed(port, "voice-activity", rate)
        assert value is not None
        check_fed(port, value, path)
        feeds.append(Feed(port, value, (wave.shape or (None,))[0], (wave.shape or (None,))[-1]))
    columns = chosen[0].columns or 1
    voice = _voice(columns, description.labels, path)
    return Parts(wave, fixed, tuple(states), tuple(nexts), axis, width, chosen[0].tensor, voice, tuple(feeds))


def _is_state(port: Port) -> bool:
    """A float input [layers, N, H] of one or two layers; [1, 1, S] is one of sound."""
    shape = port.shape or ()
    return port.type in FLOATS and len(shape) == 3 and (shape[0] == 2 or (shape[0] == 1 and shape[1] != 1))


def _state_form(states: Sequence[Port], path: Path) -> tuple[int, int]:
    """(axis on which the states are joined to [2, N, H], H)."""
    if not states:
        return 0, 1
    layers, width = (states[0].shape or (0, 0, 0))[0], states[0].columns
    alike = all(port.shape is not None and port.shape[0] == layers and port.columns == width for port in states)
    if alike and width is not None:
        if layers == 2 and len(states) <= 2:
            return 2, width * len(states)
        if layers == 1 and len(states) == 2:
            return 0, width
    raise SourceModelError(
        f"{path} keeps its state as {listed(states)}: bimodal carries one [2, N, H], two of that, or two [1, N, H]"
    )


def _voice(columns: int, labels: Sequence[str] | None, path: Path) -> int:
    if columns == 1:
        return 0
    if labels is None or len(labels) != columns or "voice" not in labels:
        raise SourceModelError(
            f"{path} gives {columns} numbers a step: name them, one of them voice, such as --labels other,voice"
        )
    return list(labels).index("voice")


class Steps:
    """The reference for parity: `waveform` and `state` in, `probability` and `next_state` out.

    Attributes:
        logit: whether a sigmoid (or a softmax of several columns) is missing.
        columns: numbers that the network gives a step.
    """

    def __init__(self, model: onnx.ModelProto, parts: Parts, path: Path) -> None:
        self._parts, self._path = parts, path
        self.logit, self.columns = False, 1
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own, undocumented exception classes
            raise SourceModelError(f"{path} can't be opened by ONNX Runtime: {str(error)[:200]}") from error

    def settle(self, cases: Sequence[dict[str, Values]]) -> None:
        """Find out whether the network gives probabilities."""
        found = np.concatenate([self._raw(case)[0] for case in cases])
        self.columns = found.shape[1]
        whole = self.columns == 1 or np.abs(found.sum(axis=1) - 1).max() < 1e-3
        self.logit = not (whole and found.min() >= -1e-3 and found.max() <= 1 + 1e-3)

    def __call__(self, case: dict[str, Values]) -> dict[str, Values]:
        """Compute both outputs."""
        scores, state = self._raw(case)
        if self.logit and scores.shape[1] == 1:
            scores = 1 / (1 + np.exp(-scores))
        elif self.logit:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
        voice = self._parts.voice
        return {"probability": scores[:, voice : voice + 1].astype(np.float32), "next_state": state.astype(np.float32)}

    def _raw(self, case: dict[str, Values]) -> tuple[Values, Values]:
        parts = self._parts
        wave = case["waveform"][:, -parts.samples :]
        feed: dict[str, Values] = {parts.waveform.name: wave[:, None] if len(parts.waveform.shape or ()) == 3 else wave}
        states = np.split(case["state"], len(parts.states), axis=parts.axis) if parts.states else []
        feed.update({port.name: value for port, value in zip(parts.states, states, strict=True)})
        feed.update({other.port.name: other.array(len(wave), parts.samples) for other in parts.feeds})
        try:
            scores, *nexts = self._session.run([parts.probability, *parts.next_states], feed)
        except Exception as error:
            raise SourceModelError(f"{self._path} can't be run by ONNX Runtime: {str(error)[:200]}") from error
        state = np.concatenate(nexts, axis=parts.axis) if nexts else case["state"]
        return scores.reshape(len(wave), -1).astype(np.float64), state


def _wrap(model: onnx.ModelProto, parts: Parts, steps: Steps, rate: int, name: str) -> onnx.ModelProto:
    before, after = Draft("before"), Draft("after")
    whole = round(STEP_S * rate) + round(LOOKBACK_S * rate)
    last = before.node(
        "Slice", "waveform", before.integers([whole - parts.samples]), before.integers([whole]), before.integers([1])
    )
    for feed in parts.feeds:
        feed.nodes(before, last, -1, PREFIX + feed.port.name)
    if len(parts.waveform.shape or ()) == 3:
        last = before.node("Unsqueeze", last, before.integers([1]))
    before.nodes.append(helper.make_node("Identity", [last], [PREFIX + parts.waveform.name]))
    if parts.states:
        names = [PREFIX + port.name for port in parts.states]
        before.nodes.append(
            helper.make_node("Split", ["state"], names, axis=parts.axis, num_outputs=len(names))
            if len(names) > 1
            else helper.make_node("Identity", ["state"], names)
        )
    joined = [PREFIX + tensor for tensor in parts.next_states] or ["state"]
    after.nodes.append(
        helper.make_node("Concat", joined, ["next_state"], axis=parts.axis)
        if len(joined) > 1
        else helper.make_node("Identity", joined, ["next_state"])
    )
    scores = after.node("Flatten", PREFIX + parts.probability, axis=1)
    several = (
        parts.voice > 0
        or steps._raw(_case(np.zeros((1, whole)), np.random.default_rng(0), parts.width))[0].shape[1] > 1
    )
    if steps.logit:
        scores = after.node("Softmax", scores, axis=1) if several else after.node("Sigmoid", scores)
    if several:
        scores = after.node("Gather", scores, after.integers([parts.voice]), axis=1)
    after.nodes.append(helper.make_node("Identity", [scores], ["probability"]))
    value = helper.make_tensor_value_info
    inputs = [
        value("waveform", TensorProto.FLOAT, ["batch", whole]),
        value("state", TensorProto.FLOAT, [2, "batch", parts.width]),
    ]
    outputs = [
        value("probability", TensorProto.FLOAT, ["batch", 1]),
        value("next_state", TensorProto.FLOAT, [2, "batch", parts.width]),
    ]
    return enclose(model, prefixed(model, dynamic=True), before, after, inputs, outputs, name)
