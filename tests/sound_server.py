"""A real microphone where there is none: PulseAudio's null sink, heard through PortAudio."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

RATE = 48000
MISSING = [
    name
    for name, there in (
        ("pulseaudio", shutil.which("pulseaudio")),
        ("paplay", shutil.which("paplay")),
        ("libportaudio2", ctypes.util.find_library("portaudio")),
    )
    if not there
]
needs_pulse = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (apt-get install)")


class Pulse:
    """A private PulseAudio server with one microphone that plays what is sent to it."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        self._socket = folder / "native"
        self.environment = {
            **os.environ,
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_SOURCE": "mic1.monitor",
            "HOME": str(folder),
        }
        self.server = self._start()
        self._wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                "-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}",
                "-L", f"module-null-sink sink_name=mic1 rate={RATE} norewinds=1",
            ],
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _wait(self) -> None:
        """Until it answers; `pactl` itself waits for the socket no longer than a moment."""
        for _ in range(500):
            asked = ["pactl", "info"]
            if subprocess.run(asked, env=self.environment, capture_output=True, check=False).returncode == 0:
                return
        raise RuntimeError("pulseaudio does not answer")

    def play(self, file: Path) -> None:
        """Play a file to its end."""
        subprocess.run(["paplay", "-d", "mic1", str(file)], env=self.environment, check=True, timeout=60)

    def again(self) -> None:
        """Start it again after `close`: the microphone is plugged in."""
        self._socket.unlink(missing_ok=True)
        self.server = self._start()
        self._wait()

    def close(self) -> None:
        """Kill it: the microphone is unplugged."""
        self.server.kill()
        self.server.wait()


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    folder = tmp_path / "pulse"
    folder.mkdir()
    server = Pulse(folder)
    yield server
    server.close()
