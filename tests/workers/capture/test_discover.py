"""What is attached, what `auto` takes, and the demo clip for machines with neither."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from bimodal.commands.devices import devices
from bimodal.workers.capture import discover
from bimodal.workers.capture.discover import CameraDevice, Found
from bimodal.workers.capture.files import pictures, probe, sounds
from bimodal.workers.capture.microphone import MicrophoneDevice
from bimodal.workers.errors import SourceError
from tests import media as made

CAMERA = CameraDevice(2, "Desk [HD]", "/dev/video2")
MICROPHONE = MicrophoneDevice(5, "USB", 1, 44100, True)

app = typer.Typer()
app.command()(devices)


def attach(monkeypatch: pytest.MonkeyPatch, camera: CameraDevice | None, microphone: MicrophoneDevice | None) -> None:
    """The hardware is what these tests do not have; everything above it is real."""
    monkeypatch.setattr(discover, "cameras", lambda: [camera] if camera else [])
    monkeypatch.setattr(discover, "microphones", lambda: [microphone] if microphone else [])
    monkeypatch.setattr(discover, "_gives_pictures", lambda _index: True)
    monkeypatch.setattr(discover, "_opens", lambda _device: True)


@pytest.mark.parametrize(
    ("camera", "microphone", "sentence"),
    [
        (None, None, "auto takes the demo clip"),
        (CAMERA, None, "auto takes camera 2."),
        (None, MICROPHONE, "auto takes microphone 5."),
        (CAMERA, MICROPHONE, "auto takes camera 2 and microphone 5."),
    ],
)
def test_the_table_says_what_auto_takes(
    monkeypatch: pytest.MonkeyPatch,
    camera: CameraDevice | None,
    microphone: MicrophoneDevice | None,
    sentence: str,
) -> None:
    attach(monkeypatch, camera, microphone)
    told = CliRunner().invoke(app, [])
    assert told.exit_code == 0
    assert sentence in told.output
    assert ("Desk [HD]" in told.output) is (camera is not None)
    assert ("No camera and no microphone" in told.output) is (camera is None and microphone is None)


def test_json_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    attach(monkeypatch, CAMERA, None)
    found = json.loads(CliRunner().invoke(app, ["--json"]).stdout)
    assert found == {
        "cameras": [{"index": 2, "name": "Desk [HD]", "path": "/dev/video2"}],
        "microphones": [],
        "auto": {"camera": 2, "microphone": None, "demo": False},
        "notes": [],
    }


def test_a_missing_library_is_a_note_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    attach(monkeypatch, None, None)

    def missing() -> list[MicrophoneDevice]:
        raise SourceError("sound needs the PortAudio library: apt-get install libportaudio2")

    monkeypatch.setattr(discover, "microphones", missing)
    told = CliRunner().invoke(app, [])
    assert told.exit_code == 0
    assert "libportaudio2" in told.output
    assert "auto takes the demo clip" in told.output


def test_this_machine_s_own_devices_are_listed_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    found = discover.auto()
    assert found == Found(discover.first_camera(), discover.first_microphone())
    assert capfd.readouterr().err == ""


def test_a_camera_s_metadata_node_is_no_camera(tmp_path: Path) -> None:
    for name, index in (("video63", "0"), ("video62", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index").write_text(index)
        (tmp_path / name / "name").write_text("Desk\n")
    listed = discover._video4linux(tmp_path, devices=tmp_path)
    assert listed == [CameraDevice(63, "Desk", str(tmp_path / "video63"))]


def test_the_demo_clip_shows_and_says_what_it_promises() -> None:
    info = probe(made.DEMO)
    assert (info.width, info.height, info.fps, info.duration_ns) == (640, 360, 25.0, 14 * 10**9)
    assert made.DEMO.stat().st_size < 1_500_000
    times = [picture.pts_ns for picture in pictures(made.DEMO, 90)]
    assert times == [number * 40_000_000 for number in range(350)]
    samples = np.concatenate([sound.samples for sound in sounds(made.DEMO)])
    loud = [float(np.abs(part).max()) for part in np.array_split(samples[: 14 * 48000], 14)]
    assert min(loud[1:4]) > 0.1
    assert max(loud[6:9]) < 0.01
    assert min(loud[10:12]) > 0.1
