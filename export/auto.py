"""`bimodal export auto`: adopt a file as it looks, and show its answers on five examples before anything is written.

What a file does not say (the values of its pixels) is tried in the usual forms; the picture shows the answers to each,
and the form whose answers move most is proposed. A picture decides better than a number: look at it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.export.artifact import Progress
from bimodal.export.errors import ExportError, SourceModelError
from bimodal.export.formats import convert
from bimodal.export.frontends.pixels import Pixels
from bimodal.export.inspect import Facts, inspect
from bimodal.export.onnx.description import Description, merge
from bimodal.export.real_inputs import example_faces, example_windows, faces_of, sounds_of
from bimodal.models.contract import Crop
from bimodal.models.errors import ModelError
from bimodal.models.session import Artifact, open_artifact

EXAMPLES = 5
SATURATED, UNIFORM = 0.05, 0.95
"""Mean entropy of answers on faces, as a share of the greatest, below and above which they are likely wrong."""
VALUES: dict[str, dict[str, Any]] = {
    "0…1": {"scale": 1 / 255},
    "0…255": {},
    "-1…1": {"scale": 2 / 255, "offset": -1.0},
    "ImageNet": {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)},
}
"""The usual values of pixels, by name."""


class Trial(NamedTuple):
    """One form of the model that was tried.

    Attributes:
        name: of the form.
        description: what was tried.
        path: the artifact, in a scratch folder.
        answers: probabilities float32 [5, C] on the examples, in the order of `labels`.
        said: sentences of the export.
    """

    name: str
    description: Description
    path: Path
    labels: tuple[str, ...]
    answers: NDArray[np.float32]
    said: tuple[str, ...]

    @property
    def merit(self) -> tuple[int, float]:
        """Answers without a warning first, then neither saturated nor near-uniform ones, then those that move most."""
        seen = np.clip(self.answers[:4].astype(np.float64), 1e-9, 1)
        entropy = float((-seen * np.log(seen)).sum(axis=1).mean() / np.log(max(2, seen.shape[1])))
        sound = not any(line.startswith("warning") for line in self.said)
        return sound + (SATURATED < entropy < UNIFORM), float(np.ptp(seen, axis=0).max())


def described(facts: Facts, given: Description) -> list[tuple[str, Description]]:
    """Descriptions to try, by name: as the file looks, with the user's own fields over it.

    Raises SourceModelError if the file can't be adopted as it looks.
    """
    kind = given.kind or facts.kind
    if kind is None or facts.command is None:
        notes = "; ".join(facts.notes)
        raise SourceModelError(
            f"{facts.file} can't be adopted by its looks: {facts.thinks}{'; ' if notes else ''}{notes}"
        )
    if "export keras" in facts.command or kind not in ("face-static", "speech", "face-dynamic"):
        raise SourceModelError(
            f"{facts.file} is {facts.thinks}: adopt it with {facts.command}; {'; '.join(facts.notes)}"
        )
    words = facts.command.split()

    def flag(name: str) -> str | None:
        return words[words.index(name) + 1] if name in words else None

    rate = flag("--sample-rate")
    known = Description(kind=kind, sample_rate=int(rate) if rate and rate.isdigit() else None)  # type: ignore[arg-type]
    if kind != "face-static":
        return [(kind, merge(known, given))]
    if given.pixels is not None and (given.pixels.scale != 1.0 or given.pixels.mean or given.pixels.offset):
        return [("as described", merge(known, given))]
    looks = {"layout": flag("--layout") or "nchw", "colour": flag("--colour") or "rgb"}
    if given.pixels is not None:
        looks = {"layout": given.pixels.layout, "colour": given.pixels.colour}
    found = []
    for name, values in VALUES.items():
        if looks["colour"] == "grey" and len(values.get("mean", ())) > 1:
            continue
        pixels = Pixels(**looks, **values)  # type: ignore[arg-type]
        found.append((name, msgspec.structs.replace(merge(known, given), pixels=pixels)))
    return found


def try_all(
    path: Path, forms: Sequence[tuple[str, Description]], scratch: Path, examples: Callable[[Artifact], NDArray[Any]]
) -> list[Trial]:
    """Adopt the file in every form into `scratch`, and run each on the examples; best first.

    Raises the error of the last form if none works.
    """
    trials, wrong = [], None
    for number, (name, description) in enumerate(forms):
        said: list[str] = []
        try:
            made = convert(path, description, scratch / str(number), said.append)
            artifact = open_artifact(made, provider="cpu")
            answers = artifact.run(**{artifact.inputs[0].name: examples(artifact)})["probabilities"]
            labels = artifact.metadata.labels or ()
            trials.append(Trial(name, description, made, labels, answers, tuple(said)))
        except (ExportError, ModelError) as error:
            wrong = error
    if not trials:
        assert wrong is not None
        raise wrong
    return sorted(trials, key=lambda trial: trial.merit, reverse=True)


def examples_for(pictures: Sequence[Path], sounds: Sequence[Path]) -> Callable[[Artifact], NDArray[Any]]:
    """Five examples as an artifact's input: faces (plain, mirrored, dark, blurred, black), or stretches of sound."""

    def make(artifact: Artifact) -> NDArray[Any]:
        metadata, shape = artifact.metadata, artifact.inputs[0].shape
        if metadata.kind == "face-static":
            size = int(shape[1]) if isinstance(shape[1], int) else 128
            found = example_faces(faces_of(pictures, metadata.crop or Crop(), size)[:2], size)
            return found[:EXAMPLES]
        if metadata.kind == "speech":
            rate = metadata.sample_rate or 16_000
            heard = sounds_of(sounds, rate)
            return example_windows(heard, round(rate * (metadata.window_s or 3.0)))[-EXAMPLES:]
        sizes = [size if isinstance(size, int) else 10 for size in shape[1:]]
        return np.random.default_rng(0).normal(0, 1, (EXAMPLES, *sizes)).astype(np.float32)

    return make


def draw(trials: Sequence[Trial], shown: NDArray[Any], target: Path) -> None:
    """Write a picture: a column for each example, a row of bars for each form, the proposed one first."""
    width, bar = 190, 18
    columns = len(trials[0].answers)
    rows = [len(trial.labels) * bar + 44 for trial in trials]
    sheet = np.full((150 + sum(rows), 130 + columns * width, 3), 255, np.uint8)
    for column in range(columns):
        _put_example(sheet[8:136, 130 + column * width : 130 + column * width + 128], shown[column])
    top = 150
    for trial, height in zip(trials, rows, strict=True):
        _put(sheet, ("* " if trial is trials[0] else "  ") + _ascii(trial.name), (8, top + 20), bold=trial is trials[0])
        for place, label in enumerate(trial.labels):
            line = top + 36 + place * bar
            _put(sheet, _ascii(label)[:14], (8, line + 12))
            for column in range(columns):
                value = float(trial.answers[column, place])
                left, first = 130 + column * width, value == trial.answers[column].max()
                colour = (96, 96, 200) if first else (200, 190, 180)
                cv2.rectangle(sheet, (left, line + 2), (left + max(1, round(value * 128)), line + 14), colour, -1)
                _put(sheet, f"{value:.2f}", (left + 134, line + 13))
        top += height
    try:
        written = cv2.imwrite(str(target), sheet)
    except cv2.error:  # an ending that is no picture's
        written = False
    if not written:
        raise SourceModelError(f"{target} can't be written as a picture: name a .png file in a folder that is there")


def _put_example(place: NDArray[np.uint8], example: NDArray[Any]) -> None:
    if example.ndim == 3:
        place[:] = cv2.cvtColor(cv2.resize(example, (128, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        return
    flat = np.asarray(example, np.float32).reshape(-1)
    peak = float(np.abs(flat).max()) or 1.0
    for column, part in enumerate(np.array_split(flat, 128)):
        half = round(60 * float(np.abs(part).max()) / peak) if part.size else 0
        cv2.line(place, (column, 64 - half), (column, 64 + half), (160, 120, 60), 1)


def _put(sheet: NDArray[np.uint8], text: str, at: tuple[int, int], *, bold: bool = False) -> None:
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 2 if bold else 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return text.replace("…", " to ").encode("ascii", "replace").decode()


def export_auto(
    path: Path,
    given: Description,
    out: Path,
    progress: Progress,
    *,
    picture: Path,
    agree: Callable[[], bool],
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path | None:
    """Adopt a file as it looks; write `picture`, ask, and write `out`/<name>/model.onnx if `agree()`.

    Args:
        given: the user's fields, which go over what the file looks like.

    Returns the artifact's path, or None if it was not wanted. Raises ExportError or ModelError.
    """
    facts = inspect(path)
    progress(f"{path}: {facts.format}; {facts.thinks}")
    if facts.classes and not given.labels:
        progress(f"classes: {', '.join(facts.classes)}")
    forms = described(facts, given)
    with tempfile.TemporaryDirectory() as scratch:
        make = examples_for(pictures, sounds)
        trials = try_all(path, forms, Path(scratch), make)
        best = trials[0]
        artifact = open_artifact(best.path, provider="cpu")
        draw(trials, make(artifact), picture)
        for line in best.said[:-1]:  # the last one names the scratch file
            progress(f"  {line}")
        if len(trials) > 1:
            progress(
                "warning: the file does not say what values its pixels have; tried "
                f"{', '.join(trial.name for trial in trials)}: {best.name} is proposed, by its answers only: compare "
                "the picture, or say with --scale, --offset, "
                "--mean and --deviation what its authors' code does"
            )
        progress(f"drew {picture}: five examples and its answers, the proposed form first; look at it")
        if not agree():
            return None
        target = out / artifact.metadata.name / "model.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        for made in (best.path, best.path.with_name("card.md")):
            if made.is_file() and not (made.suffix == ".md" and target.with_name(made.name).is_file()):
                shutil.move(made, target.with_name(made.name))
    progress(f"wrote {target}")
    return target
