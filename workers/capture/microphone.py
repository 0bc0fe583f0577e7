"""A microphone through PortAudio. The only file that imports sounddevice, and only when a microphone is wanted.

The time of a sample comes from the ADC clock, not from counting blocks alone: blocks can be lost.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.workers.capture.clocks import ClockMap
from bimodal.workers.capture.device_io import quiet_stderr
from bimodal.workers.capture.types import Sound, SourceInfo
from bimodal.workers.errors import SourceError

NANO = 1_000_000_000
BLOCK_S = 0.02
QUEUED_S = 10.0
POLL_S = 0.1
# A lost block is at least one period of the sound card; estimates of the ADC time jitter by less.
LEAP_NS = 40_000_000
MISSING_LIBRARY = (
    "sound needs the PortAudio library: apt-get install libportaudio2 (Debian, Ubuntu), "
    "dnf install portaudio (Fedora), or brew install portaudio (macOS)"
)


@dataclass(frozen=True, slots=True)
class MicrophoneDevice:
    """An input device; `default` is True for the system's default."""

    index: int
    name: str
    channels: int
    rate: int
    default: bool


@dataclass(frozen=True, slots=True)
class _Block:
    first_sample: int
    adc_ns: int
    grab_ns: int
    samples: NDArray[np.float32]


class Microphone:
    """An open, recording microphone. Only one per process: opening or listing rescans devices, which ends others.

    Attributes:
        info: rate and name.
        overflows: number of blocks lost because this machine, or the caller, was too slow.
    """

    def __init__(
        self,
        device: int | str | None = None,
        *,
        anchor_ns: int = 0,
        rate: int | None = None,
        silence_s: float = 5.0,
    ) -> None:
        """Open the microphone.

        Args:
            device: index, or name (a part of it), of a device in `microphones()`; None is the system's default.
            anchor_ns: the moment of the monotonic clock that is 0 on the stream's time line.
            rate: Hz; by default the device's own.
            silence_s: seconds without any block after which it counts as lost.

        Raises SourceError if the library is missing, there is no such device, or it can't be opened.
        """
        self._anchor_ns, self._silence_s = anchor_ns, silence_s
        self.overflows = 0
        self._count = 0
        self._ended = threading.Event()
        sounddevice = _sounddevice()
        self._name = "the default microphone" if device is None else f"microphone {device}"
        try:
            with quiet_stderr():
                _rescan(sounddevice)
                any_of = sounddevice.query_devices(device, "input")
                self._rate = int(rate or any_of["default_samplerate"])
                self._blocks: queue.Queue[_Block] = queue.Queue(round(QUEUED_S / BLOCK_S))
                self._stream = sounddevice.InputStream(
                    device=device,
                    samplerate=self._rate,
                    blocksize=round(self._rate * BLOCK_S),
                    channels=min(2, int(any_of["max_input_channels"])),
                    dtype="float32",
                    callback=self._on_block,
                    finished_callback=self._ended.set,
                )
                self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SourceError(f"{self._name} can't be opened: {_reason(error)}; see 'bimodal devices'") from error
        self.info = SourceInfo(
            has_picture=False,
            has_sound=True,
            width=0,
            height=0,
            fps=0.0,
            frames_estimate=None,
            duration_ns=None,
            sample_rate=self._rate,
            live=True,
            name=f"microphone {any_of['name']}",
        )

    def sounds(self, stop: threading.Event) -> Iterator[Sound]:
        """Yield sound until `stop` is set.

        Raises SourceError if the microphone is unplugged, its server goes away, or it delivers nothing.
        """
        clock = ClockMap(leap_ns=LEAP_NS)
        heard = time.monotonic()
        while not stop.is_set():
            try:
                block = self._blocks.get(timeout=POLL_S)
            except queue.Empty:
                self._check(heard)
                continue
            heard = time.monotonic()
            adc_ns = clock.map(block.first_sample * NANO // self._rate, block.adc_ns)
            yield Sound(adc_ns - self._anchor_ns, block.grab_ns, block.samples, self._rate)

    def close(self) -> None:
        """Close the microphone."""
        self._stream.close(ignore_errors=True)

    def __enter__(self) -> Microphone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, heard: float) -> None:
        if self._ended.is_set():
            raise SourceError(f"{self._name} stopped; was it unplugged?")
        if time.monotonic() - heard > self._silence_s:
            raise SourceError(f"{self._name} delivered nothing for {self._silence_s:g} s")

    def _on_block(self, data: NDArray[np.float32], frames: int, times: Any, status: Any) -> None:
        """Queue a block: note the time, copy, never wait. Called in PortAudio's own thread."""
        grab_ns = time.monotonic_ns()
        adc_ns = grab_ns - round((times.currentTime - times.inputBufferAdcTime) * NANO)
        first_sample, self._count = self._count, self._count + frames
        if status.input_overflow:
            self.overflows += 1
        try:
            self._blocks.put_nowait(_Block(first_sample, adc_ns, grab_ns, data.mean(axis=1)))
        except queue.Full:
            self.overflows += 1


def microphones() -> list[MicrophoneDevice]:
    """List all input devices. Raises SourceError if PortAudio is missing or fails."""
    sounddevice = _sounddevice()
    try:
        with quiet_stderr():
            _rescan(sounddevice)
            devices = list(sounddevice.query_devices())
            default = int(sounddevice.default.device[0])
    except sounddevice.PortAudioError as error:
        raise SourceError(f"microphones can't be listed: {_reason(error)}") from error
    return [
        MicrophoneDevice(
            index=int(device["index"]),
            name=str(device["name"]),
            channels=int(device["max_input_channels"]),
            rate=int(device["default_samplerate"]),
            default=int(device["index"]) == default,
        )
        for device in devices
        if device["max_input_channels"] > 0
    ]


def _sounddevice() -> Any:
    """Import sounddevice and start PortAudio. Raises SourceError, saying what to install."""
    try:
        with quiet_stderr():
            import sounddevice
    except OSError as error:
        raise SourceError(MISSING_LIBRARY) from error
    except ImportError as error:
        raise SourceError("microphones need the package sounddevice: pip install sounddevice") from error
    return sounddevice


def _rescan(sounddevice: Any) -> None:
    """Restart PortAudio, which looks for devices only when it starts, to find those plugged in since."""
    sounddevice._terminate()
    sounddevice._initialize()


def _reason(error: Exception) -> str:
    return str(error.args[0] if error.args else error).split(" [")[0].strip().rstrip(".")
