"""How answers for compressed frames are compared with those for the frames as they are."""

from __future__ import annotations

from bimodal.api.detector import Face
from scripts.measure.pixels import Difference, Share, place_of


def face(x: float, label: str, share: float) -> Face:
    return Face(
        box=(x, 0.0, 100.0, 100.0),
        score=1.0,
        presence=1.0,
        label=label,
        confidence=share,
        probabilities={label: share, "neutral": 1 - share},
        sharpness=1.0,
        mouth=None,
        embedding=None,
        measures=None,  # type: ignore[arg-type]
    )


def test_faces_are_matched_by_their_boxes_and_all_others_are_lost_or_added() -> None:
    found = Difference()
    found.add([face(0, "happy", 0.8), face(500, "sad", 0.6)], [face(5, "happy", 0.7), face(900, "fear", 0.9)])
    assert (found.frames, found.faces, found.lost, found.added, found.other_label) == (1, 2, 1, 1, 0)
    assert len(found.changes) == 1
    assert abs(found.changes[0] - 0.1) < 1e-9
    found.add([face(0, "happy", 0.8)], [face(0, "fear", 0.8)])
    assert found.other_label == 1
    found.bytes, found.raw_bytes = 100, 1000
    assert "10.0 ×" in found.row("jpeg 90")


def test_the_place_of_a_face_is_twice_as_large_and_ends_with_the_frame() -> None:
    assert place_of((100.0, 100.0, 40.0, 50.0), (400, 600, 3)) == (slice(75, 175), slice(70, 170))
    assert place_of((0.0, 380.0, 40.0, 40.0), (400, 600, 3)) == (slice(360, 400), slice(0, 60))
    share = Share(name="a", shape=(400, 600, 3), frames=2, faces=2, whole=250_000, parts=25_000)
    assert share.row() == "| a | 600×400 | 1.0 | 125.0 kB | 12.5 kB | 10.0 × | 100 | 1000 |"
