"""The section `face` of config.yaml: detection of faces."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bimodal.broker.messages import MOST_FOLLOWED

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class FaceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selection of the faces in a frame.

    Attributes:
        max_faces: largest number of faces in a frame; the most important ones, by size and sharpness.
        min_score: least score of a detection, 0…1.
        min_size: least longer side of a face's box, in pixels of the frame; the size of the detector's look follows it.
        min_presence: least score × presence (confidence of the landmark model, 0…1), or, for a face without a mesh,
            least score of a close look.
        largest_look: longest side of the detector's input in pixels: the most that a look may cost.
        detect_every: live, the detector runs every so many frames and where a face was lost; between, the landmark
            model follows the faces. A new face is found at most so many frames late. 1: in every frame; auto: every
            fifth and every fifteenth (at least each half second) where something has changed, and seldom where nothing
            has. For files the detector runs in every frame.
        quick: files are analysed as live streams are, frame after frame with `detect_every`.
        angle_of_view_deg: of the camera across the longer side of its picture, for the pose of heads.
    """

    max_faces: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    min_score: Share = 0.5
    min_size: Annotated[int, msgspec.Meta(ge=1)] = 24
    min_presence: Share = 0.5
    largest_look: Annotated[int, msgspec.Meta(ge=128, le=4096)] = 1280
    detect_every: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=MOST_FOLLOWED)] = "auto"
    quick: bool = False
    angle_of_view_deg: Annotated[float, msgspec.Meta(ge=5, le=170)] = 63.0
