"""CPU of one live stream of 1280×720 at 30 frames a second, by process: a person who speaks, and an empty room.

A real `bimodal up` with the default models plays films that are made here: the demo clip enlarged, with sound, and a
picture of nobody with a sensor's noise. They are H.264, and its decoding counts, as everything does.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from bimodal.bench.figures import BenchError, Figure, Outcome, figure
from bimodal.bench.media import decoded
from bimodal.bench.plan import Plan
from bimodal.bench.system import PATIENCE_S, Live, live, measured
from bimodal.broker.events import Emotion
from bimodal.workers.capture.settings import StreamSettings

SIZE, FPS, SECONDS = (1280, 720), 30, 10
NOISE = 2.0
"""Deviation of the sensor's noise, grey levels; four different pictures of it are shown in turn."""
WARM_S = 4.0
"""Time for the first looks, before anything counts."""
AT_MOST = {"a person": 28.0, "an empty room": 16.0}
"""Per cent of a core that were wanted, on a processor with VNNI."""


def measure(plan: Plan) -> Outcome:
    """Measure both films in turn. Raises BenchError where a system does not come to work."""
    films = {"a person": person(plan.folder), "an empty room": room(plan.folder)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in films}
    for repeat, (name, film) in itertools.product(range(plan.repeats), films.items()):
        plan.progress(f"live: {name}, repeat {repeat + 1} of {plan.repeats}")
        found[name].append(_shares(plan, film))
    figures: list[Figure] = []
    for name, shares in found.items():
        totals = [sum(each.values()) for each in shares]
        figures.append(figure(f"{name}: all processes", totals, "% of a core", floor=AT_MOST[name], at_most=True))
        for process in sorted(shares[0], key=lambda each: -shares[0][each]):
            figures.append(figure(f"{name}: {process}", [each[process] for each in shares], "% of a core"))
    return Outcome(part="live", figures=tuple(figures))


def _shares(plan: Plan, film: Path) -> dict[str, float]:
    """Per cent of a core that each kind of process takes, once the first event has come and the system is warm."""
    config = measured(plan, {"cam": StreamSettings(file=str(film), loop=True)})
    with live(plan, config) as system, system.bus(["emotion."]) as bus:
        end = time.monotonic() + PATIENCE_S
        while not any(isinstance(body, Emotion) for _, _, body in system.messages(bus, 0.5)):
            system.check(end)
        for _ in system.messages(bus, WARM_S):
            pass
        before, began = _cpu_s(system), time.monotonic()
        events = sum(isinstance(body, Emotion) for _, _, body in system.messages(bus, plan.seconds))
        seconds = time.monotonic() - began
        after = _cpu_s(system)
    if events < FPS * seconds / 2:
        raise BenchError(f"only {events} events came in {seconds:.0f} s: the machine is too busy for this figure")
    shares: dict[str, float] = defaultdict(float)
    for name, used in after.items():
        shares[name.split(" ")[0]] += 100 * (used - before.get(name, used)) / seconds
    return shares


def _cpu_s(system: Live) -> dict[str, float]:
    """CPU seconds of every process so far."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in system.processes().items()}
    times["supervisor"] = psutil.Process(system.process.pid).cpu_times()
    return {name: each.user + each.system for name, each in times.items()}


def person(folder: Path) -> Path:
    """Make the film of a person who speaks."""
    media = decoded(folder)
    pictures = np.load(media.frames, mmap_mode="r")
    frames = (cv2.resize(pictures[number % len(pictures)], SIZE) for number in range(SECONDS * FPS))
    return _film(folder / "person.mp4", frames, np.load(media.sound), media.rate)


def room(folder: Path) -> Path:
    """Make the film of nobody."""
    random = np.random.default_rng(7)
    across, down = np.meshgrid(np.linspace(60, 190, SIZE[0]), np.linspace(-25, 25, SIZE[1]))
    room = np.repeat((across + down)[..., None], 3, axis=2)
    room[400:, 200:700] *= 0.6  # a table
    room[80:330, 850:1100] += 40  # a window
    noisy = [np.clip(room + random.normal(0, NOISE, room.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    return _film(folder / "room.mp4", (noisy[number % 4] for number in range(SECONDS * FPS)))


def _film(
    path: Path, frames: Iterator[NDArray[np.uint8]], sound: NDArray[np.float32] | None = None, rate: int = 16_000
) -> Path:
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = None if sound is None else film.add_stream("aac", rate=rate, layout="mono")
        for frame in frames:
            film.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(video.encode(None))
        if audio is not None and sound is not None:
            samples = np.tile(sound, 1 + SECONDS * rate // len(sound))[: SECONDS * rate]
            part = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            part.sample_rate = rate
            part.pts = 0
            film.mux(audio.encode(part))
            film.mux(audio.encode(None))
    return path
