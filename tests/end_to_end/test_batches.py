"""`bimodal analyze` with several frames at a time: the same answers in the same order, and nothing lost by kill -9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import Driven, events_of, run
from tests.media import face_clip

FRAMES = 50


def test_batches_change_no_answer_and_a_killed_worker_loses_none(tmp_path: Path) -> None:
    clips = [face_clip(tmp_path / f"{name}.mp4", 2.0, faces=faces, voice=False) for name, faces in (("a", 1), ("b", 2))]
    found: dict[int, Path] = {}
    for most in (1, 4):
        config, out = tmp_path / f"{most}.yaml", tmp_path / f"out {most}"
        config.write_text(f"models: {{speech: none}}\nruntime: {{max_batch: {most}, max_wait_ms: 2}}\n")
        arguments = ("analyze", *clips, "--out", out, "--config", config)
        found[most] = out
        if most == 1:
            code, _, err = run(*arguments)
        else:
            with Driven(*arguments, "--speed", "realtime", "--face-workers", "1") as driven:
                driven.wait_for(lambda body: isinstance(body, Emotion) and body.seq >= 15)
                driven.kill("face 1")
                code, _, err = driven.finish()
        assert code == 0, err
    for name in ("a", "b"):
        one, several = (events_of(found[most], name) for most in (1, 4))
        assert [event["seq"] for event in several] == list(range(FRAMES))
        assert not [event for event in several if event["failed"]]
        for mine, yours in zip(several, one, strict=True):
            assert seen(mine) == pytest.approx(seen(yours), abs=2e-2)


def seen(event: dict[str, Any]) -> list[float]:
    return [value for face in event["faces"] for _, value in sorted(face["static"].items())]
