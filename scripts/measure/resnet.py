"""The pipeline and its scaling with EMO-AffectNet's ResNet-50, fp32 and INT8, with random weights: for timing only.

`bimodal export` makes the artifacts, as for a user; that needs the extra `convert` and takes a minute.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bimodal.bench.figures import BenchError, Outcome
from bimodal.bench.media import decoded
from bimodal.bench.pipeline import frames_per_s, share, without_speech
from bimodal.bench.plan import Plan
from bimodal.bench.scale import speed_up
from bimodal.child_process import child_environment, python_command
from bimodal.config import Config
from bimodal.models.architectures.emo_affectnet import Bottleneck, EmoAffectNet
from bimodal.models.catalog import resolve
from bimodal.models.contract import Crop
from bimodal.models.faces.crop import crop_face
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks
from bimodal.models.session import open_artifact
from bimodal.workers.demo import DEMO

PART = "resnet"
FOLDER = "resnet"
FLOOR, GOAL = 0.90, 0.95
"""Bounds of the pipeline's share of bare ONNX Runtime, with ResNet-50 INT8."""

SEED_SPEECH = "speech-keras"
NAME = "bench-resnet50"
CROP = Crop(scale=1.0, shift_y=0.0, rotate=False)
SIDE = 224
FACES = 48
EVERY = 5
PATIENCE_S = 600.0


def measure(plan: Plan) -> Outcome:
    """Measure the pipeline's share of the limit with INT8, and the speed-up of more workers with fp32.

    Raises BenchError if ResNet-50 can't be made, or the system can't be run.
    """
    plan.progress(f"{PART}: making ResNet-50, fp32 and INT8, with random weights")
    fp32, int8 = resnet_artifacts(plan.folder / FOLDER)
    media = decoded(plan.folder)
    figures = share(plan, without_speech(with_static(plan.config, int8)), media, "ResNet-50 INT8: ", FLOOR, GOAL)

    def run(config: Config, workers: int) -> float:
        return frames_per_s(plan, config, media.silent, workers)

    more, curve = speed_up(plan, without_speech(with_static(plan.config, fp32)), run, "ResNet-50 fp32: ")
    return Outcome(part=PART, figures=(*figures, *more), curves=(curve,))


def with_static(config: Config, static: Path) -> Config:
    """The config with this static model, a speech model of the seed's form (352 × 15 features into an LSTM), and no
    dynamic model, which would need embeddings of another network."""
    models = msgspec.structs.replace(
        config.models, face_static=(str(static),), face_dynamic="none", speech=(SEED_SPEECH,)
    )
    return msgspec.structs.replace(config, models=models)


def resnet_artifacts(folder: Path) -> tuple[Path, Path]:
    """Make the fp32 and the INT8 artifact in `folder`, unless they are there.

    INT8 is calibrated on faces of the demo clip. Raises BenchError, with what to do, if one can't be made.
    """
    fp32, int8 = (folder / name / "model.onnx" for name in (NAME, f"{NAME}-int8"))
    if fp32.is_file() and int8.is_file():
        return fp32, int8
    folder.mkdir(parents=True, exist_ok=True)
    weights, faces = folder / "weights.pt", folder / "faces"
    _run("scripts.measure.resnet", str(weights))
    _export("torch", str(weights), "--architecture", "emo-affectnet", "--name", NAME, "--out", str(folder))
    write_faces(demo_frames(), faces)
    # The accuracy of random weights, and their loss of it, mean nothing.
    _export("quantize", str(fp32), "--data", str(faces), "--most-loss", "100", "--limit", "40", "--out", str(folder))
    return fp32, int8


def _export(*arguments: str) -> None:
    _run("bimodal", "export", *arguments)


def _run(*arguments: str) -> None:
    command, environment = python_command(*arguments), child_environment()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"ResNet-50 could not be made within {PATIENCE_S:.0f} s: is the machine busy?") from error
    if done.returncode:
        reply = done.stderr.strip().splitlines()
        reason = reply[-1] if reply else f"exit code {done.returncode}"
        raise BenchError(f"ResNet-50 could not be made, which takes the extra 'convert': {reason}")


def demo_frames() -> NDArray[np.uint8]:
    """Decode every fifth frame of the demo clip, uint8 [N, H, W, 3] RGB."""
    with av.open(str(DEMO)) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    return np.stack(frames[::EVERY])


def write_faces(frames: NDArray[np.uint8], folder: Path) -> None:
    """Write face crops as the static model gets them, one PNG each, from evenly spread frames.

    Raises BenchError if there are too few faces.
    """
    folder.mkdir(exist_ok=True)
    detector = Detector(open_artifact(resolve("yunet-n"), "face-detector", provider="cpu"), min_score=0.5)
    landmarks = Landmarks(open_artifact(resolve("facemesh-468"), "face-landmarks", provider="cpu"))
    count = 0
    for frame in frames[:: max(1, len(frames) // (2 * FACES))]:
        found = detector(frame)
        squares = detector.squares(found, landmarks.geometry.margin)
        for points in landmarks(frame, squares).points:
            crop = crop_face(frame, points, CROP, SIDE)
            cv2.imwrite(str(folder / f"{count:04d}.png"), crop[:, :, ::-1])
            count += 1
    if count < 8:
        raise BenchError("the frames hold too few faces to calibrate INT8 on: take others")


# EMO-AffectNet's ResNet-50 with random weights (`python -m scripts.measure.resnet FILE`), as fast as the real one.
#
# With PyTorch's default initialisation activations grow from block to block until INT8 quantization fails. So the last
# normalisation of each block starts small, after He et al. (arXiv:1812.01187, "zero gamma").

GAIN = 0.3
PIXELS = 60.0
"""About the standard deviation of pixels, which the first convolution scales to 1."""


def random_network(seed: int = 0) -> EmoAffectNet:
    """Make the network with random weights from `seed`, in evaluation mode."""
    torch.manual_seed(seed)
    network = EmoAffectNet()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, Bottleneck):
                nn.init.constant_(module.batch_norm3.weight, GAIN)
        network.conv_layer_s2_same.weight /= PIXELS
    return network.eval()


if __name__ == "__main__":
    torch.save(random_network().state_dict(), Path(sys.argv[1]))
