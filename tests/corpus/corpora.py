"""Corpora for tests: a tree of short clips, sound and pictures, with broken ones and one that kills its worker."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import psutil

import bimodal
from bimodal.recordings.tables import event_line
from tests.media import face_clip, scene, speech, write_clip

POISON = "poison.mp4"


def make_tree(folder: Path, clips: int, pictures: int) -> Path:
    """`clips` clips in three folders, three broken ones, a poison, two of one name, some sound, and pictures."""
    for number in range(clips):
        path = folder / f"p{number % 3:02}" / f"take{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        face_clip(path, 0.4 + 0.2 * (number % 3), voice=number % 2 == 0)
    sound, rate = speech(2.0)
    for place in ("p00", "p01"):
        write_clip(folder / place / "voice.wav", sound=sound, rate=rate, sound_codec="pcm_s16le")
    (folder / "broken").mkdir()
    (folder / "broken" / "empty.mp4").write_bytes(b"")
    (folder / "broken" / "noise.mkv").write_bytes(bytes(range(256)) * 40)
    (folder / "broken" / "cut.mp4").write_bytes((folder / "p00" / "take0.mp4").read_bytes()[:2000])
    face_clip(folder / "p01" / POISON, 0.6, voice=False)
    (folder / "faces").mkdir()
    for number in range(pictures):
        cv2.imwrite(str(folder / "faces" / f"{number:04}.png"), scene(number % 3, number / 10, 320, 180)[..., ::-1])
    return folder


@contextlib.contextmanager
def poisoned(study: Path) -> Iterator[None]:
    """Kill every process that opens the poison of this tree, as a bug of a decoder would; those of other trees live."""
    poison = str((study / "p01" / POISON).resolve())
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.01):
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, OSError):
                    if process.pid != os.getpid() and process.uids().real == os.getuid():
                        folder = Path(f"/proc/{process.pid}/fd")
                        if any(str(entry.readlink()) == poison for entry in folder.iterdir()):
                            process.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def without_latency(line: bytes) -> dict[str, object]:
    """A line of JSON without what differs from run to run."""
    found: dict[str, object] = msgspec.json.decode(line)
    found.pop("latency_ms")
    return found


def differences(folder: Path, out: Path, detector: bimodal.Detector) -> list[str]:
    """The clips whose lines are not those of a detector's events."""
    wrong = []
    for lines in sorted(out.rglob("*.jsonl")):
        place = lines.relative_to(out)
        if place.parts[0] == "corpus" or lines.name.endswith(".speech.jsonl"):
            continue
        source = next(folder.glob(f"{place.with_suffix('')}.*"))
        wanted = [without_latency(event_line(event)) for event in detector.events(source, name=lines.stem)]
        if [without_latency(line) for line in lines.read_bytes().splitlines()] != wanted:
            wrong.append(str(place))
    return wrong


def left_behind(out: Path) -> list[Path]:
    """Temporary files and claims."""
    return [*out.rglob(".*.part"), *(out / "corpus" / "claims").iterdir()]
