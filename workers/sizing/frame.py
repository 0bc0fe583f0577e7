"""One real frame's work as bare runs of the configured models: what `doctor --size` and the bench's ceiling repeat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from bimodal.models.session import Artifact
from bimodal.workers.demo import DEMO
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings


class Run(NamedTuple):
    """One run of a model with its inputs."""

    artifact: Artifact
    inputs: dict[str, NDArray[Any]]

    def again(self) -> dict[str, NDArray[Any]]:
        """Run it."""
        return self.artifact.run(**self.inputs)


def first_picture(path: Path = DEMO) -> NDArray[np.uint8]:
    """The first frame of a film, uint8 [H, W, 3] RGB."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def runs_of(
    picture: NDArray[np.uint8],
    detector: Artifact,
    landmarks: Artifact,
    static: Sequence[Artifact],
    settings: FaceSettings,
) -> list[Run]:
    """The runs that looking at a picture takes, in their order; raises ArtifactError as FacePipeline."""
    found: list[Run] = []
    noted = [noting(artifact, found) for artifact in (detector, landmarks, *static)]
    FacePipeline(noted[0], noted[1], noted[2:], settings)(picture)
    return found


def noting(artifact: Artifact, runs: list[Run]) -> Artifact:
    """The artifact, whose runs are noted."""

    def note(noted: Artifact, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        runs.append(Run(noted, {name: value.copy() for name, value in inputs.items()}))
        return runs[-1].again()

    return artifact.through(note)
