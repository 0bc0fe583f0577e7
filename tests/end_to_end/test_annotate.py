"""`bimodal analyze --annotate`, and films of live streams: real processes, real files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import pytest

from bimodal.broker.messages import Body, Heartbeat
from bimodal.workers.capture import files
from tests.end_to_end.driving import Driven, events_of, run, summary_of
from tests.media import face_clip, scene, speech, write_clip
from tests.recordings.test_retention import session

PURPLE = (136, 76, 220)


def pictures(path: Path) -> list[Any]:
    return list(files.pictures(path))


def test_each_file_gets_its_film_with_every_frame_and_its_sound(tmp_path: Path) -> None:
    sound, rate = speech(2.0)
    clips = [
        face_clip(tmp_path / "talking.mp4", 2.0),
        write_clip(tmp_path / "phone.mp4", [scene(0)] * 10, rotation=90),
        write_clip(tmp_path / "voice.wav", sound=sound, rate=rate, sound_codec="pcm_s16le"),
    ]
    out = tmp_path / os.fsdecode(b"caf\xe9")  # a name that is no UTF-8
    code, said, err = run("analyze", *clips, "--out", out, "--annotate")
    assert code == 0, err
    assert "3 files" in said
    films = {path.name for path in out.glob("*.mp4")}
    assert films == {"talking.annotated.mp4", "phone.annotated.mp4", "voice.annotated.mp4"}
    for name in ("talking", "phone", "voice"):
        events = events_of(out, name)
        shown = pictures(out / f"{name}.annotated.mp4")
        assert len(shown) == len(events) == summary_of(out, name)["frames"]
        first = shown[0].pts_ns / 1e9
        assert [picture.pts_ns / 1e9 - first for picture in shown] == pytest.approx(
            [event["t"] - events[0]["t"] for event in events], abs=0.001
        )
    talking = pictures(out / "talking.annotated.mp4")
    before = pictures(clips[0])
    (x, y, width, height) = events_of(out, "talking")[20]["faces"][0]["box"]
    for side in (x + 2, x + width - 3):
        drawn, plain = (each[20].pixels[y + height // 2, side].astype(int) for each in (talking, before))
        assert abs(drawn - PURPLE).sum() < abs(plain - PURPLE).sum(), "the box stands where the event says"
    heard = [
        sum(piece.samples.size for piece in files.sounds(each)) for each in (clips[0], out / "talking.annotated.mp4")
    ]
    assert heard[0] == heard[1]
    assert pictures(out / "phone.annotated.mp4")[0].pixels.shape == (640, 360, 3)
    assert not list(out.glob(".*"))


def test_a_film_that_fails_costs_a_sentence_and_no_result(tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "a.mp4", 0.6)
    (tmp_path / "out" / "a.annotated.mp4").mkdir(parents=True)
    code, _, err = run("analyze", clip, "--out", tmp_path / "out", "--annotate")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("bimodal: a.annotated.mp4 was not made: a.annotated.mp4 can't be written")
    assert summary_of(tmp_path / "out", "a")["frames"] == 15
    assert not list((tmp_path / "out").glob(".*"))


def filmed(least: float, not_pid: int = 0) -> Any:
    def check(body: Body) -> bool:
        film = isinstance(body, Heartbeat) and body.name == "film" and body.pid != not_pid
        return film and body.figures.get("filmed", 0) > least  # type: ignore[union-attr]

    return check


def test_live_films_survive_a_kill_and_go_on(tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 3.0)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"streams: {{desk: {{file: '{clip}', loop: true}}}}\nlog: {{file: '{tmp_path / 'log'}'}}\n"
        f"outputs: {{view: false, record: {{folder: '{tmp_path / 'kept'}', video: true}}}}\n"
    )
    with Driven("up", "--config", config, "--session", "test-film", session="test-film") as driven:
        driven.wait_for(filmed(40))
        pid = driven.kill("film")
        driven.wait_for(filmed(20, pid))
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 0, err
    films = sorted((tmp_path / "kept").glob("*/desk/*.mp4"))
    assert [film.name for film in films] == ["1000-0001-2.mp4", "1000-0001.mp4"]
    after, killed = films
    assert len(pictures(killed)) > 15
    assert len(pictures(after)) > 20
    for film in films:
        with av.open(str(film)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert container.streams.audio[0].codec_context.name == "aac"
    assert sum(piece.samples.size for piece in files.sounds(killed)) > 24000


def test_a_nearly_full_disk_stops_films_only_and_old_sessions_go(tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 1.0)
    old = session(tmp_path / "kept", "old", 9.0)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"streams: {{desk: {{file: '{clip}', loop: true}}}}\nlog: {{file: '{tmp_path / 'log'}'}}\n"
        f"outputs: {{view: false, record: {{folder: '{tmp_path / 'kept'}', video: true, min_free_mb: 1000000000, "
        "retention_days: 3}}\n"
    )
    with Driven("up", "--config", config, "--session", "test-full", session="test-full") as driven:
        told = driven.wait_for(lambda b: isinstance(b, Heartbeat) and b.name == "film" and b.because is not None)
        assert isinstance(told, Heartbeat)
        assert told.state == "ready"
        assert "nearly full" in (told.because or "")
        driven.wait_for(lambda b: isinstance(b, Heartbeat) and b.name == "record" and b.figures.get("kept", 0) > 30)
        driven.interrupt()
        assert driven.finish()[0] == 0
    assert not old.exists()
    assert not list((tmp_path / "kept").glob("*/desk/*.mp4"))
    assert list((tmp_path / "kept").glob("*/desk/*.jsonl"))
