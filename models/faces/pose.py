"""Head pose: a rigid fit of the canonical face to the mesh of a face."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Mesh point, its place in the canonical face in centimetres (x to the right of a picture of it, y up, z towards the
# camera), and its weight in the fit: those that move little when a face speaks or smiles weigh most. From MediaPipe's
# face geometry (geometry_pipeline_metadata_landmarks in face_landmarker.task, Apache-2.0; see NOTICE).
_CANONICAL = (
    (4, 0, -0.46317, 7.58658, 0.0709099),
    (6, 0, 2.47325, 5.78863, 0.0321001),
    (10, 0, 8.26178, 4.48153, 0.00844655),
    (33, -4.44586, 2.66399, 3.17342, 0.0587242),
    (54, -6.27933, 6.61543, 1.42585, 0.00766708),
    (67, -3.52396, 8.00598, 3.72916, 0.00907806),
    (117, -5.25866, 0.945811, 2.97431, 0.00979194),
    (119, -3.30068, 0.861641, 3.87278, 0.0145654),
    (121, -1.82073, 1.46795, 4.22412, 0.0185914),
    (127, -7.74309, 2.365, -2.00517, 0.00519799),
    (129, -1.78579, -0.978284, 4.85047, 0.120625),
    (132, -7.2709, -2.89092, -2.25245, 0.00556002),
    (133, -1.85643, 2.58524, 3.7579, 0.0532862),
    (136, -5.08528, -7.17859, 0.714711, 0.0668905),
    (143, -6.40757, 2.23602, 1.56084, 0.0148165),
    (147, -6.23488, -1.94443, 1.66354, 0.0142628),
    (198, -1.24681, 0.230297, 5.68104, 0.0254622),
    (205, -3.83293, -1.53733, 4.13773, 0.0472523),
    (263, 4.44586, 2.66399, 3.17342, 0.0587242),
    (284, 6.27933, 6.61543, 1.42585, 0.00766708),
    (297, 3.52396, 8.00598, 3.72916, 0.00907806),
    (346, 5.25866, 0.945811, 2.97431, 0.00979194),
    (348, 3.30068, 0.861641, 3.87278, 0.0145654),
    (350, 1.82073, 1.46795, 4.22412, 0.0185914),
    (356, 7.74309, 2.365, -2.00517, 0.00519799),
    (358, 1.78579, -0.978284, 4.85047, 0.120625),
    (361, 7.2709, -2.89092, -2.25245, 0.00556002),
    (362, 1.85643, 2.58524, 3.7579, 0.0532862),
    (365, 5.08528, -7.17859, 0.714711, 0.0668905),
    (372, 6.40757, 2.23602, 1.56084, 0.0148165),
    (376, 6.23488, -1.94443, 1.66354, 0.0142628),
    (420, 1.24681, 0.230297, 5.68104, 0.0254622),
    (425, 3.83293, -1.53733, 4.13773, 0.0472523),
)

POINTS: NDArray[np.int_] = np.array([row[0] for row in _CANONICAL])
"""Numbers of the mesh points that are fitted, [33]."""
CANONICAL: NDArray[np.float64] = np.array([row[1:4] for row in _CANONICAL])
"""Their places in the canonical face, centimetres, [33, 3]."""
_WEIGHTS = np.array([row[4] for row in _CANONICAL])
_WEIGHTS /= _WEIGHTS.sum()
_CENTRE = _WEIGHTS @ CANONICAL
_WEIGHTED = ((CANONICAL - _CENTRE) * _WEIGHTS[:, None]).T.copy()
_SPREAD = float(_WEIGHTS @ ((CANONICAL - _CENTRE) ** 2).sum(axis=1))
EYE_CM: NDArray[np.float64] = CANONICAL[np.isin(POINTS, (263, 362))].mean(axis=0)
"""The middle of the left eye's corners in the canonical face; the right eye's has the other sign of x. [3]."""
# From x right, y down, z away from the camera to x right, y up, z towards it.
_FLIP = np.array((1.0, -1.0, -1.0))


class Pose(NamedTuple):
    """Rotation of a head against the camera's axis, in degrees; all are 0 for a head in the middle of the picture that
    faces the camera.

    Attributes:
        yaw: turned towards the right edge of the picture (the person's own left) is positive; −180…180.
        pitch: chin up is positive; −90…90.
        roll: tilted clockwise in the picture (towards the person's own left shoulder) is positive; −180…180.
    """

    yaw: float
    pitch: float
    roll: float


class Camera(NamedTuple):
    """A pinhole camera: focal length, and where its axis meets the picture; in pixels of the frame."""

    focal: float
    x: float
    y: float

    @classmethod
    def of(cls, width: int, height: int, angle_of_view_deg: float) -> Camera:
        """The camera of a whole frame whose longer side spans `angle_of_view_deg`."""
        focal = max(width, height) / 2 / math.tan(math.radians(angle_of_view_deg) / 2)
        return cls(focal, width / 2, height / 2)


def rotation_of(points: NDArray[np.float32], camera: Camera) -> NDArray[np.float64]:
    """The rotation [3, 3] that turns the canonical face as the mesh is turned; x right, y up, z towards the camera.

    A weighted Procrustes analysis (Kabsch 1976, Umeyama 1991) of 33 points, after perspective is taken out: near parts
    of a face are enlarged, the more so the nearer the camera. The landmark model sees each face in a picture of its
    own, so its depth lies along the line of sight; that line goes through the middle of the head, which the fit gives,
    and so the fit is made twice: the first time along the line through the middle of the points.

    Args:
        points: mesh float32 [468 or more, 3] in pixels of the frame, z in the scale of x, nearer is smaller.
    """
    seen = points[POINTS].astype(np.float64) - (camera.x, camera.y, 0.0)
    seen[:, 2] -= _WEIGHTS @ seen[:, 2]
    across, down = (_WEIGHTS @ seen[:, :2]).tolist()
    sight = _sight(across, down, camera.focal)
    turned, scale, middle = _fit(seen, sight, camera.focal)
    # The middle of the canonical head, from the virtual camera back to this one.
    head = ((middle - scale * (turned @ _CENTRE)) * _FLIP + (0.0, 0.0, camera.focal)) @ sight
    across, down = (head[:2] / head[2] * camera.focal).tolist()
    sight = _sight(across, down, camera.focal)
    turned, _, _ = _fit(seen, sight, camera.focal)
    back: NDArray[np.float64] = sight.T * np.outer(_FLIP, _FLIP)
    return back @ turned


def _sight(across: float, down: float, focal: float) -> NDArray[np.float64]:
    """The shortest rotation [3, 3] that turns the line of sight through a pixel into the camera's axis; y down."""
    length = math.sqrt(across**2 + down**2 + focal**2)
    x, y, z = across / length, down / length, focal / length
    shared = 1.0 + z
    return np.array(
        ((1.0 - x * x / shared, -x * y / shared, -x), (-x * y / shared, 1.0 - y * y / shared, -y), (x, y, z))
    )


def _fit(
    seen: NDArray[np.float64], sight: NDArray[np.float64], focal: float
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Rotation, scale and middle of the points [33, 3], seen along the line of sight; y up, z towards the camera."""
    rays = seen.copy()
    rays[:, 2] = focal
    rays = rays @ sight.T
    depth = seen[:, 2] * sight[2, 2]
    place = rays * ((focal + depth) / rays[:, 2])[:, None]
    place[:, 2] = depth
    place *= _FLIP
    middle = _WEIGHTS @ place
    u, spread, vt = np.linalg.svd(_WEIGHTED @ (place - middle))
    if _mirrors(u) != _mirrors(vt):
        u[:, 2], spread[2] = -u[:, 2], -spread[2]
    return (u @ vt).T, float(spread.sum()) / _SPREAD, middle


def _mirrors(turned: NDArray[np.float64]) -> bool:
    """True where an orthonormal matrix [3, 3] mirrors: its determinant is −1 and not 1. numpy's takes eight times as
    long."""
    (a, b, c), (d, e, f), (g, h, i) = turned.tolist()
    return bool(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0)


def pose_of(rotation: NDArray[np.float64]) -> Pose:
    """Yaw, pitch and roll of a rotation [3, 3]: turned about the vertical first, then up, then tilted."""
    yaw = math.atan2(rotation[0, 2], rotation[2, 2])
    pitch = math.asin(min(1.0, max(-1.0, rotation[1, 2])))
    roll = -math.atan2(rotation[1, 0], rotation[1, 1])
    return Pose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))


def rotation_from(pose: Pose) -> NDArray[np.float64]:
    """The rotation [3, 3] of a pose; its columns are the person's left, up and ahead, in x right, y up, z nearer."""
    yaw, pitch, roll = (math.radians(angle) for angle in pose)
    left = np.array((math.cos(yaw), 0.0, -math.sin(yaw)))
    up = np.array((-math.sin(yaw) * math.sin(pitch), math.cos(pitch), -math.cos(yaw) * math.sin(pitch)))
    ahead = np.array((math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)))
    cos, sin = math.cos(roll), math.sin(roll)
    return np.column_stack((left * cos - up * sin, left * sin + up * cos, ahead))
