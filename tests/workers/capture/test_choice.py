"""Of several tracks and channels the one that a player takes, or the one that was chosen."""

from __future__ import annotations

from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from av.stream import Disposition

from bimodal.workers.capture.choice import DEFAULT, Choice, channel_names
from bimodal.workers.capture.files import pictures, probe, sounds
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.errors import SourceError
from tests import media as made

RATE = 48000


def several(path: Path, *, default: int, languages: tuple[str, ...] = ("", "")) -> Path:
    """Two video and two sound tracks; video n shows n, sound n is a tone of 300 · (n + 1) Hz."""
    with av.open(str(path), "w") as container:
        videos, audios = [], []
        for _ in range(2):
            video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
            video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
            videos.append(video)
        for number in range(2):
            audio = container.add_stream("aac", rate=RATE, layout="mono")
            if languages[number]:
                audio.metadata["language"] = languages[number]
            audios.append(audio)
        for streams in (videos, audios):
            for number, stream in enumerate(streams):
                stream.disposition = Disposition.default if number == default else Disposition(0)
        for number, video in enumerate(videos):
            for _ in range(10):
                frame = av.VideoFrame.from_ndarray(made.numbered(number), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for number, audio in enumerate(audios):
            made._write_sound(container, audio, made.tone(0.4, hertz=300.0 * (number + 1))[None], RATE, 0.0)
    return path


def seen(path: Path, choice: Choice = DEFAULT) -> int:
    return made.read_number(next(pictures(path, choice=choice)).pixels)


def heard(path: Path, choice: Choice = DEFAULT) -> int:
    samples = np.concatenate([sound.samples for sound in sounds(path, choice=choice)])[4000:12000]
    return round(int(np.argmax(np.abs(np.fft.rfft(samples)))) * RATE / samples.size / 300) - 1


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("default", [0, 1])
def test_the_default_track_is_taken_and_the_other_is_told(tmp_path: Path, ending: str, default: int) -> None:
    clip = several(tmp_path / f"clip.{ending}", default=default)
    assert (seen(clip), heard(clip)) == (default, default)
    notes = " ".join(probe(clip).notes)
    assert f"of 2 video tracks, number {default + 1}, its default, was looked at; --video-track" in notes
    assert f"of 2 sound tracks, number {default + 1}, its default, was listened to; --audio-track" in notes


def test_a_language_is_named(tmp_path: Path) -> None:
    clip = several(tmp_path / "clip.mkv", default=1, languages=("eng", "pol"))
    assert "number 2 (pol), its default," in " ".join(probe(clip).notes)


@pytest.mark.parametrize("number", [1, 2])
def test_a_chosen_track_is_taken_and_nothing_is_told(tmp_path: Path, number: int) -> None:
    clip = several(tmp_path / "clip.mkv", default=2 - number)
    choice = Choice(video_track=number, audio_track=number)
    assert (seen(clip, choice), heard(clip, choice)) == (number - 1, number - 1)
    assert probe(clip, choice).notes == ()


def test_one_track_of_each_is_nothing_to_tell(tmp_path: Path) -> None:
    assert probe(made.numbered_clip(tmp_path / "clip.mp4", 5, sound=made.tone(0.2))).notes == ()


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (Choice(video_track=2), r"clip\.mp4: there is no video track 2: it has 1 video track$"),
        (Choice(audio_track=3), r"clip\.mp4: there is no sound track 3: it has 1 sound track$"),
        (Choice(channel="right"), r"clip\.mp4: there is no channel right: its sound has 1 channel$"),
        (Choice(channel=4), r"clip\.mp4: there is no channel 4: its sound has 1 channel$"),
    ],
)
def test_what_does_not_exist_gets_a_sentence(tmp_path: Path, choice: Choice, sentence: str) -> None:
    clip = made.numbered_clip(tmp_path / "clip.mp4", 5, sound=made.tone(0.2))
    with pytest.raises(SourceError, match=sentence):
        probe(clip, choice)


# Channels


def stereo(path: Path, left: np.ndarray, right: np.ndarray) -> Path:
    return made.write_clip(path, sound=np.stack([left, right]), rate=RATE, sound_codec="pcm_f32le")


def test_channels_are_taken_by_name_and_by_number(tmp_path: Path) -> None:
    left, right = made.noise(0.5, seed=1), made.noise(0.5, seed=2)
    clip = stereo(tmp_path / "clip.wav", left, right)
    for channel, wanted in (("left", left), (1, left), ("right", right), (2, right)):
        found = np.concatenate([sound.samples for sound in sounds(clip, choice=Choice(channel=channel))])
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_each_channel_is_a_voice_of_its_own(tmp_path: Path) -> None:
    left, right = made.noise(0.5, seed=1), made.noise(0.5, seed=2)
    clip = stereo(tmp_path / "clip.wav", left, right)
    each = Choice(channel="each")
    for channel, wanted in enumerate((left, right)):
        found = [sound.samples for sound in sounds(clip, choice=each) if sound.channel == channel]
        np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-6)
    assert probe(clip, each).channels == ("left", "right")
    assert channel_names("each", 4) == ("1", "2", "3", "4")
    assert channel_names("each", 1) == channel_names("mix", 2) == ()


@pytest.mark.parametrize("level", [1.0, 0.4])
def test_inverted_stereo_is_not_silence(tmp_path: Path, level: float) -> None:
    voice, rate = made.speech(3.0)
    clip = made.write_clip(
        tmp_path / "clip.wav", sound=np.stack([voice, -level * voice]), rate=rate, sound_codec="pcm_f32le"
    )
    notes: list[str] = []
    found = np.concatenate([sound.samples for sound in sounds(clip, note=notes.append)])
    np.testing.assert_allclose(found, voice * (1 + level) / 2, atol=1e-5)
    assert len(notes) == 1
    assert "inverse" in notes[0]


def test_stereo_that_is_not_inverted_stays_its_mean(tmp_path: Path) -> None:
    left, right = made.noise(2.0, seed=1), made.noise(2.0, seed=2)
    for other in (right, 0.5 * left, 0.5 * (right - left)):
        notes: list[str] = []
        clip = stereo(tmp_path / "clip.wav", left, other)
        found = np.concatenate([sound.samples for sound in sounds(clip, note=notes.append)])
        np.testing.assert_allclose(found, (left + other) / 2, atol=1e-5)
        assert not notes


def test_keys_of_a_stream() -> None:
    settings = msgspec.convert({"file": "a.mkv", "audio_track": 2, "channel": "each"}, StreamSettings)
    assert settings.choice == Choice(audio_track=2, channel="each")
    for wrong in (
        {"camera": 0, "channel": "left"},
        {"auto": True, "video_track": 1},
        {"url": "rtsp://h/", "channel": "each"},
        {"file": "a", "channel": "middle"},
        {"file": "a", "video_track": 0},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, StreamSettings)
