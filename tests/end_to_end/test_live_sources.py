"""`bimodal up` on live sources: a network camera that comes and goes, a microphone, numbered pictures as a camera."""

from __future__ import annotations

import http.server
import json
import subprocess
from pathlib import Path

import cv2

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.end_to_end.driving import Driven
from tests.http_server import Server
from tests.media import scene, speech, write_clip
from tests.sound_server import Pulse, needs_pulse, pulse

__all__ = ["pulse"]

JPEG = cv2.imencode(".jpg", cv2.cvtColor(scene(1), cv2.COLOR_RGB2BGR))[1].tobytes()


def send_faces(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A camera that sends a face until nobody listens."""
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(JPEG)}\r\n\r\n".encode()
    for _ in range(500):
        handler.wfile.write(head + JPEG + b"\r\n")


def up(config: Path, session: str, environment: dict[str, str] | None = None) -> Driven:
    arguments = ("up", "--config", config, "--session", session)
    return Driven(*arguments, session=session, environment=environment)


def has_face(body: object) -> bool:
    return isinstance(body, Emotion) and len(body.faces) == 1


def in_trouble(body: object) -> bool:
    return isinstance(body, Heartbeat) and body.name == "capture door" and bool(body.because)


def test_a_network_camera_that_is_lost_is_found_again(tmp_path: Path) -> None:
    camera = Server(send_faces)
    config = tmp_path / "config.yaml"
    config.write_text(f"streams: {{door: {{url: 'http://user:secret@127.0.0.1:{camera.port}/'}}}}\n")
    with up(config, "test-door") as driven:
        before = driven.wait_for(has_face)
        camera.close()
        trouble = driven.wait_for(in_trouble)
        assert isinstance(trouble, Heartbeat)
        assert "trying again" in str(trouble.because)
        assert "secret" not in str(trouble)
        again = Server(send_faces, camera.port)
        after = driven.wait_for(lambda body: has_face(body) and body.t > before.t + 0.5)  # type: ignore[attr-defined]
        assert after.run == before.run  # type: ignore[attr-defined]
        again.close()
        driven.interrupt()
        code, out, err = driven.finish()
        assert code == 0
        assert "secret" not in out + err


@needs_pulse
def test_auto_takes_the_microphone_and_hears_a_voice(tmp_path: Path, pulse: Pulse) -> None:
    sound, rate = speech(4.0)
    voice = write_clip(tmp_path / "voice.wav", sound=sound, rate=rate, sound_codec="pcm_s16le")
    config = tmp_path / "config.yaml"
    config.write_text("streams: {desk: {auto: true}}\n")
    with up(config, "test-microphone", pulse.environment) as driven:
        quiet = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert isinstance(quiet, Emotion)
        assert quiet.faces == ()
        assert quiet.emotion.label is None
        player = subprocess.Popen(["paplay", "-d", "mic1", str(voice)], env=pulse.environment)
        heard = driven.wait_for(lambda body: isinstance(body, Emotion) and body.emotion.probabilities is not None)
        player.wait()
        assert isinstance(heard, Emotion)
        assert heard.speech is not None
        assert heard.speech.voice > 0
        pulse.close()
        lost = driven.wait_for(lambda body: isinstance(body, Heartbeat) and "microphone" in str(body.because))
        assert isinstance(lost, Heartbeat)
        assert lost.state == "ready", "a microphone that is lost takes nothing down"


def test_numbered_pictures_are_a_camera(tmp_path: Path) -> None:
    for number in range(40):
        cv2.imwrite(str(tmp_path / f"f_{number:04d}.jpg"), cv2.cvtColor(scene(1), cv2.COLOR_RGB2BGR))
    config = tmp_path / "config.yaml"
    config.write_text(f"streams: {{desk: {{camera: '{tmp_path}/f_%04d.jpg'}}}}\n")
    with up(config, "test-numbered") as driven:
        driven.wait_for(has_face)


def test_recordings_of_a_live_stream_are_complete_when_it_is_stopped(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [scene(1)] * 25)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"streams: {{desk: {{file: '{clip}', loop: true}}}}\noutputs: {{record: '{tmp_path / 'kept'}'}}\n"
    )
    with up(config, "test-kept") as driven:
        # The recorder begins after the first events where cores are few.
        while not list((tmp_path / "kept").glob("*/desk/*.jsonl*")):
            driven.wait_for(lambda body: isinstance(body, Emotion))
        seen = [driven.wait_for(lambda body: isinstance(body, Emotion)) for _ in range(12)]
        driven.interrupt()
        assert driven.finish()[0] == 0
    (session,) = (tmp_path / "kept").iterdir()
    kept = {path.name for path in (session / "desk").iterdir()}
    ends = (".jsonl", ".csv", ".parquet", ".segments.csv", ".segments.parquet", ".summary.json")
    assert kept == {"stream.json", *(f"1000-0001{end}" for end in ends)}
    lines = (session / "desk" / "1000-0001.jsonl").read_text().splitlines()
    recorded = [json.loads(line)["seq"] for line in lines]
    assert {one.seq for one in seen if isinstance(one, Emotion) and one.seq > recorded[0]} <= set(recorded)
    assert len(recorded) > 5
