"""Annotated copies of files: as many pictures, at the same times, with the sound where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from bimodal.drawing.style import Style
from bimodal.recordings.tables import event_line
from bimodal.supervisor.annotation import annotate_file
from bimodal.workers.capture import files
from bimodal.workers.errors import SourceError
from bimodal.workers.film.annotate import annotate
from bimodal.workers.film.writer import FilmError
from tests.drawing.making import event, face
from tests.media import write_clip
from tests.workers.film.clips import DARK, FPS, events_for, flash_and_beep, seen

VARIABLE = [0, 40, 81, 119, 200, 300, 310, 350, 400, 555, *range(600, 2580, 33)]


def ignore(_pictures: int) -> None:
    """Progress that nobody shows."""


def film_of(source: Path, count: int, style: Style | None = None) -> Path:
    film = source.with_name(f"{source.name}.film.mp4")
    events = events_for(source.with_name(f"{source.name}.jsonl"), count)
    counts: list[int] = []
    pictures = annotate(source, events, film, style=style or Style(), on_progress=counts.append)
    assert counts == list(range(1, pictures + 1))
    return film


@pytest.mark.parametrize(
    ("name", "how", "codec"),
    [
        ("plain.mp4", {}, "aac"),
        ("variable.mp4", {"times_ms": VARIABLE}, "aac"),
        ("reordered.mp4", {"options": {"bf": "3"}}, "aac"),
        ("late.mp4", {"picture_begins_s": 0.84, "sound_begins_s": 0.84}, "aac"),
        ("mp3.mkv", {"sound_codec": "libmp3lame", "rate": 44100}, "mp3float"),
        ("pcm.mkv", {"sound_codec": "pcm_s16le", "rate": 16000}, "aac"),
        ("opus.mkv", {"sound_codec": "libopus"}, "aac"),
        ("flac.mkv", {"sound_codec": "flac", "rate": 96000}, "aac"),
        ("transport.ts", {}, "aac"),
    ],
)
def test_flash_and_beep_stay_together(tmp_path: Path, name: str, how: dict[str, Any], codec: str) -> None:
    source = flash_and_beep(tmp_path / name, **how)
    before = seen(source)
    after = seen(film_of(source, len(before.pictures)))
    assert len(before.flashes) == len(before.beeps) == 2
    assert after.pictures == pytest.approx(before.pictures, abs=0.001)
    assert after.flashes == pytest.approx(before.flashes, abs=0.001)
    assert after.beeps == pytest.approx(after.flashes, abs=1 / FPS)
    with av.open(str(source.with_name(f"{name}.film.mp4"))) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == codec


def test_sound_that_fits_is_copied_bit_for_bit(tmp_path: Path) -> None:
    source = flash_and_beep(tmp_path / "a.mp4")
    film = film_of(source, 75)

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert packets(film) == packets(source)


def test_upright_at_its_own_size_with_boxes_scaled_to_it(tmp_path: Path) -> None:
    """A phone's clip lies on its side; its events say that boxes are in a picture 60 pixels high, the film is 160."""
    source = flash_and_beep(tmp_path / "phone.mp4", rotation=90, count=6)
    events = tmp_path / "events.jsonl"
    box = (10, 20, 20, 20)
    lines = [event_line(event([face(1, box)], seq=number, size=(45, 60))) for number in range(6)]
    events.write_bytes(b"".join(lines))
    film = tmp_path / "film.mp4"
    annotate(source, events, film, style=Style(bars=False), on_progress=ignore)
    shown = [picture.pixels.astype(int) for picture in files.pictures(film)]
    assert shown[0].shape == (160, 120, 3)
    scale = 160 / 60
    row = shown[3][round(30 * scale)]
    purple = np.flatnonzero(row[:, 2] > DARK + 40)
    assert purple.min() == pytest.approx(10 * scale, abs=4)
    assert purple.max() == pytest.approx(30 * scale, abs=4)


def test_every_picture_shows_its_own_event(tmp_path: Path) -> None:
    """Events say at which frames there is a face: exactly those pictures have a box."""
    source = write_clip(tmp_path / "a.mp4", [np.full((240, 320, 3), DARK, np.uint8)] * 30)
    with_face = {3, 4, 11, 29}
    lines = [event([face(1, (100, 80, 100, 80))] if n in with_face else [], seq=n) for n in range(30)]
    (tmp_path / "e.jsonl").write_bytes(b"".join(map(event_line, lines)))
    annotate(
        source,
        tmp_path / "e.jsonl",
        tmp_path / "f.mp4",
        style=Style(bars=False),
        on_progress=ignore,
    )
    boxed = {
        number
        for number, picture in enumerate(files.pictures(tmp_path / "f.mp4"))
        if picture.pixels[115:125, 95:205].max() > 120
    }
    assert boxed == with_face


@pytest.mark.parametrize("size", [(161, 121), (160, 121), (2, 2), (3, 1)])
def test_odd_sizes_keep_every_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = [np.full((size[1], size[0], 3), DARK, np.uint8)] * 5
    source = write_clip(tmp_path / "a.mkv", pictures, codec="ffv1", pixel_format="bgr0")
    with av.open(str(film_of(source, 5))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == tuple(side + side % 2 for side in size)


def test_a_file_without_sound_gives_a_film_without(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [np.full((120, 160, 3), DARK, np.uint8)] * 5)
    with av.open(str(film_of(source, 5))) as container:
        assert not container.streams.audio


def test_a_voice_gets_a_plain_picture_for_each_event(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.wav", sound=np.zeros(48000, np.float32), sound_codec="pcm_s16le")
    shown = seen(film_of(source, 2))
    assert len(shown.pictures) == 2
    assert shown.size == (640, 360)


def test_hidden_faces_are_hidden_in_the_film(tmp_path: Path) -> None:
    shown = seen(film_of(flash_and_beep(tmp_path / "a.mp4"), 75, style=Style(faces="hide")))
    assert shown.flashes == []
    assert len(shown.beeps) == 2


def test_what_fails_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    source = flash_and_beep(tmp_path / "a.mp4", count=60)
    events = events_for(tmp_path / "a.jsonl", 60)
    (tmp_path / "file").touch()
    with pytest.raises(FilmError, match=r"film\.mp4 can't be written"):
        annotate(source, events, tmp_path / "file" / "film.mp4", style=Style(), on_progress=ignore)
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(SourceError, match="not a media file"):
        annotate(tmp_path / "text.mp4", events, tmp_path / "b.mp4", style=Style(), on_progress=ignore)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "a.jsonl", "file", "text.mp4"}


def test_the_process_of_its_own_says_how_far_it_is_and_what_went_wrong(tmp_path: Path) -> None:
    source = flash_and_beep(tmp_path / "a.mp4")
    events_for(tmp_path / "a.jsonl", 75)
    counts: list[int] = []

    def made(of: Path) -> str | None:
        return annotate_file(of, tmp_path, "a", style=Style(), log_file=None, on_progress=counts.append)

    assert made(source) is None
    assert counts[-1] == 75
    (tmp_path / "a.annotated.mp4").unlink()
    because = made(tmp_path / "nowhere.mp4")
    assert because == f"a.annotated.mp4 was not made: there is no file {tmp_path / 'nowhere.mp4'}"
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "a.jsonl"}
