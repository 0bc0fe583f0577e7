"""What a face does in one picture, beside its emotion: the measures of its mesh, as they stand in events."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import FaceMeasures
from bimodal.models.faces.details import Details, gaze_of
from bimodal.models.faces.mesh import LEFT_LIDS, RIGHT_LIDS, eye_distance, eye_opening, mouth_opening
from bimodal.models.faces.pose import Camera, pose_of, rotation_of
from bimodal.models.faces.units import units_of


def measures_of(
    points: NDArray[np.float32] | None,
    camera: Camera,
    details: Details | None = None,
    affect: tuple[float, float] | None = None,
) -> FaceMeasures:
    """Measure one face.

    Args:
        points: mesh float32 [468 or more, 3] in pixels of the frame; None without one.
        camera: that took the frame.
        details: of a finer look, where there was one: gaze, blendshapes and what is derived from them.
        affect: valence and arousal from a model that has them, −1…1.
    """
    said = FaceMeasures()
    if affect is not None:
        said = FaceMeasures(valence=affect[0], arousal=affect[1], affect="model")
    if points is None:
        return said
    rotation = rotation_of(points, camera)
    pose = pose_of(rotation)
    gaze = (None, None) if details is None else gaze_of(details.points, rotation)
    return msgspec.structs.replace(
        said,
        eye_distance=eye_distance(points),
        yaw_deg=pose.yaw,
        pitch_deg=pose.pitch,
        roll_deg=pose.roll,
        eye_left_open=eye_opening(points, LEFT_LIDS),
        eye_right_open=eye_opening(points, RIGHT_LIDS),
        mouth_open=mouth_opening(points),
        gaze_yaw_deg=gaze[0],
        gaze_pitch_deg=gaze[1],
        blend=None if details is None else details.blend,
        units=None if details is None else units_of(details.blend),
    )
