"""Real faces and sounds from files, as inputs of artifacts, to measure parity on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.models.catalog import resolve
from bimodal.models.contract import Crop
from bimodal.models.faces.crop import crop_face
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.geometry import MeshGeometry
from bimodal.models.faces.mesh import Landmarks, cut_out
from bimodal.models.faces.resampling import letterbox
from bimodal.models.session import open_artifact

LONGEST_S = 60.0

DEMO = Path(__file__).parents[1] / "workers" / "demo"
"""The shipped portrait and clip: the default real inputs."""


def faces_of(paths: Sequence[Path], crop: Crop, size: int) -> NDArray[np.uint8]:
    """Crop every face in the pictures, also mirrored: uint8 [N, size, size, 3] RGB.

    A picture in which no face is found counts as a face. Without `paths` it is the shipped portrait.

    Raises SourceModelError if a file is no picture.
    """
    paths = paths or [path for path in [DEMO / "portrait.jpg"] if path.is_file()]
    if not paths:
        return np.zeros((0, size, size, 3), np.uint8)
    faces = []
    for path in paths:
        picture, meshes = _meshes(path, path.stat().st_mtime_ns if path.is_file() else 0)
        faces += [crop_face(picture, mesh, crop, size) for mesh in meshes]
        if not len(meshes):
            faces.append(np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8))
    found_all = np.stack(faces)
    return np.concatenate([found_all, found_all[:, :, ::-1]])


@functools.lru_cache(maxsize=16)
def _meshes(path: Path, _changed_ns: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(the picture, meshes of its faces float32 [F, 468, 3]), kept: the demo's is asked for at every export."""
    picture = read_picture(path)
    detector = Detector(open_artifact(resolve("yunet-n"), "face-detector", provider="cpu"))
    landmarks = Landmarks(open_artifact(resolve("facemesh-468"), "face-landmarks", provider="cpu"))
    squares = detector.squares(detector(picture), landmarks.geometry.margin)
    return picture, landmarks(picture, squares).points


def pictures_of(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Read the pictures; without `paths` the shipped portrait. Raises SourceModelError if a file is no picture."""
    return [read_picture(path) for path in paths or [path for path in [DEMO / "portrait.jpg"] if path.is_file()]]


def sounds_of(paths: Sequence[Path], rate: int) -> list[NDArray[np.float32]]:
    """Read at most the first minute of every file: float32 [samples], −1…1, mono at `rate`.

    Without `paths` it is the sound of the shipped demo clip.

    Raises SourceModelError if a file holds no sound.
    """
    paths = paths or [path for path in [DEMO / "demo.mp4"] if path.is_file()]
    return [_read_sound(path, rate) for path in paths]


def example_faces(faces: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Examples that differ: up to four faces, one darker and one blurred, black, white: uint8 [N, size, size, 3]."""
    plain = [np.full((size, size, 3), value, np.uint8) for value in (0, 255)]
    if not len(faces):
        return np.stack(plain)
    dark = (faces[0] * 0.3).astype(np.uint8)
    blurred = np.asarray(cv2.blur(faces[0], (max(3, size // 8), max(3, size // 8))), np.uint8)
    return np.stack([*faces[:4], dark, blurred, *plain])


def example_windows(sounds: Sequence[NDArray[np.float32]], samples: int) -> NDArray[np.float32]:
    """Examples that differ: up to five stretches of each sound, and near-silence: float32 [N, samples]."""
    windows = [
        np.resize(sound[start : start + samples], samples)
        for sound in sounds
        if sound.size
        for start in np.linspace(0, max(0, sound.size - samples), 5).astype(int)
    ]
    quiet = np.random.default_rng(1).normal(0, 1e-4, samples).astype(np.float32)
    return np.stack([*windows[:15], quiet]).astype(np.float32)


def _read_sound(path: Path, rate: int) -> NDArray[np.float32]:
    parts, wanted = [], round(LONGEST_S * rate)
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
                if sum(map(len, parts)) >= wanted:
                    break
            parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (av.FFmpegError, OSError, IndexError) as error:
        raise SourceModelError(f"{path} can't be read as a sound: {error}") from error
    return np.concatenate([*parts, np.zeros(0, np.float32)])[:wanted].astype(np.float32)


# Inputs of the detector and the mesh.

Pictures = NDArray[np.uint8]


def read_picture(path: Path) -> Pictures:
    """Read a picture, uint8 [H, W, 3] RGB.

    Raises SourceModelError if the file is no picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceModelError(f"{path} can't be read as a picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def detector_inputs(pictures: Sequence[Pictures], size: int) -> Pictures:
    """Letterbox pictures to a square input, uint8 [N, size, size, 3]."""
    return np.array([letterbox(picture, size) for picture in pictures], np.uint8).reshape(-1, size, size, 3)


def mesh_inputs(pictures: Sequence[Pictures], detector: Path, geometry: MeshGeometry) -> Pictures:
    """Crop every face that the detector artifact finds in the pictures: uint8 [N, 192, 192, 3]."""
    size = geometry.size
    find = Detector(open_artifact(detector, "face-detector", provider="cpu"))
    faces = [
        cut_out(picture, square, size)
        for picture in pictures
        for square in find.squares(find(picture), geometry.margin)
    ]
    return np.array(faces, np.uint8).reshape(-1, size, size, 3)
