"""A live system of tiny models on a looped clip, whose config file is edited while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bimodal.broker.events import Emotion
from tests.artifacts import make_face_static
from tests.end_to_end.driving import PATIENCE_S, Driven, run
from tests.media import face_clip


class Living:
    """A folder with a clip, tiny models, and config.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self.clip = face_clip(folder / "clip.mp4", 3.0)
        self.models = {name: self.model(name) for name in ("first", "second")}
        self.values: dict[str, Any] = {
            "streams": {"clip": {"file": str(self.clip), "loop": True}},
            "models": {"face-static": str(self.models["first"])},
            "workers": {"face": {"count": 1}},
            "outputs": {"view": False},
            "log": {"file": str(folder / "log")},
        }
        self.write()

    def model(self, name: str, **how: Any) -> Path:
        """One more static model of that name."""
        return make_face_static(self.folder / f"{name}.onnx", name=name, **how)

    def write(self, **sections: Any) -> None:
        """Save the config as editors do: beside it, then renamed over it."""
        self.values |= sections
        beside = self.path.with_name("config.yaml.tmp")
        beside.write_text(yaml.safe_dump(self.values))
        beside.replace(self.path)

    def up(self, session: str, *more: str, **how: Any) -> Driven:
        """`bimodal up` with this config; `how` as for `Driven`."""
        return Driven("up", "--config", self.path, "--session", session, *more, session=session, **how)


def status(session: str) -> tuple[int, dict[str, Any]]:
    """`bimodal status --json`: exit code and what it says."""
    code, out, err = run("status", "--json", "--session", session)
    assert out, err
    found: dict[str, Any] = json.loads(out)
    return code, found


def until(session: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first status that is wanted, of a system that may be just starting."""
    end, found = time.monotonic() + PATIENCE_S, {}
    while time.monotonic() < end:
        _, out, _ = run("status", "--json", "--session", session)
        found = json.loads(out) if out else {}
        if out and wanted(found):
            return found
    raise AssertionError(f"it never came to that; the last was {found}")


def static_model(body: object) -> str | None:
    """The static face model of an event, None for anything else."""
    return body.models.get("face-static") if isinstance(body, Emotion) else None
