"""CPU time of the pipelines of faces and voices with and without their measures, A B A B in one process.

Run: python -m scripts.measure.face_measures PICTURE [CLIP]; in the clip someone speaks for at least four seconds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import FaceMeasures, VoiceMeasures
from bimodal.export.real_inputs import read_picture
from bimodal.models.catalog import resolve
from bimodal.models.session import open_artifact
from bimodal.workers.audio import pipeline as voice_module
from bimodal.workers.audio import prosody
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.face import pipeline as module
from bimodal.workers.face.measures import measures_of
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings

ROUNDS, RUNS = 12, 10
RATE = 48_000
VOICE = ("speech-whisper", "silero-vad")


def main() -> None:
    """Print the cost of a frame with one face, and of a hop with a voice, relative to that without measures."""
    of_a_face(read_picture(Path(sys.argv[1])))
    for clip in sys.argv[2:]:
        of_a_voice(Path(clip))


def of_a_face(picture: NDArray[np.uint8]) -> None:
    """Measure frames, with the default models."""
    names = ("yunet-n", "facemesh-468", "face-robust", "facemesh-478", "face-blendshapes")
    detector, landmarks, static, irises, blendshapes = (
        open_artifact(resolve(name), provider="cpu", threads=1) for name in names
    )
    plain = FacePipeline(detector, landmarks, [static], FaceSettings())
    fine = FacePipeline(detector, landmarks, [static], FaceSettings(), (irises, blendshapes))
    real = measures_of
    kinds: dict[str, tuple[FacePipeline, Callable[..., FaceMeasures]]] = {
        "without measures": (plain, _nothing),
        "with the mesh's": (plain, real),
        "with a finer look": (fine, real),
    }
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, (pipeline, measures) in kinds.items():
            setattr(module, "measures_of", measures)  # noqa: B010 - swapped for the comparison
            begun = time.process_time()
            for _ in range(RUNS):
                pipeline(picture)
            spent[kind].append((time.process_time() - begun) / RUNS * 1000)
    setattr(module, "measures_of", real)  # noqa: B010
    _told(spent, "frame")


def of_a_voice(clip: Path) -> None:
    """Measure hops of half a second, each with the window of three seconds before it, with the default models."""
    samples = _samples(clip)
    speech, activity = (open_artifact(resolve(name), provider="cpu", threads=1) for name in VOICE)
    pipeline = SpeechPipeline(speech, activity, AudioSettings())
    real = (prosody.loudness_of, prosody.with_voice)
    kinds: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
        "without measures of a voice": (_no_sound, _no_sound),
        "with them": real,
    }
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, (loudness, voiced) in kinds.items():
            setattr(voice_module, "loudness_of", loudness)  # noqa: B010 - swapped for the comparison
            setattr(voice_module, "with_voice", voiced)  # noqa: B010
            begun = time.process_time()
            hops = range(3 * RATE, len(samples), RATE // 2)
            for end in hops:
                pipeline(samples[end - 3 * RATE : end], RATE, RATE // 2)
            spent[kind].append((time.process_time() - begun) / len(hops) * 1000)
    setattr(voice_module, "loudness_of", real[0])  # noqa: B010
    setattr(voice_module, "with_voice", real[1])  # noqa: B010
    _told(spent, "hop")


def _told(spent: dict[str, list[float]], what: str) -> None:
    """Print medians, and the median of the rounds' ratios to the first kind."""
    base = next(iter(spent.values()))
    for kind, each in spent.items():
        ratio = statistics.median(one / other for one, other in zip(each, base, strict=True))
        print(f"{kind}: {statistics.median(each):.2f} ms of CPU a {what}, {ratio:.3f} of without")


def _samples(clip: Path) -> NDArray[np.float32]:
    """The sound of a clip, mono at RATE."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(clip)) as container:
        frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
    return np.concatenate([one.to_ndarray().ravel() for one in frames]).astype(np.float32)


def _no_sound(*_: object) -> VoiceMeasures:
    return VoiceMeasures()


def _nothing(*_: object) -> FaceMeasures:
    return FaceMeasures()


if __name__ == "__main__":
    main()
