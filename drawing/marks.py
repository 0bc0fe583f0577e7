"""Names of what can be drawn of faces beside their boxes (`--draw`, `outputs.record.draw`)."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

Mark = Literal["mesh", "pose", "gaze", "affect"]
MARKS: tuple[Mark, ...] = get_args(Mark)

# As a setting.
Marks = Annotated[tuple[Mark, ...], msgspec.Meta(max_length=len(MARKS))]
