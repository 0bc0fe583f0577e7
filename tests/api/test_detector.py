"""`bimodal.Detector`: the workers' own code in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

import bimodal
from bimodal.broker.messages import Assignment, FaceResult
from bimodal.recordings.reading import clips as read_clips
from bimodal.workers.demo import DEMO
from bimodal.workers.face import actor as face
from bimodal.workers.face.pipeline import FacePipeline
from tests.media import scene, speech, write_clip


@pytest.fixture(scope="module")
def detector() -> Iterator[bimodal.Detector]:
    with bimodal.Detector() as opened:
        yield opened


def comparable(event: bimodal.Emotion) -> bimodal.Emotion:
    """An event without its latency, the one field that depends on the machine."""
    return msgspec.structs.replace(event, latency_ms=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["talking", "two faces", "in and out", "nobody", "voice", "late"])
def test_its_events_equal_those_of_analyze(
    detector: bimodal.Detector, clips: dict[str, Path], analysed: Path, name: str
) -> None:
    (clip,) = read_clips(analysed / f"{name}.jsonl")
    wanted = [event for event, _ in clip.events()]
    assert wanted
    assert [comparable(event) for event in detector.events(clips[name])] == [comparable(event) for event in wanted]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mead_M003_happy.mp4", "grid_bbaf2n.mpg", "pyfeat_face_noface.mov"])
def test_its_events_equal_those_of_analyze_on_real_clips(detector: bimodal.Detector, shared: Path, name: str) -> None:
    clip = shared / "data" / "clips" / name
    wanted = bimodal.analyze(clip)
    assert [comparable(event) for event in detector.events(clip)] == [comparable(event) for event in wanted.events]


def test_with_other_settings_too(clips: dict[str, Path]) -> None:
    config = {
        "fusion": {"smoothing_s": 0.0, "strategy": "product"},
        "models": {"face-static": "face-compact", "face-dynamic": "face-dynamic-compact"},
    }
    wanted = bimodal.analyze(clips["talking"], config=config)
    assert any(face.dynamic is not None for event in wanted.events for face in event.faces)
    with bimodal.Detector(config) as detector:
        found = list(detector.events(clips["talking"]))
    assert [comparable(event) for event in found] == [comparable(event) for event in wanted.events]


def test_events_are_the_same_with_several_workers(detector: bimodal.Detector, clips: dict[str, Path]) -> None:
    with bimodal.Detector(workers=3) as several:
        for name in ("talking", "voice", "two faces"):
            wanted = [comparable(event) for event in detector.events(clips[name])]
            assert [comparable(event) for event in several.events(clips[name])] == wanted


def test_pictures_and_samples_are_a_clip_as_well(detector: bimodal.Detector) -> None:
    pictures = np.stack([scene(1, n / 25) for n in range(10)])
    sound, rate = speech(1.0)
    events = list(detector.events(pictures, fps=25, sound=sound, rate=rate, name="mine"))
    assert [event.seq for event in events] == list(range(10))
    assert [event.t for event in events] == pytest.approx([n / 25 for n in range(10)])
    assert {event.stream for event in events} == {"mine"}
    assert all(len(event.faces) == 1 for event in events)
    stereo = np.stack([sound, sound], axis=1)
    alone = list(detector.events(stereo, rate=rate))
    assert len(alone) == 2, "one a hop"
    assert all(event.faces == () for event in alone)


def test_the_faces_of_a_picture(detector: bimodal.Detector) -> None:
    (face,) = detector.faces(scene(1))
    x, y, width, height = face.box
    assert 0 <= x < x + width <= 640
    assert 0 <= y < y + height <= 360
    assert face.label == max(face.probabilities, key=lambda emotion: face.probabilities[emotion])
    assert face.confidence == face.probabilities[face.label]
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert face.embedding is not None
    assert face.embedding.dtype == np.float32
    assert detector.faces(scene(0)) == []


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """The shipped portrait on a wider ground."""
    picture = cv2.cvtColor(cv2.imread(str(DEMO.parent / "portrait.jpg")), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.copyMakeBorder(picture, 120, 120, 160, 160, cv2.BORDER_REPLICATE), np.uint8)


def covered(picture: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """The picture with a mask, with shade and folds, over the lower half of a face."""
    x, y, width, height = (round(value) for value in box)
    masked = picture.copy()
    part = masked[y + round(0.56 * height) : y + round(1.05 * height), x : x + width]
    shade = 20 * np.linspace(-1, 1, width)[None, :, None] ** 2
    folds = 190 + 8 * np.sin(np.arange(len(part)) / 7)[:, None, None] - shade
    part[:] = np.broadcast_to(folds, part.shape)
    return masked


def test_a_face_that_can_be_seen_badly_says_why(detector: bimodal.Detector, portrait: NDArray[np.uint8]) -> None:
    (clear,) = detector.faces(portrait)
    assert clear.doubts == ()
    assert clear.sharpness > 0.6
    (dark,) = detector.faces((portrait * 0.1).astype(np.uint8))
    assert dark.doubts == ("face is dark",)
    scale = clear.box[2] / 6
    (blurred,) = detector.faces(np.asarray(cv2.blur(portrait, (round(scale), 1)), np.uint8))
    assert blurred.doubts == ("face is blurred",)
    assert blurred.sharpness < clear.sharpness
    small = cv2.resize(portrait, None, fx=27 / clear.box[3], fy=27 / clear.box[3], interpolation=cv2.INTER_AREA)
    (tiny,) = detector.faces(np.asarray(small, np.uint8))
    assert tiny.doubts == ("face is small",)
    (masked,) = detector.faces(covered(portrait, clear.box))
    assert "mouth is covered" in masked.doubts
    assert masked.mouth_seen is not None
    assert clear.mouth_seen is not None
    assert masked.mouth_seen < 0.6 < clear.mouth_seen


def test_a_voice_that_can_be_heard_badly_says_why(detector: bimodal.Detector) -> None:
    sound, rate = speech(3.0)
    clear = detector.voice(sound, rate)
    assert clear.doubts == ()
    phone = detector.voice(soxr.resample(sound, rate, 8_000), 8_000)
    assert "voice is narrow-band (telephone)" in phone.doubts
    assert phone.bandwidth_hz is not None
    assert phone.bandwidth_hz <= 4_000
    loud = detector.voice(np.clip(sound / np.abs(sound).max() * 8, -1, 1).astype(np.float32), rate)
    assert "voice is clipped" in loud.doubts
    level = float(np.sqrt(np.mean(sound**2)))
    noise = np.random.default_rng(0).standard_normal(len(sound)) * level * 0.6
    noisy = detector.voice((sound + noise).astype(np.float32), rate)
    assert "voice is noisy" in noisy.doubts


def test_the_voice_of_a_stretch_of_sound(detector: bimodal.Detector) -> None:
    sound, rate = speech(3.0)
    voice = detector.voice(sound, rate)
    assert voice.label is not None
    assert voice.probabilities is not None
    assert voice.confidence == voice.probabilities[voice.label]
    assert voice.voice > 0.5
    quiet = detector.voice(np.zeros(16_000, np.float32), 16_000)
    assert (quiet.label, quiet.probabilities, quiet.because) == (None, None, "too quiet")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda d: d.faces(np.zeros((4, 4), np.uint8)), r"a picture is uint8 \[H, W, 3\] RGB, not uint8 \[4, 4\]"),
        (lambda d: d.faces(np.zeros((4, 4, 3), np.float32)), "not float32"),
        (lambda d: d.voice(np.zeros(100, np.int16), 16_000), "samples are float32"),
        (lambda d: d.voice(np.zeros(100, np.float32), 0), "need rate="),
        (lambda d: d.voice(np.full(100, np.nan, np.float32), 16_000), "some are not finite"),
        (lambda d: d.voice(np.full(100, -9000.0), 16_000), "some reach 9000: divide int16 by 32768"),
        (lambda d: d.events(np.zeros((2, 8, 8, 3), np.uint8)), "need fps="),
        (lambda d: d.events("none.mp4"), "there is no file none.mp4"),
        (lambda d: d.events("none.mp4", fps=25), "go with arrays"),
    ],
)
def test_what_is_no_source_is_named(detector: bimodal.Detector, call: object, sentence: str) -> None:
    with pytest.raises(bimodal.errors.SourceError, match=sentence):
        call(detector)  # type: ignore[operator]


def test_a_config_without_a_speech_model_has_no_voice(clips: dict[str, Path]) -> None:
    with bimodal.Detector({"models": {"speech": "none"}}) as detector:
        assert "speech" not in detector.models
        assert all(event.speech is None for event in detector.events(clips["talking"]))
        with pytest.raises(bimodal.errors.ConfigError, match=r"'models\.speech' is none"):
            detector.voice(np.zeros(100, np.float32), 16_000)


def test_a_frame_that_fails_costs_its_own_event(
    detector: bimodal.Detector, clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = face.face_result

    def broken(pipeline: FacePipeline, names: dict[str, str], assignment: Assignment, *rest: Any) -> FaceResult:
        if assignment.job.seq == 3:
            raise ZeroDivisionError
        return answered(pipeline, names, assignment, *rest)

    monkeypatch.setattr(face, "face_result", broken)
    events = list(detector.events(clips["two faces"]))
    assert [event.seq for event in events if event.failed] == [3]
    assert events[3].failed == "ZeroDivisionError in the face worker"


def test_boxes_of_high_pictures_are_in_their_own_pixels(detector: bimodal.Detector, tmp_path: Path) -> None:
    small, large = (write_clip(tmp_path / f"{n}.mp4", [scene(1, 0.0, 640 * n, 360 * n)] * 2) for n in (1, 3))
    (expected, _), (found, _) = (list(detector.events(clip)) for clip in (small, large))
    assert (expected.size, found.size) == ((640, 360), (1920, 1080))
    assert np.array(found.faces[0].box) == pytest.approx(3 * np.array(expected.faces[0].box), abs=15)
