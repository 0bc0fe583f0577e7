"""What a user may set about finding faces (`face:` in config.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bimodal.broker.messages import MOST_FOLLOWED

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

Tiles = Literal["off", "auto", "always"]


class FaceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which faces of a frame are looked at.

    Attributes:
        max_faces: at most so many faces of a frame, the largest first.
        min_score: detections below this score (0…1) are no faces.
        min_size: faces whose box is narrower than this many pixels of the frame are too small to read.
        min_presence: faces are dropped where score × presence (how sure the landmark model is, 0…1) is below this.
        tiles: `auto` looks at the whole frame first and, unless it shows a close-up, into overlapping parts of it as
            well, which finds small faces at about ten times the cost of looking once; `always` does so in every
            frame; `off` never.
        detect_every: live, the detector looks at every so many frames and where a face was lost; in the frames between,
            the landmark model looks where the faces were. A new face is found at most so many frames late. 1: in every
            frame. Files are always looked at frame by frame.
    """

    max_faces: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    min_score: Share = 0.5
    min_size: Annotated[int, msgspec.Meta(ge=1)] = 24
    min_presence: Share = 0.5
    tiles: Tiles = "auto"
    detect_every: Annotated[int, msgspec.Meta(ge=1, le=MOST_FOLLOWED)] = 1
