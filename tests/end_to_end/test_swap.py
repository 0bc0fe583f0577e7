"""Edits of config.yaml while the system runs: taken over without a pause, or refused with a sentence."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from bimodal.export.formats import convert
from bimodal.export.onnx.description import describe
from tests.artifacts import make_face_dynamic
from tests.end_to_end.driving import Driven
from tests.end_to_end.living import Living, static_model, status, until
from tests.export import foreign_files as files


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Living:
    return Living(tmp_path_factory.mktemp("swap"))


def events_until(driven: Driven, model: str) -> list[tuple[float, Emotion]]:
    """The events, with the times at which they came, up to the tenth of a model."""
    found: list[tuple[float, Emotion]] = []
    for _, body in driven.events():
        if isinstance(body, Emotion):
            found.append((time.monotonic(), body))
            if sum(static_model(event) == model for _, event in found) >= 10:
                return found
    raise AssertionError("it ended")


def test_a_model_is_swapped_and_the_stream_goes_on(living: Living) -> None:
    session = "test-swap"
    living.write(models={"face-static": str(living.models["first"])})
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) == "first@1")
        living.write(models={"face-static": str(living.models["second"])})
        events = events_until(driven, "second@1")
        names = [static_model(event) for _, event in events]
        assert names == sorted(names, key=["first@1", "second@1"].index), "one moment divides the old from the new"
        seqs = [event.seq for _, event in events]
        assert seqs == sorted(set(seqs))
        tracks = {face.track for _, event in events for face in event.faces}
        assert tracks == {1}, "no track is lost"
        gaps_ms = [(later - sooner) * 1e3 for (sooner, _), (later, _) in pairwise(events)]
        swap = names.index("second@1")
        print(
            f"pause at the swap {gaps_ms[swap - 1]:.1f} ms, longest since the edit {max(gaps_ms):.1f} ms, of", end=" "
        )
        print(f"{len(gaps_ms)} (frames are 40 ms apart); {seqs[swap] - seqs[swap - 1]} frames on")
        children = driven.children()
        assert "capture clip" in children
        assert status(session)[0] == 0
        # And back, by editing it back; the names of workers are free again.
        living.write(models={"face-static": str(living.models["first"])})
        events_until(driven, "first@1")
        until(session, lambda found: not found["changing"])
        assert {"face 1"} <= set(driven.children())


def test_what_can_not_be_keeps_what_is_and_is_said(living: Living) -> None:
    session = "test-swap-wrong"
    living.write(models={"face-static": str(living.models["first"])}, workers={"face": {"count": 1}})
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) == "first@1")
        children = driven.children()
        broken = living.folder / "broken.onnx"
        broken.write_bytes(b"no model")
        edits = [
            ("fuson: {}\n", "did you mean 'fusion'?"),
            ("streams: [\n", "is not valid YAML"),
            ("", "is empty"),
            (living.path.read_text().replace("first.onnx", "broken.onnx"), "broken.onnx"),
            (living.path.read_text().replace("first.onnx", "nowhere.onnx"), "there is no model file"),
        ]
        for text, sentence in edits:
            living.path.write_text(text)
            found = until(session, lambda found, said=sentence: said in (found["because"] or ""))  # type: ignore[misc]
            assert sentence in found["refused"]
            assert status(session)[0] == 3
            assert static_model(driven.wait_for(lambda body: isinstance(body, Emotion))) == "first@1"
        driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "supervisor" and bool(body.because))
        living.write()
        until(session, lambda found: found["because"] is None)
        assert status(session)[0] == 0
        now = driven.children()
        assert {name: child.pid for name, child in children.items()} == {name: child.pid for name, child in now.items()}
        assert "is not taken over" in (living.folder / "log").read_text()


def test_streams_come_and_go_and_fusion_is_told_while_the_others_go_on(living: Living) -> None:
    session = "test-swap-streams"
    one = {"file": str(living.clip), "loop": True}
    living.write(streams={"clip": one}, fusion={"min_confidence": 0.3})
    with living.up(session) as driven:
        first = driven.wait_for(lambda body: isinstance(body, Emotion) and bool(body.faces))
        assert isinstance(first, Emotion)
        assert first.faces[0].weights["speech"] < 1.0
        before = driven.children()
        living.write(streams={"clip": one, "more": one}, fusion={"min_confidence": 1.0})
        driven.wait_for(lambda body: isinstance(body, Emotion) and body.stream == "more")
        unsure = driven.wait_for(
            lambda body: isinstance(body, Emotion) and body.stream == "clip" and body.emotion.label is None
        )
        assert isinstance(unsure, Emotion)
        assert {face.track for face in unsure.faces} == {1}
        living.write(streams={"clip": one})
        until(session, lambda found: [each["stream"] for each in found["streams"]] == ["clip"])
        until(session, lambda found: "capture more" not in {each["name"] for each in found["processes"]})
        after = driven.children()
        assert {name: child.pid for name, child in before.items()} == {name: after[name].pid for name in before}


def test_fusion_takes_another_dynamic_model_and_keeps_its_own_where_the_new_one_does_not_fit(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-swap-dynamic"
    for name, space in (("slow", "tiny"), ("quick", "tiny"), ("strange", "elsewhere")):
        make_face_dynamic(tmp_path / f"{name}.onnx", name=name, steps=2, embedding_space=space)

    def models(static: str, dynamic: str) -> dict[str, str]:
        return {"face-static": str(living.models[static]), "face-dynamic": str(tmp_path / f"{dynamic}.onnx")}

    living.write(models=models("first", "slow"))
    with living.up(session) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion) and body.models.get("face-dynamic") == "slow@1")
        pid = driven.children()["fusion"].pid
        living.write(models=models("second", "strange"))
        until(session, lambda found: "embeddings of 'elsewhere'" in (found["because"] or ""))
        event = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert static_model(event) == "first@1", "all of an edit, or nothing of it"
        living.write(models=models("second", "quick"))
        event = driven.wait_for(lambda body: isinstance(body, Emotion) and body.models.get("face-dynamic") == "quick@1")
        assert static_model(event) == "second@1"
        assert isinstance(event, Emotion)
        assert {face.track for face in event.faces} == {1}
        assert driven.children()["fusion"].pid == pid


def test_a_model_replaced_under_its_name_is_taken_when_the_config_is_touched(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-swap-touch"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) == "first@1")
        living.model("first", version="2")
        living.path.touch()
        driven.wait_for(lambda body: static_model(body) == "first@2")


def test_models_of_others_are_adopted_and_swapped_in(tmp_path: Path) -> None:
    """A sigmoid a class with names in the file, a speech network with lengths, a voice activity without a state."""
    living, session = Living(tmp_path), "test-swap-adopted"
    face = files.headed(tmp_path / "their-face.onnx", "Sigmoid", names="{0: 'hap', 1: 'sad', 2: 'langweilig'}")
    speech = files.speech_of(tmp_path / "their-speech.onnx", {"lengths": (7, ["N"])})
    voice = files.voice_activity(tmp_path / "their-voice.onnx", 480, 0)
    described = {
        face: {"kind": "face-static", "pixels": {}, "aliases": {"langweilig": "other"}},
        speech: {"kind": "speech", "labels": ["happy", "sad", "neutral"], "sample_rate": 16_000, "window_s": 1.0},
        voice: {"kind": "voice-activity", "sample_rate": 16_000},
    }
    made = {}
    for path, fields in described.items():
        made[fields["kind"]] = str(convert(path, describe(fields, "the test"), tmp_path / "out", lambda _: None))
    living.write(models={"face-static": str(living.models["first"])})
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) == "first@1")
        living.write(models=made)
        event = driven.wait_for(lambda body: static_model(body) == "their-face@1")
        assert isinstance(event, Emotion)
        assert {"happy", "sad"} == set(event.faces[0].static or {})
        driven.wait_for(lambda body: isinstance(body, Emotion) and body.models.get("speech") == "their-speech@1")
        living.write(models={**made, "face-static": str(face)})
        found = until(session, lambda found: "bimodal models inspect" in (found["because"] or ""))
        assert "is not a bimodal artifact" in found["refused"]
