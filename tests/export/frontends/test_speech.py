"""Speech front ends as ONNX graphs against librosa, on made sounds, and on real speech where there is some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.layout import AddChannel, MeanOfFeatures, Stack, Stretch, Turn
from bimodal.export.frontends.levels import Fit, Rms, Scale, Standardise, Trim, ZeroCrossings
from bimodal.export.frontends.presets import SPEECH_PRESETS
from bimodal.export.frontends.spectrum import Decibels, LogMel, Mel, Mfcc
from bimodal.export.frontends.speech import SpeechFrontend

pytest.importorskip("librosa")
from bimodal.export.frontends.reference import features

Waveforms = NDArray[np.float32]

SMALL = Mel(rate=16_000, fft=512, hop=160, bands=40)
STEPS: dict[str, tuple[Any, ...]] = {
    "scale": (Scale(32_768.0),),
    "standardise": (Standardise(1e-7),),
    "trim": (Trim(top_db=25.0),),
    "trim small": (Trim(top_db=40.0, frame=400, hop=160),),
    "fit": (Fit(9_000),),
    "rms": (Rms(),),
    "zero crossings": (ZeroCrossings(frame=512, hop=128),),
    "log-mel": (LogMel(SMALL),),
    "log-mel without floor": (LogMel(SMALL, Decibels(top_db=None)),),
    "log-mel of a short window": (LogMel(Mel(rate=16_000, fft=512, window=400, hop=160, bands=64, centre=False)),),
    "log-mel of some band": (LogMel(Mel(rate=16_000, lowest=300.0, highest=4_000.0, bands=20, padding="reflect")),),
    "mfcc": (Mfcc(SMALL, coefficients=20),),
    "log-mel against the loudest, stretched": (LogMel(SMALL, Decibels(reference="largest")), Stretch(352)),
    "shrunk in time": (LogMel(SMALL), Stretch(10)),
    "one value a step": (Mfcc(SMALL), MeanOfFeatures()),
    "turned": (Mfcc(SMALL), Turn(), AddChannel()),
    "stacked": (Stack((Rms(512, 160), ZeroCrossings(512, 160), LogMel(SMALL))), Standardise()),
}


def opened(frontend: SpeechFrontend) -> onnxruntime.InferenceSession:
    draft = Draft()
    draft.nodes.append(helper.make_node("Identity", [frontend(draft, "waveform")], ["features"]))
    result = helper.make_tensor_value_info("features", TensorProto.FLOAT, None)
    result.type.tensor_type.ClearField("shape")
    waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["N", "S"])
    graph = draft.graph("frontend", [waveform], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert all(node.domain == "" and node.op_type not in ("Loop", "Scan", "If") for node in graph.node)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def of_steps(*steps: Any) -> SpeechFrontend:
    return SpeechFrontend(sample_rate=16_000, window_s=1.0, minimum_window_s=0.1, steps=steps)


def speechlike(seconds: float, rate: int, seed: int = 0) -> NDArray[np.float32]:
    """A gliding voice with overtones, syllables, breath and near-silence before and behind."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * time + seed)) / rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time + seed), 0, 1) * (time > 0.17 * seconds) * (time < 0.8 * seconds)
    sound = 0.1 * voice * syllables + 2e-4 * random.standard_normal(time.size)
    return sound.astype(np.float32)


def assert_equal_to_librosa(frontend: SpeechFrontend, waveforms: Waveforms) -> None:
    """[N, S], each for itself and all in one run; within 1e-4 of the largest value of each column."""
    session = opened(frontend)
    together = session.run(None, {"waveform": waveforms})[0]
    for number, waveform in enumerate(waveforms):
        expected = features(frontend, waveform)
        assert together[number].shape == expected.shape
        scale = np.abs(expected).max(axis=0, keepdims=True) + 1e-9
        assert (np.abs(together[number] - expected) / scale).max() < 1e-4
        alone = session.run(None, {"waveform": waveform[None]})[0][0]
        np.testing.assert_allclose(alone, together[number], rtol=1e-4, atol=1e-4 * scale.max())


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_each_piece_equals_librosa(steps: tuple[Any, ...]) -> None:
    waveforms = np.stack([speechlike(1.03, 16_000, seed) * (seed + 1) for seed in range(3)])
    assert_equal_to_librosa(of_steps(*steps), waveforms)


@pytest.mark.parametrize("name", SPEECH_PRESETS)
@pytest.mark.parametrize("seconds", [0.9, 2.6, 4.1])
def test_presets_equal_librosa_whatever_the_length(name: str, seconds: float) -> None:
    frontend = SPEECH_PRESETS[name].frontend
    assert_equal_to_librosa(frontend, speechlike(seconds, frontend.sample_rate)[None])


def test_both_352_by_15_conventions_have_that_shape() -> None:
    for name in ("ser-352x15", "seed-mel15"):
        frontend = SPEECH_PRESETS[name].frontend
        sound = speechlike(frontend.window_s, frontend.sample_rate)[None]
        assert opened(frontend).run(None, {"waveform": sound})[0].shape == (1, 352, 15)


def test_silence_gives_finite_features() -> None:
    for preset in SPEECH_PRESETS.values():
        silence = np.zeros((2, preset.frontend.sample_rate), np.float32)
        assert np.isfinite(opened(preset.frontend).run(None, {"waveform": silence})[0]).all()


TRIM = opened(of_steps(Trim(top_db=30.0)))


@settings(max_examples=40)
@given(
    quiet_before=st.integers(0, 6_000),
    loud=st.integers(1, 6_000),
    quiet_behind=st.integers(0, 6_000),
    seed=st.integers(0, 1_000),
)
def test_trim_finds_the_same_ends_as_librosa(quiet_before: int, loud: int, quiet_behind: int, seed: int) -> None:
    envelope = np.repeat([1e-4, 0.5, 1e-4], [quiet_before, loud, quiet_behind])
    sound = (np.random.default_rng(seed).standard_normal(envelope.size) * envelope).astype(np.float32)
    found = TRIM.run(None, {"waveform": sound[None]})[0][0]
    np.testing.assert_array_equal(found, features(of_steps(Trim(top_db=30.0)), sound))


def test_the_spectrum_of_a_tone_peaks_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)[None]
    bands = opened(of_steps(LogMel(Mel(rate=16_000, bands=15))))
    loudest = bands.run(None, {"waveform": tone})[0][0].mean(axis=0).argmax()
    edges = np.interp(np.linspace(0, 1, 17)[[loudest, loudest + 2]], [0, 1], [0, hertz_to_slaney(8_000)])
    assert edges[0] < hertz_to_slaney(1_000) < edges[1]


def hertz_to_slaney(hertz: float) -> float:
    """Slaney's mel: linear to 1 kHz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1_000 else 15 + float(np.log(hertz / 1_000) / (np.log(6.4) / 27))


def test_a_front_end_survives_its_own_description() -> None:
    for preset in SPEECH_PRESETS.values():
        text = msgspec.json.encode(preset.frontend)
        assert msgspec.json.decode(text, type=SpeechFrontend) == preset.frontend


def test_a_graph_passes_the_checker() -> None:
    frontend = SPEECH_PRESETS["ser-352x15"].frontend
    draft = Draft("front")
    waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["N", "S"])
    result = helper.make_tensor_value_info(frontend(draft, "waveform"), TensorProto.FLOAT, ["N", 352, 15])
    model = helper.make_model(
        draft.graph("frontend", [waveform], [result]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.shared
@pytest.mark.parametrize("name", SPEECH_PRESETS)
def test_presets_equal_librosa_on_real_speech(shared: Path, name: str) -> None:
    import soundfile
    import soxr

    frontend = SPEECH_PRESETS[name].frontend
    for path in sorted((shared / "data/ravdess").glob("Actor_*/*.flac"))[::230]:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        speech = soxr.resample(sound.mean(axis=1), rate, frontend.sample_rate)
        assert_equal_to_librosa(frontend, speech[None])
