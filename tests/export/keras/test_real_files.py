"""The three real Keras files in shared/models: compared with Keras on real inputs, and how often each is right."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.export.keras.convert import export_keras
from bimodal.export.keras.recipe import read_preset
from bimodal.export.real_inputs import sounds_of
from bimodal.models.emotions import LabelMap
from bimodal.models.session import Artifact, open_artifact

for package in ("tensorflow", "tf2onnx", "librosa"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)


RAVDESS = {"01": "neutral", "02": "neutral", "03": "happy", "04": "sad", "05": "anger", "06": "fear", "07": "disgust"}


def right_on_fer2013(artifact: Artifact, data: Path) -> float:
    """Share of FER2013's split `valid` (3,510 pictures) that the network names as FER2013 does."""
    folder = data / "fer2013"
    with (folder / "valid.csv").open() as table:
        rows = [(row["image"], row["fer2013"]) for row in csv.DictReader(table)]
    pictures = [cv2.imread(str(folder / "valid" / name)) for name, _ in rows]
    faces = np.stack([cv2.resize(picture, (64, 64)) for picture in pictures if picture is not None])
    found = np.concatenate([artifact.run(faces=part)["probabilities"] for part in np.array_split(faces, 60)])
    labels = artifact.metadata.labels or ()
    return float(np.mean([labels[best] == truth for best, (_, truth) in zip(found.argmax(axis=1), rows, strict=True)]))


def right_on_ravdess(artifact: Artifact, data: Path) -> float:
    """Share of every seventh RAVDESS clip of its emotions; heard from 0.5 s on if it needs a full window."""
    rate, labels = artifact.metadata.sample_rate or 0, LabelMap(artifact.metadata.labels or ())
    whole = artifact.metadata.minimum_window_s == artifact.metadata.window_s
    right = []
    for path in sorted((data / "ravdess").glob("Actor_*/*.flac"))[::7]:
        truth = RAVDESS.get(path.stem.split("-")[2])
        if truth not in labels.known:
            continue
        sound = sounds_of([path], rate)[0][round(0.5 * rate) if whole else 0 :]
        said = labels.apply(artifact.run(waveform=sound[None])["probabilities"])[0]
        right.append(max(said, key=lambda emotion: said[emotion]) == truth)
    return float(np.mean(right))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "preset", "measure", "expected"),
    [
        ("fer2013_mini_xception.hdf5", "mini-xception", right_on_fer2013, 0.64),
        ("ser_352x15.h5", "ser-352x15", right_on_ravdess, 0.42),
        ("speech_conv1d_216.h5", "conv1d-216", right_on_ravdess, 0.80),
    ],
)
def test_real_files_answer_as_in_keras_and_are_as_good_as_published(
    shared: Path, tmp_path: Path, file: str, preset: str, measure: Callable[[Artifact, Path], float], expected: float
) -> None:
    """The two speech networks learned from RAVDESS, so their figures only say that the features are the right ones."""
    pattern = "fer2013/valid/*5.png" if preset == "mini-xception" else "ravdess/Actor_0[1-3]/*1-01-0[12]-01-*.flac"
    real = sorted((shared / "data").glob(pattern))[:6]
    assert len(real) == 6
    path = export_keras(shared / "models" / file, read_preset(preset), preset, tmp_path, print, real=real)
    artifact = open_artifact(path, provider="cpu")
    assert artifact.metadata.metrics is not None
    assert artifact.metadata.metrics["agreement_real"] == 1.0
    share = measure(artifact, shared / "data")
    print(f"{preset}: {100 * share:.1f} % right")
    assert share > expected
