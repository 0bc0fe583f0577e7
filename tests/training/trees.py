"""Tiny data sets in their published forms, made by tests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.training.datasets.items import Item
from bimodal.training.datasets.manifest import write_manifest

VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def write_fer2013(folder: Path, split: str, votes: Sequence[Sequence[int]], seed: int = 0) -> None:
    """`{split}.csv` and pictures: noise, brighter the later its first most-voted column stands."""
    random = np.random.default_rng(seed)
    (folder / split).mkdir(parents=True)
    with (folder / f"{split}.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "fer2013", *(f"ferplus_{name}" for name in VOTES)])
        for row, counts in enumerate(votes):
            name = f"fer{row:07d}.png"
            level = 20 * int(np.argmax(counts))
            picture = random.integers(level, level + 40, (48, 48), dtype=np.uint8)
            cv2.imwrite(str(folder / split / name), picture)
            table.writerow([name, "neutral", *counts])


def write_picture(path: Path, level: int = 100, side: int = 48) -> None:
    """A picture of one grey; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), level, np.uint8))


def write_films(folder: Path, among: EmotionSet = SEVEN) -> Path:
    """A prepared video tree of four speakers: brighter faces and louder voices for later emotions of the set."""
    items, step_of_light = [], 252 // len(among.emotions)
    for speaker in range(4):
        for emotion in range(len(among.emotions)):
            clip = f"s{speaker}-{emotion}"
            split = "valid" if speaker == 3 else "train"
            known = {"label": emotion, "split": split, "speaker": f"s{speaker}", "clip": clip}
            for step in range(10):
                path = folder / "data" / clip / f"{step}.png"
                write_picture(path, step_of_light // 2 + step_of_light * emotion + step)
                items.append(Item(path=path, time_s=0.2 * step, **known))  # type: ignore[arg-type]
            sound = folder / "data" / f"{clip}.flac"
            write_sound(sound, tone(200, 2.0) * np.float32(0.25 + 0.7 / len(among.emotions) * emotion))
            items.append(Item(path=sound, **known))  # type: ignore[arg-type]
    write_manifest(folder, items, among)
    return folder


def write_ravdess(folder: Path, actors: Sequence[int], suffix: str = ".wav", seconds: float = 1.2) -> None:
    """One clip of each of the eight acted emotions an actor: a tone, higher for later emotions."""
    for actor in actors:
        (folder / f"Actor_{actor:02d}").mkdir(parents=True)
        for code in range(1, 9):
            path = folder / f"Actor_{actor:02d}" / f"03-01-{code:02d}-01-01-01-{actor:02d}{suffix}"
            write_sound(path, tone(150.0 * code + actor, seconds))


def tone(hertz: float, seconds: float, rate: int = 16_000) -> NDArray[np.float32]:
    """float32 [S]: a tone between stretches of near silence, 0.1 s on either side."""
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * hertz * time)
    sound[: rate // 10] *= 1e-4
    sound[-rate // 10 :] *= 1e-4
    return sound.astype(np.float32)


def write_sound(path: Path, waveform: NDArray[np.float32], rate: int = 16_000) -> None:
    """FLAC or 16-bit WAV, mono."""
    samples = np.round(waveform * 32767).astype(np.int16)[None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac" if path.suffix == ".flac" else "pcm_s16le", rate=rate, layout="mono")
        for start in range(0, samples.shape[1], 4096):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 4096], format="s16", layout="mono")
            frame.rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
