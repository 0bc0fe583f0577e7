"""`bimodal diff`: a clip looked at again with another model."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.artifacts import make_face_static
from tests.end_to_end.driving import Driven, events_of, run
from tests.media import face_clip


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip, its results and its page, and another model."""
    folder = tmp_path_factory.mktemp("diff")
    clip = face_clip(folder / "clip.mp4", 1.2)
    make_face_static(folder / "other.onnx", name="other")
    code, _, err = run("analyze", clip, "--out", folder / "out", "--report")
    assert code == 0, err
    assert (folder / "out" / "clip.html").is_file()
    return folder


def test_the_same_model_says_the_same(analysed: Path) -> None:
    code, out, err = run("diff", analysed / "out", "--model", "face-static=face-robust", "--json")
    assert code == 0, err
    (found,) = json.loads(out)
    assert found["notes"] == []
    comparison = found["comparison"]
    assert (comparison["frames"], comparison["unmatched"], comparison["agreeing"]) == (30, 0, 1.0)
    assert comparison["stretches"] == []
    assert comparison["was"] == comparison["now"]


def test_another_model_is_shown_stretch_by_stretch(analysed: Path) -> None:
    arguments = ("diff", analysed / "out" / "clip.jsonl", "--model", f"face-static={analysed / 'other.onnx'}")
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    comparison = json.loads(out)[0]["comparison"]
    was = [event["emotion"]["label"] or "unknown" for event in events_of(analysed / "out", "clip")]
    assert comparison["now"]["models"]["face-static"] == "other@1"
    assert {label: sum(counts.values()) for label, counts in comparison["confusion"].items()} == {
        label: was.count(label) for label in set(was)
    }
    differing = sum(stretch["frames"] for stretch in comparison["stretches"])
    assert differing == 30 - round(comparison["agreeing"] * 30)
    assert differing > 0
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "where they differ" in out
    assert "other@1" in out


def test_a_source_that_has_changed_or_gone_is_one_sentence(analysed: Path, tmp_path: Path) -> None:
    clip = analysed / "clip.mp4"
    whole = clip.read_bytes()
    try:
        clip.write_bytes(whole[:-1] + b"x")
        code, _, err = run("diff", analysed / "out", "--model", "face-static=face-compact")
        assert code == 1
        assert "was changed since" in err
        clip.unlink()
        code, _, err = run("diff", analysed / "out", "--model", "face-static=face-compact")
        assert code == 1
        assert f"its source {clip} is not there any more" in err
        assert len(err.strip().splitlines()) == 1
    finally:
        clip.write_bytes(whole)


def test_a_live_recording_is_compared_by_its_film(analysed: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    kept = tmp_path / "kept"
    record = f"{{folder: '{kept}', video: true, annotated: false, min_free_mb: 10}}"
    config.write_text(
        f"streams: {{desk: {{file: '{analysed / 'clip.mp4'}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"outputs: {{view: false, record: {record}}}\nlog: {{file: '{tmp_path / 'log'}'}}\n"
    )
    with Driven("up", "--config", config, "--session", "test-diff", session="test-diff") as driven:
        driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "film" and body.state == "ready")
        first = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert isinstance(first, Emotion)
        driven.wait_for(lambda body: isinstance(body, Emotion) and body.t > first.t + 2.0)
        driven.interrupt()
        assert driven.finish()[0] == 0
    (session,) = kept.iterdir()
    (film,) = (session / "desk").glob("*.mp4")
    with av.open(str(film)) as container:
        filmed = sum(1 for _ in container.decode(video=0))
    code, out, err = run("diff", session, "--model", f"face-static={analysed / 'other.onnx'}", "--json")
    assert code == 0, err
    (found,) = json.loads(out)
    assert (found["clip"], found["media"]) == ("desk", str(film))
    comparison = found["comparison"]
    assert comparison["now"]["models"]["face-static"] == "other@1"
    assert comparison["frames"] >= 0.9 * filmed > 5
    assert comparison["unmatched"] <= 0.2 * filmed
