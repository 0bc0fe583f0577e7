"""The section `face` of config.yaml: detection of faces."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bimodal.broker.messages import MOST_FOLLOWED

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

Tiles = Literal["off", "auto", "always"]


class FaceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selection of the faces in a frame.

    Attributes:
        max_faces: largest number of faces in a frame; the largest faces first.
        min_score: least score of a detection, 0…1.
        min_size: least width of a face's box, in pixels of the frame.
        min_presence: least score × presence (confidence of the landmark model, 0…1).
        tiles: `auto` detects in the whole frame and, unless it shows a close-up, in overlapping tiles too, which finds
            small faces at about ten times the cost; `always` uses tiles in every frame; `off` never.
        detect_every: live, the detector runs every so many frames and where a face was lost; between, the landmark
            model follows the faces. A new face is found at most so many frames late. 1: in every frame. For files the
            detector runs in every frame.
    """

    max_faces: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    min_score: Share = 0.5
    min_size: Annotated[int, msgspec.Meta(ge=1)] = 24
    min_presence: Share = 0.5
    tiles: Tiles = "auto"
    detect_every: Annotated[int, msgspec.Meta(ge=1, le=MOST_FOLLOWED)] = 1
