"""What a face does in one picture, beside its emotion: the measures of its mesh, as they stand in events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import FaceMeasures
from bimodal.models.faces.mesh import LEFT_LIDS, RIGHT_LIDS, eye_distance, eye_opening, mouth_opening
from bimodal.models.faces.pose import Camera, pose_of, rotation_of


def measures_of(points: NDArray[np.float32] | None, camera: Camera) -> FaceMeasures:
    """Measure one face.

    Args:
        points: mesh float32 [468 or more, 3] in pixels of the frame; None without one.
        camera: that took the frame.
    """
    if points is None:
        return FaceMeasures()
    pose = pose_of(rotation_of(points, camera))
    return FaceMeasures(
        eye_distance=eye_distance(points),
        yaw_deg=pose.yaw,
        pitch_deg=pose.pitch,
        roll_deg=pose.roll,
        eye_left_open=eye_opening(points, LEFT_LIDS),
        eye_right_open=eye_opening(points, RIGHT_LIDS),
        mouth_open=mouth_opening(points),
    )
