"""speech-whisper learns in two steps: its heads alone, then the encoder's upper layer with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bimodal.models.architectures.speech_whisper import PLACES, WIDE, SpeechWhisper, WhisperStates
from bimodal.training.config import SpeechConfig
from bimodal.training.datasets.ravdess import Recording, load_ravdess
from bimodal.training.speech import networks
from bimodal.training.speech.train import predict, train_speech_run
from bimodal.training.speech.whisper import TunedTask, pool_of
from bimodal.values import convert
from tests.training.trees import write_ravdess

CONFIG = {
    "name": "tiny", "version": "1", "data": "ravdess", "output": "out", "network": "whisper", "batch": 4, "epochs": 1,
    "copies": 1, "learning_rate": 0.003, "weight_decay": 0.01, "backbone": "none.whl",
    "tuning": {"epochs": 2, "batch": 4, "encoder_rate": 1e-3},
}  # fmt: skip


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    whole = WhisperStates(layers=2)
    found = {f"layers.{name}": values for name, values in whole.layers.state_dict().items()}
    found |= {name: values for name, values in whole.stem.state_dict().items() if name.startswith("conv")}
    return {**found, "embed_positions.weight": 0.1 * torch.randn(2 * PLACES, WIDE)}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    folder = tmp_path_factory.mktemp("data")
    write_ravdess(folder, [1])
    return list(load_ravdess(folder))


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch, weights: dict[str, Tensor]) -> None:
    monkeypatch.setattr(networks, "encoder_weights", lambda wheel: weights)


def config(tmp_path: Path, **changes: object) -> SpeechConfig:
    return convert({**CONFIG, "runs": str(tmp_path), **changes}, SpeechConfig)


def state(parts: networks.Parts) -> dict[str, Any]:
    return parts.network.state_dict()


def test_the_heads_learn_alone_then_the_upper_layer_with_them(
    tmp_path: Path, weights: dict[str, Tensor], heard: list[Recording]
) -> None:
    said: list[str] = []
    alone = train_speech_run(config(tmp_path, tuning=None), heard, "all", said.append)
    layer = "layers.1.fc1.weight"
    assert torch.equal(state(alone)["layers.0.fc1.weight"], weights[layer])
    both = train_speech_run(config(tmp_path), heard, "all", said.append)
    assert any("is complete" in line for line in said), "the heads of the first run are the start of the second"
    assert not torch.equal(state(both)["layers.0.fc1.weight"], weights[layer])
    assert torch.equal(both.front_end.state_dict()["layers.0.fc1.weight"], weights["layers.0.fc1.weight"])
    name = "heads.heads.0.1.weight"
    assert not torch.equal(state(both)[name], state(alone)[name])
    assert torch.equal(state(both)["heads.mean"], state(alone)["heads.mean"])


def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    tmp_path: Path, heard: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_speech_run(config(tmp_path / "one"), heard, "all", print)
    complete = TunedTask.epoch

    def cut_off(task: TunedTask, number: int) -> Iterator[float]:
        if number == 1:
            raise KeyboardInterrupt
        return complete(task, number)

    with monkeypatch.context() as patched:
        patched.setattr(TunedTask, "epoch", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train_speech_run(config(tmp_path / "two"), heard, "all", print)
    again = train_speech_run(config(tmp_path / "two"), heard, "all", print)
    assert all(torch.equal(values, state(again)[name]) for name, values in state(whole).items())


def test_states_known_before_give_what_the_sound_gives(tmp_path: Path, heard: list[Recording]) -> None:
    settings = config(tmp_path, tuning=None)
    parts = networks.parts_of(settings)
    assert isinstance(parts.network, SpeechWhisper)
    known, anew = predict(parts, heard[:3], pool=pool_of(settings, parts)), predict(parts, heard[:3])
    assert np.allclose(known.logits, anew.logits, atol=0.02)  # states are float16
    assert np.allclose(known.live, anew.live, atol=0.02)
    assert np.array_equal(known.live_clip, anew.live_clip)
