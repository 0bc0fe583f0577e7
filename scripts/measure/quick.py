"""What `--quick` changes: labels and CPU of clips, beside every frame by itself.

Run: python -m scripts.measure.quick CLIP… [--emotions-only]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from bimodal.api.detector import Detector
from bimodal.broker.events import Emotion


class Difference(NamedTuple):
    """Of two analyses of one clip, frame by frame.

    Attributes:
        frames: number of frames.
        labels: of them, those whose label of the whole differs.
        faces: those with another number of faces.
        face_labels, seen: faces with another label, of those that both show.
        apart: mean distance of the faces' own probabilities (half of the sum of absolute differences).
    """

    frames: int
    labels: int
    faces: int
    face_labels: int
    seen: int
    apart: float


def main(
    clips: Annotated[list[Path], typer.Argument(help="Clips, or folders of them.")],
    emotions_only: Annotated[
        bool, typer.Option("--emotions-only", help="Of faces: no voice, no gaze, no blendshapes.")
    ] = False,
) -> None:
    """Print what differs, by clip and in all."""
    files = [file for given in clips for file in (sorted(given.iterdir()) if given.is_dir() else [given])]
    models = {"speech": "none", "face-details": "none"} if emotions_only else {}
    alls: list[tuple[Difference, float, float]] = []
    with Detector({"models": models}) as whole, Detector({"models": models}, quick=True) as quick:
        for file in files:
            (before, slow), (after, fast) = _events(whole, file), _events(quick, file)
            found = difference(before, after)
            alls.append((found, slow, fast))
            typer.echo(f"{file.name:28} {_line(found)}; {slow:6.2f} → {fast:6.2f} ms of CPU a frame")
    together = Difference(*(sum(values) for values in zip(*(found for found, _, _ in alls), strict=True)))
    typer.echo(f"{'all':28} {_line(together._replace(apart=together.apart / len(alls)))}")


def difference(before: list[Emotion], after: list[Emotion]) -> Difference:
    """Compare two analyses of one clip; faces are paired by their order, largest first."""
    pairs = list(zip(before, after, strict=True))
    faces = [
        (one, other)
        for first, second in pairs
        if len(first.faces) == len(second.faces)
        for one, other in zip(first.faces, second.faces, strict=True)
    ]
    apart = [
        sum(abs(one.static[emotion] - other.static.get(emotion, 0.0)) for emotion in one.static) / 2
        for one, other in faces
        if one.static is not None and other.static is not None
    ]
    return Difference(
        frames=len(pairs),
        labels=sum(first.emotion.label != second.emotion.label for first, second in pairs),
        faces=sum(len(first.faces) != len(second.faces) for first, second in pairs),
        face_labels=sum(one.label != other.label for one, other in faces),
        seen=len(faces),
        apart=sum(apart) / len(apart) if apart else 0.0,
    )


def _events(detector: Detector, file: Path) -> tuple[list[Emotion], float]:
    """The events of a clip, and CPU milliseconds a frame, decoding and voice included."""
    begun = time.process_time()
    events = list(detector.events(file))
    return events, 1000 * (time.process_time() - begun) / max(1, len(events))


def _line(found: Difference) -> str:
    return (
        f"{found.labels} of {found.frames} frames have another label, {found.faces} another number of faces, "
        f"{found.face_labels} of {found.seen} faces another label; {found.apart:.4f} apart"
    )


if __name__ == "__main__":
    typer.run(main)
