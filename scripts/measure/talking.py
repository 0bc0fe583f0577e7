"""Clips of faces that talk, read whole and with more weight on the upper half: labels and how often they change.

Run: python -m scripts.measure.talking CLIP… . A clip's emotion is the last word of its name, else `--otherwise`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from bimodal.config.schema import Config
from bimodal.models.catalog import resolve
from bimodal.models.emotions import EMOTIONS
from bimodal.models.faces.crop import crop_outline
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.capture import files
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.face.static import crop_size
from bimodal.workers.fusion.settings import FusionSettings

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the opinion on the upper half alone, in the product of both."""
LEAST = 1e-6

Rows = NDArray[np.float64]


def main(
    clips: Annotated[list[Path], typer.Argument(help="Clips of one face each, which talks.")],
    otherwise: Annotated[str, typer.Option(help="Emotion of clips whose name ends with none.")] = "neutral",
    model: Annotated[str, typer.Option(help="Name or path of a face-static model; else the default.")] = "",
) -> None:
    """Print a line for each share of the upper half, frame by frame and gathered over time as fusion does it."""
    models = Config().models
    names = (models.face_detector, models.face_landmarks, model or models.face_static[0])
    detector, landmarks, static = (open_artifact(resolve(name), provider="cpu") for name in names)
    seen = {clip: _read(detector, landmarks, static, clip) for clip in clips}
    true = {clip: _emotion(clip, otherwise) for clip in clips}
    for gathered_s in (0.0, FusionSettings().talking_s):
        for share in SHARES:
            rights, flips, seconds = [], 0, 0.0
            for clip, (whole, upper, frame_s) in seen.items():
                answers = gathered(together(whole, upper, share), gathered_s, frame_s).argmax(axis=1)
                rights.append(float((answers == true[clip]).mean()))
                flips += int((np.diff(answers) != 0).sum())
                seconds += len(answers) * frame_s
            typer.echo(
                f"gathered over {gathered_s:g} s, upper half {share:4.2f}: frames right {np.mean(rights):.3f} (least "
                f"{min(rights):.2f}), {60 * flips / seconds:3.0f} flips a minute"
            )


def together(whole: Rows, upper: Rows, share: float) -> Rows:
    """Product of two opinions [N, emotions], the second with that share of the exponents."""
    logarithms = (1 - share) * np.log(whole + LEAST) + share * np.log(upper + LEAST)
    powers = np.exp(logarithms)
    found: Rows = powers / powers.sum(axis=1, keepdims=True)
    return found


def gathered(rows: Rows, over_s: float, frame_s: float) -> Rows:
    """Exponential average of opinions [N, emotions] over time, from the first on; `over_s` 0: as they are."""
    if not over_s:
        return rows
    found, new = rows.copy(), 1 - np.exp(-frame_s / over_s)
    for number in range(1, len(rows)):
        found[number] = found[number - 1] + new * (rows[number] - found[number - 1])
    return found


def _emotion(clip: Path, otherwise: str) -> int:
    word = clip.stem.rpartition("_")[2]
    return EMOTIONS.index(word if word in EMOTIONS else otherwise)


def _read(detector: Artifact, landmarks: Artifact, static: Artifact, clip: Path) -> tuple[Rows, Rows, float]:
    """Opinions on the largest face of each frame and on its upper half, and the seconds of a frame."""
    pipeline = FacePipeline(detector, landmarks, [static], FaceSettings())
    labels, crop, size = static.metadata.labels, static.metadata.crop, crop_size(static)
    if labels is None or crop is None:
        raise typer.BadParameter(f"{static.identity} does not say what it answers, or how faces are cut out for it")
    order = [labels.index(emotion) for emotion in EMOTIONS]

    def opinions() -> Iterator[Rows]:
        for picture in files.pictures(clip):
            for one in pipeline.locate(picture.pixels)[:1]:
                face = crop_outline(picture.pixels, one.outline, crop, size)
                covered = face.copy()
                covered[size // 2 :] = face.mean(axis=(0, 1)).astype(np.uint8)
                yield static.run(faces=np.stack([face, covered]))["probabilities"][:, order].astype(np.float64)

    both = np.array(list(opinions()))
    duration_ns = files.probe(clip).duration_ns or 0
    return both[:, 0], both[:, 1], duration_ns / 1e9 / max(1, len(both))


if __name__ == "__main__":
    typer.run(main)
