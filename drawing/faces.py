"""Marks of what a face does: contours of its mesh, axes of its head, rays of its gaze, and a plane of its affect."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Emotion, TrackedFace, leading
from bimodal.drawing import canvas
from bimodal.drawing.canvas import Box, path, shade
from bimodal.drawing.marks import Mark
from bimodal.drawing.style import FAINT, FUSED, TEXT, Colour, Metrics, Pixels
from bimodal.models.faces.mesh import LEFT_EYE, RIGHT_EYE
from bimodal.models.faces.pose import CANONICAL, EYE_CM, POINTS, Pose, rotation_from

Points = NDArray[np.float32]

MESH: Colour = (140, 235, 215)
GAZE: Colour = (255, 222, 89)
# Of the head's axes: x to the person's left, y up, z ahead; in the order and colours of most 3-D programs.
AXES: tuple[Colour, Colour, Colour] = ((255, 96, 96), (104, 222, 120), (104, 168, 255))

# Lengths in distances of the eyes, and the least in pixels, so that they show on small faces too.
AXIS, RAY, LEAST_PX = 0.9, 2.0, 14.0
# From this distance of the eyes on, in pixels, all points of the mesh are drawn, and not its contours alone.
POINTS_FROM_PX = 90.0
RIMS_FROM_PX = 70.0
# Below this one, only what is largest: outline, eyes and lips.
COARSE_BELOW_PX = 36.0

MIDDLE_CM = np.array((0.0, 0.7, 1.8))
"""What of the canonical face is in the middle of its box, in centimetres (models/faces/pose.py): the best place for
34 faces of three clips, whose eyes are then off by 0.7 cm (root mean square). With a mesh they are where it says."""

NOSE_CM = CANONICAL[POINTS == 4][0]

# Contours of MediaPipe's face mesh, as numbers of its points. The last ones are of the mesh with irises.
COARSE: tuple[tuple[int, ...], ...] = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
     136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 33),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 263),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61),
)  # fmt: skip
FINE: tuple[tuple[int, ...], ...] = (
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
    (70, 63, 105, 66, 107), (46, 53, 52, 65, 55),
    (300, 293, 334, 296, 336), (276, 283, 282, 295, 285),
    (168, 6, 197, 195, 5, 4), (98, 97, 2, 326, 327),
)  # fmt: skip
IRISES: tuple[tuple[int, ...], ...] = ((469, 470, 471, 472, 469), (474, 475, 476, 477, 474))


def marks(
    pixels: Pixels,
    event: Emotion,
    wanted: Collection[Mark],
    scale: tuple[float, float],
    size: Metrics,
    meshes: Sequence[Points | None] = (),
) -> None:
    """Draw what is wanted of every face into `pixels`, but the plane (`affect_plane`). What is not known is left out.

    Args:
        scale: pixels of the picture per pixel of the event's frame, horizontally and vertically.
        meshes: of the event's faces in their order, float32 [468 or 478, 2 or more] in pixels of the picture.
    """
    if "mesh" in wanted:
        for face, points in zip(event.faces, meshes, strict=False):
            if points is not None:
                mesh(pixels, points, _eyes_px(face) * math.sqrt(scale[0] * scale[1]), size)
    if not {"pose", "gaze"} & set(wanted):
        return
    for number, face in enumerate(event.faces):
        head = Head.of(face, scale)
        if head is None or face.face is None:
            continue
        points = meshes[number] if number < len(meshes) else None
        head = head if points is None else head.over(points)
        if "pose" in wanted:
            pose(pixels, head, size)
        if "gaze" in wanted and face.face.gaze_yaw_deg is not None and face.face.gaze_pitch_deg is not None:
            gaze(pixels, head, face.face.gaze_yaw_deg, face.face.gaze_pitch_deg, size)


def _eyes_px(face: TrackedFace) -> float:
    return (face.face.eye_distance or 0.0) if face.face is not None else 0.0


class Head(NamedTuple):
    """A head in the picture, from an event's face.

    Attributes:
        x, y: of the middle of its box, in pixels.
        rotation: of the head, [3, 3], x right, y up, z towards the camera.
        step: pixels per centimetre of the canonical face, horizontally and vertically.
    """

    x: float
    y: float
    rotation: NDArray[np.float64]
    step: tuple[float, float]

    @classmethod
    def of(cls, face: TrackedFace, scale: tuple[float, float]) -> Head | None:
        """The head of a face; None where its pose is not known."""
        seen = face.face
        if seen is None or seen.eye_distance is None:
            return None
        if seen.yaw_deg is None or seen.pitch_deg is None or seen.roll_deg is None:
            return None
        x, y, width, height = face.box
        per_cm = seen.eye_distance / (2 * EYE_CM[0])
        return cls(
            (x + width / 2) * scale[0],
            (y + height / 2) * scale[1],
            rotation_from(Pose(seen.yaw_deg, seen.pitch_deg, seen.roll_deg)),
            (per_cm * scale[0], per_cm * scale[1]),
        )

    def over(self, points: Points) -> Head:
        """The head with its eyes where those of a mesh are, in pixels of the picture."""
        eyes = points[[*RIGHT_EYE, *LEFT_EYE], :2].mean(axis=0).tolist()
        x, y = self.place(EYE_CM * (0.0, 1.0, 1.0))
        moved = self._replace(x=self.x + eyes[0] - x, y=self.y + eyes[1] - y)
        return moved if math.isfinite(moved.x + moved.y) else self

    def place(self, point_cm: NDArray[np.float64]) -> tuple[float, float]:
        """Where a point of the canonical face lies in the picture."""
        return self.towards((self.x, self.y), self.rotation @ (point_cm - MIDDLE_CM))

    def towards(self, start: tuple[float, float], turned_cm: NDArray[np.float64]) -> tuple[float, float]:
        """Where one comes from `start` by a way in centimetres, x right, y up."""
        return start[0] + float(turned_cm[0]) * self.step[0], start[1] - float(turned_cm[1]) * self.step[1]

    def length_cm(self, eyes: float) -> float:
        """A length in distances of the eyes, and of at least `LEAST_PX` in the picture, in centimetres."""
        return max(eyes * 2 * float(EYE_CM[0]), LEAST_PX / max(min(self.step), 1e-6))


def mesh(pixels: Pixels, points: Points, eyes_px: float, size: Metrics) -> None:
    """Draw the contours of a mesh, and of a large one all its points."""
    lines = COARSE if eyes_px < COARSE_BELOW_PX else COARSE + FINE
    if len(points) > IRISES[0][0] and eyes_px >= COARSE_BELOW_PX:
        lines += IRISES
    flat = points[:, :2]
    if eyes_px >= POINTS_FROM_PX:
        canvas.dots(pixels, flat, MESH, max(1, size.stroke // 2))
    # On small faces rims would hide more than they help.
    path(pixels, [flat[list(line)] for line in lines], MESH, max(1, size.stroke // 2), rim=eyes_px >= RIMS_FROM_PX)


def pose(pixels: Pixels, head: Head, size: Metrics) -> None:
    """Draw the axes of a head from the tip of its nose: the person's left in red, up in green, ahead in blue."""
    start, length = head.place(NOSE_CM), head.length_cm(AXIS)
    # What points to the camera comes last, on top.
    order = sorted(range(3), key=lambda axis: head.rotation[2, axis])
    for axis in order:
        path(pixels, [np.array((start, head.towards(start, head.rotation[:, axis] * length)))], AXES[axis], size.stroke)
    canvas.dots(pixels, np.array([start]), TEXT, size.stroke)


def gaze(pixels: Pixels, head: Head, yaw_deg: float, pitch_deg: float, size: Metrics) -> None:
    """Draw a ray from each eye; where it leads is a dot, which alone is seen of one into the camera."""
    direction = rotation_from(Pose(yaw_deg, pitch_deg, 0.0))[:, 2] * head.length_cm(RAY)
    for side in (-1.0, 1.0):
        start = head.place(np.array((side, 1.0, 1.0)) * EYE_CM)
        end = head.towards(start, direction)
        path(pixels, [np.array((start, end))], GAZE, size.stroke)
        canvas.dots(pixels, np.array([end]), GAZE, size.stroke + 1)


# Valence and arousal

LINES = 6
"""Side of the plane in lines of text."""


def affect_plane(pixels: Pixels, event: Emotion, top: int, size: Metrics) -> None:
    """Draw the plane of valence (to the right) and arousal (up) at the right edge, from `top` on, with a dot for the
    verdict and a smaller one for each other face. Nothing is drawn where neither is known."""
    verdict = event.emotion
    speaking = leading(event)
    others = [
        (face.face.valence, face.face.arousal)
        for face in event.faces
        if face is not speaking and face.face is not None and face.face.valence is not None
    ]
    if verdict.valence is None and not others:
        return
    height, width = (int(side) for side in pixels.shape[:2])
    side = min(LINES * size.line, (height - top) // 2, width // 3)
    if side < 3 * size.line:
        return
    box = Box(width - side - size.gap, top + size.gap, width - size.gap, top + size.gap + side)
    shade(pixels, box)
    radius, x, y = side / 2 - size.gap, (box.left + box.right) / 2, (box.top + box.bottom) / 2
    cross = [np.array(((x - radius, y), (x + radius, y))), np.array(((x, y - radius), (x, y + radius)))]
    path(pixels, cross, FAINT, 1, rim=False)
    for text, left, middle in (
        ("arousal", round(x) + size.gap, box.top + size.line // 2),
        ("valence", box.right - size.gap - canvas.width("valence", size.em), round(y) + size.line // 2),
    ):
        canvas.write(pixels, text, left, middle, size.em, FAINT)
    for valence, arousal in others:
        spot = np.array([(x + (valence or 0.0) * radius, y - (arousal or 0.0) * radius)])
        canvas.dots(pixels, spot, FAINT, size.stroke + 1)
    if verdict.valence is not None and verdict.arousal is not None:
        spot = np.array([(x + verdict.valence * radius, y - verdict.arousal * radius)])
        canvas.dots(pixels, spot, TEXT, 2 * size.stroke + 3)
        canvas.dots(pixels, spot, FUSED, 2 * size.stroke + 1)
