"""Two readings of one clip side by side, and what may be looked at again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Verdict
from bimodal.commands.diff import ClipDiff, _draw, config_with, footage_of, parse_changes
from bimodal.config import Config
from bimodal.models.emotions import EMOTIONS
from bimodal.recordings.compare import UNKNOWN, compare, decision
from bimodal.recordings.reading import Clip, Part, clips
from bimodal.recordings.recording import RecordError
from bimodal.recordings.records import SourceRecord, stream_record
from bimodal.recordings.tables import event_line
from tests.recordings.events import event, opened

FRAME_S = 0.04
labels = st.sampled_from([*EMOTIONS, None])


def reading(said: list[str | None], first: int = 0) -> list[Emotion]:
    return [
        event(seq, verdict=Verdict(label=label, confidence=0.6 if label else None, because=None if label else "x"))
        for seq, label in enumerate(said, first)
    ]


def test_stretches_are_named_from_to_was_is() -> None:
    was = reading(["happy"] * 5 + ["sad"] * 5)
    now = reading(["happy"] * 3 + ["sad"] * 4 + [None] * 3)
    found = compare(was, now, FRAME_S)
    assert found.agreeing == 0.5
    assert [(s.begin, s.end, s.frames, s.was, s.now) for s in found.stretches] == [
        (0.12, 0.2, 2, "happy", "sad"),
        (0.28, 0.4, 3, "sad", UNKNOWN),
    ]
    assert found.confusion == {"happy": {"happy": 3, "sad": 2}, "sad": {"unknown": 3, "sad": 2}}
    assert found.now.share == {"happy": 0.3, "sad": 0.4, UNKNOWN: 0.3}


@given(st.lists(st.tuples(labels, labels), max_size=60))
def test_every_frame_is_counted_once(pairs: list[tuple[str | None, str | None]]) -> None:
    was, now = reading([pair[0] for pair in pairs]), reading([pair[1] for pair in pairs])
    found = compare(was, now, FRAME_S)
    assert sum(count for counts in found.confusion.values() for count in counts.values()) == found.frames == len(pairs)
    differing = sum(decision(a) != decision(b) for a, b in zip(was, now, strict=True))
    assert sum(stretch.frames for stretch in found.stretches) == differing
    assert found.agreeing == pytest.approx(1 - differing / len(pairs) if pairs else 1.0, abs=1e-4)
    assert compare(was, was, FRAME_S).stretches == []
    assert all(stretch.begin < stretch.end and stretch.was != stretch.now for stretch in found.stretches)


def test_frames_that_only_one_has_are_told() -> None:
    found = compare(reading(["happy"] * 10), reading(["happy"] * 6, first=4), FRAME_S)
    assert (found.frames, found.unmatched) == (6, 4)


def test_a_film_is_joined_by_time() -> None:
    was = [msgspec.structs.replace(one, t=one.t + 60.0) for one in reading(["happy"] * 10)]
    kept = [one for one in was if one.seq % 3]
    now = [msgspec.structs.replace(one, seq=seq, t=one.t - kept[0].t) for seq, one in enumerate(kept)]
    found = compare(kept, now, FRAME_S, by_time=kept[0].t)
    assert (found.frames, found.unmatched, found.agreeing) == (len(kept), 0, 1.0)


def test_nothing_in_common_is_not_full_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(reading([]), reading(["happy"] * 3), FRAME_S)
    _draw(ClipDiff(clip="clip", media="clip.mp4", notes=[], comparison=found))
    assert capsys.readouterr().out.startswith("clip: no frame is in both results\n3 frames are in one of them only\n")


def clip_of(source: SourceRecord | None) -> Clip:
    record = stream_record(opened(), source) if source is not None else None
    return Clip(name="clip", folder=Path(), parts=(Part(Path("clip.jsonl"), 1),), stream=record)


def test_only_the_source_as_it_was_is_looked_at_again(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"as it was")
    source = SourceRecord(name="film.mp4", file=str(film), bytes=9, sha256=hashlib.sha256(b"as it was").hexdigest())
    (footage,) = footage_of(clip_of(source))
    assert (footage.media, footage.begin_s) == (film, None)
    film.write_bytes(b"as it is!")
    with pytest.raises(RecordError, match="was changed since"):
        footage_of(clip_of(source))
    film.unlink()
    with pytest.raises(RecordError, match="is not there any more"):
        footage_of(clip_of(source))
    with pytest.raises(RecordError, match=r"nothing says what clip was made from: there is no clip\.session\.json"):
        footage_of(clip_of(None))
    (tmp_path / "clip.jsonl").write_bytes(event_line(event(0)))
    (tmp_path / "clip.session.json").write_text('{"session": 3}')
    (damaged,) = clips(tmp_path / "clip.jsonl")
    with pytest.raises(RecordError, match=r"made from: .*/clip\.session\.json can't be read"):
        footage_of(damaged)
    (tmp_path / "clip.session.json").unlink()
    assert clips(tmp_path)[0].damaged is None


def test_models_are_named_by_kind() -> None:
    assert parse_changes(["face-static=a", "face-static=b", "speech=none"]) == {
        "face-static": ["a", "b"],
        "speech": ["none"],
    }
    changed = config_with(clip_of(None), Config(), parse_changes(["face-static=a", "speech=none"]))
    assert (changed.models.face_static, changed.models.speech) == (("a",), ("none",))
    for wrong, sentence in (("face-static", "is not KIND=NAME"), ("face-statik=a", "did you mean 'face-static'")):
        with pytest.raises(RecordError, match=sentence):
            parse_changes([wrong])
