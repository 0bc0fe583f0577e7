"""`bimodal analyze` on self-made media: real processes, real models, real files."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import REPOSITORY, Driven, events_of, run, summary_of
from tests.media import face_clip, noise, scene, silence, speech, write_clip

RESULTS = (".csv", ".jsonl", ".parquet", ".segments.csv", ".segments.parquet", ".session.json", ".summary.json")
VOICE = (".speech.csv", ".speech.jsonl", ".speech.parquet")
SEVEN = {"neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run over every kind of clip; the tests look at its results."""
    media, out = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("out")
    sound, rate = speech(4.0)
    parts = [scene(1, n / 25) for n in range(20)] + [scene(0)] * 40 + [scene(1, n / 25) for n in range(20)]
    files = [
        face_clip(media / "talking.mp4", 4.0),
        face_clip(media / "two faces.mp4", 1.2, faces=2, voice=False),
        write_clip(media / "in and out.mp4", parts),
        write_clip(media / "nobody.mp4", [scene(0)] * 30, sound=silence(1.2)),
        write_clip(media / "voice.wav", sound=sound, rate=rate, sound_codec="pcm_s16le"),
        write_clip(media / "late picture.mp4", [scene(1)] * 25, sound=sound, rate=rate, picture_begins_s=0.84),
        write_clip(media / "noisy.mkv", [scene(1)] * 25, options={"bf": "2"}, sound=noise(1.0) * 0.001),
    ]
    code, _, err = run("analyze", *files, "--out", out)
    assert code == 0, err
    return out


def names(results: Path) -> list[str]:
    found = {path.name.removesuffix(".jsonl") for path in results.glob("*.jsonl")}
    return sorted(name for name in found if not name.endswith(".speech"))


def check_distribution(values: dict[str, float]) -> None:
    assert set(values) <= SEVEN
    assert sum(values.values()) == pytest.approx(1.0, abs=2e-3)
    assert all(value >= 0 for value in values.values())


def test_every_file_has_its_results_and_nothing_else_is_left(results: Path) -> None:
    expected = ["in and out", "late picture", "nobody", "noisy", "talking", "two faces", "voice"]
    assert names(results) == expected
    files = {name + suffix for name in expected for suffix in RESULTS}
    files |= {name + suffix for name in expected if name != "in and out" for suffix in VOICE}
    assert {path.name for path in results.iterdir()} == files


def test_every_hop_of_sound_has_a_row_also_where_no_picture_is(results: Path) -> None:
    hops = {name: events_of(results, f"{name}.speech") for name in names(results) if name != "in and out"}
    assert [hop["seq"] for hop in hops["late picture"]] == list(range(8))
    assert [hop["t"] for hop in hops["late picture"]] == pytest.approx([0.5 * (n + 1) for n in range(8)])
    assert any(hop["label"] for hop in hops["late picture"][:2])
    assert [hop["label"] for hop in hops["voice"]] == [
        event["speech"]["label"] for event in events_of(results, "voice")
    ]
    for name, said in hops.items():
        assert summary_of(results, name)["hops"] == len(said), name


def test_each_frame_is_present_in_order(results: Path) -> None:
    frames = {"in and out": 80, "late picture": 25, "nobody": 30, "noisy": 25, "talking": 100, "two faces": 30}
    for name, count in frames.items():
        events = events_of(results, name)
        assert [event["seq"] for event in events] == list(range(count)), name
        times = [event["t"] for event in events]
        assert times == sorted(set(times)), name
        summary = summary_of(results, name)
        assert (summary["frames"], summary["frames_lost"]) == (count, 0), name


def test_what_is_said_is_a_distribution_over_emotions(results: Path) -> None:
    for name in names(results):
        for event in events_of(results, name):
            for face in event["faces"]:
                for key in ("static", "video", "fused"):
                    check_distribution(face[key])
                assert face["dynamic"] is None
                assert face["label"] == max(face["fused"], key=face["fused"].__getitem__)
            if event["speech"] and event["speech"]["probabilities"]:
                check_distribution(event["speech"]["probabilities"])
            verdict = event["emotion"]
            assert (verdict["label"] is None) == (verdict["because"] is not None)


def share_of(events: list[dict[str, Any]], faces: int) -> float:
    return sum(len(event["faces"]) == faces for event in events) / len(events)


def test_one_face_is_one_track_all_the_way(results: Path) -> None:
    events = events_of(results, "talking")
    assert share_of(events, 1) == 1.0
    assert {face["track"] for event in events for face in event["faces"]} == {1}
    left, top, width, height = events[0]["faces"][0]["box"]
    assert 640 * 0.3 < left + width / 2 < 640 * 0.7
    assert 360 * 0.2 < top + height / 2 < 360 * 0.8


def test_two_faces_are_two_tracks_at_once(results: Path) -> None:
    events = events_of(results, "two faces")
    assert share_of(events, 2) == 1.0
    assert {face["track"] for event in events for face in event["faces"]} == {1, 2}


def test_a_face_that_leaves_and_comes_back_is_seen_only_while_it_is_there(results: Path) -> None:
    events = events_of(results, "in and out")
    assert [len(event["faces"]) for event in events] == [1] * 20 + [0] * 40 + [1] * 20
    assert all(event["emotion"]["because"] for event in events[20:60])


def test_nobody_and_silence_is_unknown_and_says_why(results: Path) -> None:
    events = events_of(results, "nobody")
    assert {event["emotion"]["label"] for event in events} == {None}
    assert {event["emotion"]["because"] for event in events} == {"no face, no speech yet", "no face, too quiet"}
    assert summary_of(results, "nobody")["dominant"] == {"video": None, "speech": None, "emotion": None}


def test_a_file_without_picture_has_an_event_for_each_hop(results: Path) -> None:
    events = events_of(results, "voice")
    assert [event["t"] for event in events] == pytest.approx([0.5 * (hop + 1) for hop in range(8)])
    assert all(event["faces"] == [] for event in events)
    assert any(event["emotion"]["label"] for event in events)


def test_speech_is_joined_with_what_ended_before_the_frame(results: Path) -> None:
    spoken = [event for event in events_of(results, "talking") if event["speech"]]
    assert any(event["speech"]["probabilities"] for event in spoken)
    assert all(event["speech"]["age_ms"] >= 120 for event in spoken)
    face = next(face for event in spoken for face in event["faces"] if event["speech"]["probabilities"])
    assert face["weights"]["speech"] > 0
    assert sum(face["weights"].values()) == pytest.approx(1.0, abs=1e-3)


def test_a_picture_that_begins_after_its_sound_keeps_its_place(results: Path) -> None:
    assert events_of(results, "late picture")[0]["t"] == pytest.approx(0.84, abs=0.03)


def test_sound_that_is_no_voice_does_not_speak(results: Path) -> None:
    assert all(not (event["speech"] or {}).get("label") for event in events_of(results, "noisy"))


def test_the_table_has_a_row_for_each_frame_and_face(results: Path) -> None:
    for name in names(results):
        with (results / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == sum(max(1, len(event["faces"])) for event in events_of(results, name)), name


def test_the_summary_has_what_is_promised(results: Path) -> None:
    promised = {"file", "frames", "frames_lost", "duration_s", "faces", "dominant", "wall_s", "fps", "models"}
    for name in names(results):
        summary = summary_of(results, name)
        assert promised <= set(summary)
        assert set(summary["dominant"]) == {"video", "speech", "emotion"}
    assert {"face-static", "speech"} <= set(summary_of(results, "talking")["models"])


def labels(folder: Path, name: str) -> list[tuple[object, ...]]:
    """All of an event that does not depend on how fast the machine was."""
    return [
        (event["seq"], event["t"], event["faces"], event["speech"], event["emotion"])
        for event in events_of(folder, name)
    ]


def test_real_time_and_fast_give_the_same_answer(tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 2.5)
    for speed in ("fast", "realtime"):
        code, _, err = run("analyze", clip, "--out", tmp_path / speed, "--speed", speed, "--face-workers", "2")
        assert code == 0, err
    assert labels(tmp_path / "fast", "clip") == labels(tmp_path / "realtime", "clip")
    assert summary_of(tmp_path / "realtime", "clip")["wall_s"] > 2.0


@pytest.mark.parametrize("victim", ["face 1", "audio 1", "broker", "fusion", "record", "capture clip"])
def test_whoever_is_killed_no_frame_is_lost(tmp_path: Path, victim: str) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 3.0)
    with Driven("analyze", clip, "--out", tmp_path / "out", "--speed", "realtime", "--face-workers", "2") as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion) and body.seq >= 20)
        driven.kill(victim)
        code, _, err = driven.finish()
        assert code == 0, err
        assert driven.left_behind() == []
    assert [event["seq"] for event in events_of(tmp_path / "out", "clip")] == list(range(75))
    assert summary_of(tmp_path / "out", "clip")["frames_lost"] == 0
    assert not [event for event in events_of(tmp_path / "out", "clip") if event["failed"]]


def test_broken_files_cost_one_sentence_each_after_the_others_are_done(tmp_path: Path) -> None:
    good = face_clip(tmp_path / "good.mp4", 0.4)
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.mp4").touch()
    broken = [tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "nowhere.mp4"]
    code, out, err = run("analyze", *broken, good, "--out", tmp_path / "out")
    assert code == 1
    assert "1 file, 10 frames" in out
    sentences = err.strip().splitlines()
    assert len(sentences) == len(broken)
    for sentence, file in zip(sentences, broken, strict=True):
        assert sentence.startswith("bimodal: ")
        assert file.name in sentence
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"good{suffix}" for suffix in RESULTS + VOICE}


def test_two_files_of_one_stem_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first = write_clip(tmp_path / "a.mp4", [scene(0)] * 5)
    second = write_clip(tmp_path / "a.mkv", [scene(0)] * 7)
    code, _, err = run("analyze", first, second, "--out", tmp_path / "out")
    assert code == 0, err
    assert summary_of(tmp_path / "out", "a.mp4")["frames"] == 5
    assert summary_of(tmp_path / "out", "a.mkv")["frames"] == 7


def test_a_model_that_is_not_there_stops_it_with_a_sentence(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [scene(0)] * 5)
    for name, sentence in (("face-compcat", "face-compact"), ("/nowhere/model.onnx", "/nowhere/model.onnx")):
        config = tmp_path / "config.yaml"
        config.write_text(f"models: {{face-static: {name}}}")
        code, _, err = run("analyze", clip, "--out", tmp_path / "out", "--config", config)
        assert code == 1
        assert sentence in err
        assert "Traceback" not in err


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [scene(0)] * 5)
    (tmp_path / "file").touch()
    code, _, err = run("analyze", clip, "--out", tmp_path / "file")
    assert code == 1
    assert str(tmp_path / "file") in err


def test_ctrl_c_leaves_no_process_and_no_half_result(tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 20.0)
    with Driven("analyze", clip, "--out", tmp_path / "out", "--speed", "realtime") as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        children = driven.children()
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 130
        assert "stopped" in err
        assert not [child for child in children.values() if child.is_running() and child.status() != "zombie"]
        assert driven.left_behind() == []
    assert list((tmp_path / "out").glob("[!.]*")) == []


def test_results_belong_to_their_source(tmp_path: Path) -> None:
    """One person's session is not replaced by another's; bad names and lost files cost nobody else anything."""
    for person, faces in (("p01", 1), ("p02", 2)):
        (tmp_path / person).mkdir()
        face_clip(tmp_path / person / "session.mp4", 0.6, faces=faces, voice=False)
    strange = face_clip(tmp_path / "clip.mp4", 0.4, voice=False).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    out = tmp_path / "out"
    code, said, err = run("analyze", tmp_path / "p01" / "session.mp4", strange, tmp_path / "none.mp4", "--out", out)
    assert (code, said.startswith("2 files, 25 frames")) == (1, True), err
    assert "there is no file" in err
    assert len(events_of(out, "caf%E9")) == 10
    before = (out / "session.jsonl").read_bytes()
    code, _, err = run("analyze", tmp_path / "p02" / "session.mp4", "--out", out)
    assert (code, (out / "session.jsonl").read_bytes()) == (1, before)
    assert err.count("\n") == 1
    assert "p01/session.mp4" in err
    assert "--overwrite" in err
    code, _, err = run("analyze", tmp_path / "p02" / "session.mp4", "--out", out, "--overwrite")
    assert code == 0, err
    assert len(events_of(out, "session")[0]["faces"]) == 2
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]


def test_media_from_stdin_and_two_voices_in_two_channels(tmp_path: Path) -> None:
    voice, rate = speech(2.0)
    clip = write_clip(tmp_path / "clip.wav", sound=np.stack([voice, 0 * voice]), rate=rate, sound_codec="pcm_s16le")
    command = [sys.executable, "-m", "bimodal", "analyze", "-", "--name", "talk", "--channel", "each", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with clip.open("rb") as media:
        ran = subprocess.run(
            command,
            stdin=media,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert "4 hops of sound" in ran.stdout or "8 hops of sound" in ran.stdout
    hops = events_of(tmp_path / "out", "talk.speech")
    assert [(hop["seq"], hop["channel"]) for hop in hops] == [(n, side) for n in range(4) for side in ("left", "right")]
    assert {hop["because"] for hop in hops if hop["channel"] == "right"} == {"too quiet"}
    assert any(hop["label"] for hop in hops if hop["channel"] == "left")
    events = events_of(tmp_path / "out", "talk")
    assert [event["speech"]["label"] for event in events] == [h["label"] for h in hops if h["channel"] == "left"]
