"""`bimodal analyze` on the real clips: every frame of every one."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.end_to_end.driving import events_of, run, summary_of

pytestmark = [pytest.mark.shared, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clips(shared: Path) -> list[Path]:
    """All clips."""
    found = sorted(path for path in (shared / "data" / "clips").iterdir() if path.is_file())
    assert len(found) >= 13
    return found


@pytest.fixture(scope="module")
def results(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all clips in one run."""
    out = tmp_path_factory.mktemp("clips")
    code, _, err = run("analyze", *clips, "--out", out)
    assert code == 0, err
    return out


def decoded_frames(path: Path) -> int:
    """How many frames FFmpeg decodes."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_every_frame_of_every_clip_is_there(clips: list[Path], results: Path) -> None:
    for clip in clips:
        events = events_of(results, clip.stem)
        assert [event["seq"] for event in events] == list(range(decoded_frames(clip))), clip.name
        summary = summary_of(results, clip.stem)
        assert (summary["frames"], summary["frames_lost"]) == (len(events), 0), clip.name


def test_a_crowd_is_several_tracks_at_once_and_its_picture_begins_after_its_sound(results: Path) -> None:
    events = events_of(results, "hamilton_crowd")
    assert max(len({face["track"] for face in event["faces"]}) for event in events) >= 3
    assert events[0]["t"] == pytest.approx(0.844, abs=0.02)


def test_no_face_is_no_face(results: Path) -> None:
    assert all(event["faces"] == [] for event in events_of(results, "pyfeat_no_face"))


def test_a_face_that_leaves_is_lost_part_way(results: Path) -> None:
    counts = [len(event["faces"]) for event in events_of(results, "pyfeat_face_noface")]
    assert all(count == 1 for count in counts[:60])
    assert all(count == 0 for count in counts[-15:])


def test_one_speaker_is_one_track(results: Path) -> None:
    for name in ("grid_bbaf2n", "mead_M003_happy", "mead_W015_neutral", "pyfeat_single_face"):
        summary = summary_of(results, name)
        assert (summary["faces"], summary["frames_with_face"]) == (1, summary["frames"]), name


def test_a_plain_smile_is_happy(results: Path) -> None:
    assert summary_of(results, "mead_M003_happy")["dominant"]["video"] == "happy"


def test_sentences_are_heard(results: Path) -> None:
    for name in ("grid_bbaf2n", "mead_M003_happy"):
        assert summary_of(results, name)["dominant"]["speech"] is not None, name
