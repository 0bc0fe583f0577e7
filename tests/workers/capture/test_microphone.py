"""A real microphone where there is none: PulseAudio's null sink, heard through PortAudio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import media as made
from tests.sound_server import RATE, Pulse, needs_pulse, pulse

__all__ = ["pulse"]

NANO = 1_000_000_000
# In a process of its own: PortAudio reads its surroundings once. It records until the parent closes stdin.
RECORDER = """
import sys, threading, time
import numpy as np
from bimodal.workers.capture.microphone import Microphone
from bimodal.workers.errors import SourceError

stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
anchor_ns = time.monotonic_ns()
ends, parts = [], []
with Microphone(anchor_ns=anchor_ns, rate=48000) as microphone:
    try:
        for sound in microphone.sounds(stop):
            if not parts:
                print("recording", anchor_ns, flush=True)
            ends.append((sound.pts_ns, sound.samples.size, sound.grab_ns))
            parts.append(sound.samples)
    except SourceError as error:
        print(error, flush=True)
    np.savez(sys.argv[1], sound=np.concatenate(parts), ends=np.array(ends), anchor=anchor_ns,
             overflows=microphone.overflows)
"""

# The microphone of a live source: says what it suffers, and when it hears again. It runs until stdin is closed.
LISTENER = """
import sys, threading
from bimodal.workers.backoff import BackOff
from bimodal.workers.capture import reconnect

reconnect.BackOff = lambda: BackOff(0.1, 0.3)
source = reconnect.device_source(None, "default", 720, patient=True)
threading.Thread(target=lambda: (sys.stdin.read(), source.stopped.set()), daemon=True).start()
count, state = 0, ""

def tell():
    global state
    while not source.stopped.wait(0.02):
        trouble = source.degraded_reason
        if trouble is not None and state != "suffers":
            state = "suffers"
            print(trouble, flush=True)
        elif trouble is None and state != "hears" and count > 0:
            state = "hears"
            print("hears", flush=True)

threading.Thread(target=tell, daemon=True).start()
for sound in source.sounds():
    count += 1
"""


def start_recorder(pulse: Pulse, target: Path) -> subprocess.Popen[str]:
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(target)],
        env=pulse.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert recorder.stdout is not None
    line = recorder.stdout.readline()
    if not line.startswith("recording"):
        raise AssertionError(f"the recorder said {line!r} and {recorder.communicate()}")
    return recorder


def find(told: np.ndarray, heard: np.ndarray) -> int:
    """Where in what was heard the told sound begins."""
    size = told.size + heard.size
    return int(np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(told, size)), size).argmax())


@needs_pulse
def test_what_is_played_is_heard_at_its_time(pulse: Pulse, tmp_path: Path) -> None:
    told = made.noise(3.0, RATE)
    file = made.write_clip(tmp_path / "noise.wav", sound=told, rate=RATE, sound_codec="pcm_s16le")
    recorder = start_recorder(pulse, tmp_path / "heard.npz")
    pulse.play(file)
    said, errors = recorder.communicate(timeout=60)
    assert (recorder.returncode, said, errors) == (0, "", "")
    found = np.load(tmp_path / "heard.npz")
    sound, blocks = found["sound"], found["ends"]
    begin = find(told[: RATE // 2], sound)
    heard = sound[begin : begin + told.size]
    assert np.corrcoef(told[: heard.size], heard)[0, 1] > 0.99
    assert heard.size > 2.5 * RATE
    assert found["overflows"] == 0

    pts_ns, counted_ns = blocks[:, 0], np.cumsum(np.r_[0, blocks[:-1, 1]]) * NANO // RATE
    drift_ns = (pts_ns - pts_ns[0]) - counted_ns
    assert np.abs(drift_ns).max() < 60_000_000  # the line goes with the samples
    lateness_ns = blocks[:, 2] - int(found["anchor"]) - (pts_ns + blocks[:, 1] * NANO // RATE)
    assert np.median(lateness_ns) > -20_000_000  # no sound from the future
    assert np.median(lateness_ns) < 1_000_000_000


@needs_pulse
def test_a_microphone_whose_server_dies_says_so(pulse: Pulse, tmp_path: Path) -> None:
    recorder = start_recorder(pulse, tmp_path / "heard.npz")
    pulse.close()
    assert recorder.stdout is not None
    assert recorder.stdout.readline() in (
        "the default microphone stopped; was it unplugged?\n",
        "the default microphone delivered nothing for 5 s\n",
    )
    recorder.communicate(timeout=60)  # PortAudio itself writes to stderr here
    assert recorder.returncode == 0


# By hand: after a kill of its server PulseAudio's ALSA plugin now and then never returns, and the test waits for it.
@pytest.mark.slow
@needs_pulse
def test_a_microphone_that_is_missing_comes_goes_and_comes_back(pulse: Pulse) -> None:
    pulse.close()
    listener = subprocess.Popen(
        [sys.executable, "-c", LISTENER],
        env=pulse.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # PortAudio itself writes to it here
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert listener.stdout is not None
    try:
        missing = listener.stdout.readline()
        assert missing.startswith("the default microphone can't be opened: ")
        assert "trying again in" in missing
        for _ in range(2):
            pulse.again()
            assert listener.stdout.readline() == "hears\n"
            pulse.close()
            assert listener.stdout.readline().startswith("the default microphone ")
        pulse.again()
        assert listener.stdout.readline() == "hears\n"
        listener.communicate(timeout=60)
        assert listener.returncode == 0
    finally:
        listener.kill()
        listener.communicate()


@needs_pulse
def test_devices_lists_the_microphone_and_auto_takes_it(pulse: Pulse) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "bimodal", "devices", "--json"],
        env=pulse.environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(told.stdout)
    assert "pulse" in [microphone["name"] for microphone in found["microphones"]]
    assert found["auto"]["microphone"] is not None
    assert found["auto"]["demo"] is False
    assert told.stderr == ""


def test_without_portaudio_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    code = """
import threading
from bimodal.workers.capture import discover
from bimodal.workers.capture.microphone import Microphone
from bimodal.workers.errors import SourceError
assert discover.first_microphone() is None
try:
    Microphone()
except SourceError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "apt-get install libportaudio2" in told.stdout
