"""What differs between two analyses of a clip is counted frame by frame."""

from __future__ import annotations

import msgspec

from bimodal.broker.events import Emotion, Verdict
from scripts.measure.quick import difference
from tests.recordings.events import event, face


def test_other_labels_and_other_numbers_of_faces_are_counted() -> None:
    verdict = Verdict(label="happy", confidence=0.8)
    one = event(0, faces=[face()], verdict=verdict)
    first = one.faces[0]
    turned = {name: 1.0 - value for name, value in (first.static or {}).items()}
    other = msgspec.structs.replace(first, label="sad", static=turned)
    events: list[Emotion] = [one, one, one]
    sad = msgspec.structs.replace(verdict, label="sad")
    changed = [
        one,
        msgspec.structs.replace(one, faces=()),
        msgspec.structs.replace(one, faces=(other, *one.faces[1:]), emotion=sad),
    ]
    found = difference(events, changed)
    assert (found.frames, found.labels, found.faces) == (3, 1, 1)
    assert (found.face_labels, found.seen) == (1, 2 * len(one.faces))
    assert difference(events, events).apart == 0.0
