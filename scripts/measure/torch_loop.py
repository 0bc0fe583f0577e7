"""The usual demo in torch eager, like the program that this project began with, against the pipeline with the same
architectures."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.bench.figures import Figure, Outcome, figure, in_turn
from bimodal.bench.loops import Loop, module_loop, serve
from bimodal.bench.media import decoded
from bimodal.bench.pipeline import frames_per_s
from bimodal.bench.plan import Plan
from bimodal.config import Config
from bimodal.models.architectures.emo_affectnet import MEAN_BGR, SIZE
from bimodal.models.architectures.emo_affectnet_dynamic import STEPS, EmoAffectNetDynamic
from bimodal.models.catalog import resolve
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks
from bimodal.models.session import open_artifact
from scripts.measure.resnet import FOLDER, random_network, resnet_artifacts, with_static

TWICE = "torch eager in one loop, ResNet-50 twice a frame"
ONCE = "torch eager in one loop, ResNet-50 once a frame"
FP32, INT8 = "the pipeline with ResNet-50 fp32", "the pipeline with ResNet-50 INT8"
FLOORS = {FP32: 3.5, INT8: 10.0}
NOTE = (
    "The loop in torch eager finds faces with MediaPipe's networks in ONNX Runtime, which cost less than MediaPipe "
    "itself, on frames of a quarter; weights are random, and features of speech come for nothing."
)
FEWEST_S = 3.0
"""A frame of the loop takes 0.1 s and more."""

Run = Callable[[Config], float]
"""Measures frames a second of the whole system with these models."""


def measure(plan: Plan) -> Outcome:
    """Measure both loops and the pipeline with the same architectures.

    Raises BenchError if one can't be made or run.
    """
    media = decoded(plan.folder)
    figures = against_torch(plan, media.frames, media.fps, lambda config: frames_per_s(plan, config, media.clip))
    return Outcome(part="torch", figures=tuple(figures), notes=(NOTE,))


def against_torch(plan: Plan, frames: Path, fps: float, run: Run) -> list[Figure]:
    """Measure frames a second of both loops, and of the pipeline with fp32 and INT8 against each.

    Args:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        fps: of the frames.

    Raises BenchError if torch is missing, ResNet-50 can't be made, or something can't be run.
    """
    fp32, int8 = resnet_artifacts(plan.folder / FOLDER)
    with contextlib.ExitStack() as loops:
        twice = loops.enter_context(_loop(plan, frames, fps, times=2))
        once = loops.enter_context(_loop(plan, frames, fps, times=1))
        seconds = max(plan.seconds, FEWEST_S)
        found = in_turn(
            {
                TWICE: lambda: twice.run(seconds).frames_per_s,
                ONCE: lambda: once.run(seconds).frames_per_s,
                FP32: lambda: run(with_static(plan.config, fp32)),
                INT8: lambda: run(with_static(plan.config, int8)),
            },
            plan.repeats,
            plan.progress,
        )
    seed, lighter = (figure(name, found[name], "frames/s") for name in (TWICE, ONCE))
    figures = [seed, lighter]
    for name, floor in FLOORS.items():
        figures.append(figure(name, found[name], "frames/s", against=seed, floor=floor))
        figures.append(figure(f"{name}, against once", found[name], "frames/s", against=lighter))
    return figures


def _loop(plan: Plan, frames: Path, fps: float, times: int) -> Loop:
    models = plan.config.models
    order = SeedOrder(
        frames=str(frames),
        fps=fps,
        hop_s=plan.config.capture.hop_s,
        detector=str(resolve(models.face_detector)),
        landmarks=str(resolve(models.face_landmarks)),
        times=times,
    )
    return module_loop("scripts.measure.torch_loop", order, what="the loop in torch eager", log=plan.log)


# The program that this project began with (`python -m scripts.measure.torch_loop`): torch eager in one loop.
#
# Each frame is shrunk to a quarter; detection and mesh find a face; ResNet-50 runs on it twice, for its probabilities
# and for its embedding; two LSTMs process the last ten embeddings; every hop two more process a second of sound as
# 352 × 15 values. Weights are random, threads are PyTorch's default, as there. Detection and mesh are MediaPipe's
# networks in ONNX Runtime, which cost less than MediaPipe itself.

SHRUNK = 4
SPEECH_STEPS, SPEECH_BANDS, SPEECH_WIDTH, SPEECH_CLASSES = 352, 15, 64, 8
VIDEO_WEIGHT, SPEECH_WEIGHT = 0.7, 0.3


class SeedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Input and settings of the loop.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        fps: of the frames.
        hop_s: seconds between two speech windows.
        detector, landmarks: paths of artifacts.
        times: runs of ResNet-50 per frame: twice as in that program, or once to see the cost of that.
    """

    frames: str
    fps: float
    hop_s: float
    detector: str
    landmarks: str
    times: int


class SpeechNetwork(nn.Module):
    """Two LSTMs and a dense layer: float32 [N, 352, 15] → logits [N, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SPEECH_BANDS, SPEECH_WIDTH, num_layers=2, batch_first=True)
        self.classify = nn.Linear(SPEECH_WIDTH, SPEECH_CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the last step."""
        logits: Tensor = self.classify(self.lstm(features)[0][:, -1])
        return logits


class SeedProgram:
    """The loop: frames in, one combined probability per frame."""

    def __init__(self, order: SeedOrder) -> None:
        self._order = order
        self._frames: NDArray[np.uint8] = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)
        self._detector = Detector(open_artifact(order.detector, "face-detector", provider="cpu"), min_score=0.5)
        self._landmarks = Landmarks(open_artifact(order.landmarks, "face-landmarks", provider="cpu"))
        self._static = random_network()
        self._dynamic = EmoAffectNetDynamic().eval()
        self._speech = SpeechNetwork().eval()
        self._mean = torch.tensor(MEAN_BGR)[:, None, None]
        self._embeddings: deque[Tensor] = deque(maxlen=STEPS)
        self._heard = torch.zeros(SPEECH_CLASSES)
        self._sound = torch.randn(1, SPEECH_STEPS, SPEECH_BANDS)
        self._seq = self._hop = 0
        self.mixed = torch.zeros(7)

    @torch.no_grad()
    def step(self) -> int:
        """Process the next frame. Returns the number of faces."""
        if self._seq / self._order.fps >= (self._hop + 1) * self._order.hop_s:
            self._hop += 1
            self._heard = torch.softmax(self._speech(self._sound), dim=1)[0]
        frame = self._frames[self._seq % len(self._frames)]
        small = cv2.resize(frame, None, fx=1 / SHRUNK, fy=1 / SHRUNK)
        self._seq += 1
        faces = self._faces(np.asarray(small, np.uint8))
        for face in faces:
            self._read(face)
        return len(faces)

    def _faces(self, frame: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Crop the meshes' bounding boxes and stretch them to ResNet-50's input size, without smoothing."""
        found = self._detector(frame)
        squares = self._detector.squares(found, self._landmarks.geometry.margin)[:1]
        faces = []
        for points in self._landmarks(frame, squares).points:
            low, high = points[:, :2].min(axis=0).astype(int), points[:, :2].max(axis=0).astype(int)
            face = frame[max(0, low[1]) : high[1], max(0, low[0]) : high[0]]
            if face.size:
                faces.append(np.asarray(cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST), np.uint8))
        return faces

    def _read(self, face: NDArray[np.uint8]) -> None:
        bgr = torch.from_numpy(np.ascontiguousarray(face[:, :, ::-1])).permute(2, 0, 1).float() - self._mean
        for _ in range(self._order.times):
            logits, embedding = self._static(bgr[None])
        self._embeddings.append(embedding[0])
        static = torch.softmax(logits[0], dim=0)
        window = list(self._embeddings) + [embedding[0]] * (STEPS - len(self._embeddings))
        dynamic = self._dynamic(torch.stack(window)[None])[0]
        self.mixed = VIDEO_WEIGHT * (static + dynamic) / 2 + SPEECH_WEIGHT * self._heard[: len(static)]


def prepare(order: SeedOrder) -> Callable[[], int]:
    """Make the function that processes the next frame."""
    return SeedProgram(order).step


if __name__ == "__main__":
    serve(SeedOrder, prepare)
