"""Films of live streams: sound comes in hops after the pictures, films are cut in time, a kill costs a moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soxr

from bimodal.workers.capture import files
from bimodal.workers.film.live import LiveFilm, film_path
from bimodal.workers.film.writer import FilmError, FilmWriter
from tests.workers.film.clips import FPS, flash_and_beep, seen

REPOSITORY = Path(__file__).parents[3]
NANO = 1_000_000_000
HOP_S = 0.5


def play(source: Path, film: LiveFilm, *, rate: int = 48000, skip_ns: int = 0) -> None:
    """The source as the bus tells of it: a picture 30 ms after its time, half a second of sound when it is over."""
    items: list[tuple[float, object]] = [
        (picture.pts_ns / NANO + 0.03, picture) for picture in files.pictures(source) if picture.pts_ns >= skip_ns
    ]
    samples = np.concatenate([sound.samples for sound in files.sounds(source)])
    samples = samples if rate == 48000 else soxr.resample(samples, 48000, rate)
    hop = round(rate * HOP_S)
    for begin in range(0, samples.size, hop):
        piece = samples[begin : begin + hop]
        items.append(((begin + piece.size) / rate + 0.002, (begin * NANO // rate, piece)))
    for _, item in sorted(items, key=lambda pair: pair[0]):
        if isinstance(item, tuple):
            film.sound(*item, rate)
        else:
            film.picture(item.pts_ns, item.pixels)  # type: ignore[attr-defined]


@pytest.mark.parametrize("rate", [48000, 44100, 16000])
def test_flash_and_beep_stay_together(tmp_path: Path, rate: int) -> None:
    film = LiveFilm(tmp_path / "desk", 1000, 3600.0, FPS, has_sound=True)
    play(flash_and_beep(tmp_path / "a.mp4"), film, rate=rate)
    film.close()
    shown = seen(tmp_path / "desk" / "1000-0001.mp4")
    assert len(shown.pictures) == 75
    assert shown.flashes == pytest.approx([0.8, 2.0], abs=0.001)
    assert shown.beeps == pytest.approx([0.8, 2.0], abs=1 / FPS)


def test_a_picture_that_the_codec_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    film = FilmWriter(tmp_path / "wide.mp4", (16400, 2), FPS)
    with pytest.raises(FilmError, match="wide"):
        film.picture(0, np.zeros((2, 16400, 3), np.uint8))


def test_films_are_cut_at_their_time_without_loss(tmp_path: Path) -> None:
    """Parts of 1.3 s: the flash of 0.8 s lies in the first, that of 2.0 s at 0.68 s of the second."""
    film = LiveFilm(tmp_path / "desk", 7, 1.3, FPS, has_sound=True)
    play(flash_and_beep(tmp_path / "a.mp4"), film)
    film.close()
    shown = [seen(tmp_path / "desk" / f"0007-000{part}.mp4") for part in (1, 2, 3)]
    assert [len(each.pictures) for each in shown] == [33, 32, 10]
    assert shown[0].flashes == pytest.approx([0.8], abs=0.001)
    assert shown[1].flashes == pytest.approx([0.68], abs=0.001)
    assert shown[0].beeps == pytest.approx([0.8], abs=1 / FPS)
    assert shown[1].beeps == pytest.approx([0.68], abs=1 / FPS)
    lengths = [
        sum(sound.samples.size for sound in files.sounds(tmp_path / "desk" / f"0007-000{part}.mp4")) / 48000
        for part in (1, 2)
    ]
    assert lengths == pytest.approx([1.32, 1.28], abs=0.05)


def test_a_film_that_begins_midway_has_its_sound_from_there(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "desk", 1, 3600.0, FPS, has_sound=True)
    play(flash_and_beep(tmp_path / "a.mp4"), film, skip_ns=1_200_000_000)
    film.close()
    shown = seen(tmp_path / "desk" / "0001-0001.mp4")
    assert shown.flashes == pytest.approx([0.8], abs=0.001)
    assert shown.beeps == pytest.approx([0.8], abs=1 / FPS)


def test_sound_that_is_missing_is_silence_and_what_follows_is_in_its_place(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "desk", 1, 3600.0, FPS, has_sound=True)
    picture = np.zeros((120, 160, 3), np.uint8)
    beep = np.zeros(24000, np.float32)
    beep[:2400] = 0.5
    for number in range(75):
        film.picture(number * NANO // FPS, picture)
    film.sound(0, np.zeros(24000, np.float32), 48000)
    film.sound(2 * NANO, beep, 48000)  # three hops were lost
    film.close()
    assert seen(tmp_path / "desk" / "0001-0001.mp4").beeps == pytest.approx([2.0], abs=1 / FPS)


def test_a_long_pause_begins_a_new_film(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "desk", 1, 3600.0, FPS, has_sound=False)
    for second in (0, 1, 100, 101):
        film.picture(second * NANO, np.zeros((120, 160, 3), np.uint8))
    film.close()
    names = sorted(path.name for path in (tmp_path / "desk").iterdir())
    assert names == ["0001-0001-2.mp4", "0001-0001.mp4"]
    assert [len(seen_pictures(tmp_path / "desk" / name)) for name in names] == [2, 2]


def seen_pictures(path: Path) -> list[float]:
    return [picture.pts_ns / NANO for picture in files.pictures(path)]


def test_no_film_is_overwritten(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = film_path(tmp_path, 2, 3)
        path.touch()
        names.append(path.name)
    assert names == ["0002-0003.mp4", "0002-0003-2.mp4", "0002-0003-3.mp4"]


def test_kill_leaves_all_but_the_last_second(tmp_path: Path) -> None:
    """A process that films 75 pictures with their sound, says so and never closes; then it is killed with -9."""
    source = flash_and_beep(tmp_path / "a.mp4")
    child = (
        "import sys, time; from pathlib import Path; from tests.workers.film.test_live import play;"
        "from workers.film.live import LiveFilm;"
        f"film = LiveFilm(Path({str(tmp_path / 'desk')!r}), 1, 3600.0, 25, has_sound=True);"
        f"play(Path({str(source)!r}), film); print('filmed', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", child],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"filmed\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    shown = seen(tmp_path / "desk" / "0001-0001.mp4")
    assert shown.pictures[-1] >= 74 / FPS - 1.0
    assert shown.flashes[0] == pytest.approx(0.8, abs=0.001)
    assert shown.beeps[0] == pytest.approx(0.8, abs=1 / FPS)
