"""Composed scenes, and the figures of tracks on them."""

from __future__ import annotations

import numpy as np
import pytest

from bimodal.training.evaluate.tracks import HEIGHT, SCENES, WIDTH, compose, lines_of, measure

CROSSING = next(scene for scene in SCENES if scene.name == "two people cross")
CUTS = next(scene for scene in SCENES if scene.name == "two people, shot and reverse shot")
HEADS = [np.full((60, 60, 3), 60 + 70 * person, np.uint8) for person in range(3)]


def told(truths: list[dict[int, tuple[float, ...]]], number: object) -> list[dict[str, object]]:
    """Events that find everybody, under the number that `number` gives a person in a frame; None: not found."""
    return [
        {
            "faces": [
                {"track": track, "box": box}
                for person, box in truth.items()
                if (track := number(person, frame)) is not None  # type: ignore[operator]
            ]
        }
        for frame, truth in enumerate(truths)
    ]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_scene_shows_its_people(scene: object) -> None:
    pictures, truths = compose(scene, HEADS)  # type: ignore[arg-type]
    assert len(pictures) == len(truths) > 4
    assert {picture.shape for picture in pictures} == {(HEIGHT, WIDTH, 3)}
    assert len({person for truth in truths for person in truth}) == scene.people  # type: ignore[attr-defined]
    perfect = measure(scene, truths, told(truths, lambda person, _: person + 1))  # type: ignore[arg-type]
    assert (perfect.switches, perfect.fragments, perfect.missed, perfect.idf1) == (0, 0, 0.0, 1.0)


def test_exchanged_numbers_are_switches() -> None:
    _, truths = compose(CROSSING, HEADS)
    found = measure(CROSSING, truths, told(truths, lambda person, frame: person if frame < 50 else 1 - person))
    assert (found.tracks, found.switches, found.fragments) == (2, 2, 0)
    assert found.idf1 < 0.7


def test_a_person_who_is_lost_and_found_is_a_fragment() -> None:
    _, truths = compose(CROSSING, HEADS)
    found = measure(CROSSING, truths, told(truths, lambda p, frame: None if p == 0 and 5 <= frame < 9 else p))
    assert (found.tracks, found.switches, found.fragments) == (2, 0, 1)
    assert 0 < found.missed < 0.05


def test_a_new_number_after_a_cut_is_no_switch() -> None:
    _, truths = compose(CUTS, HEADS)
    shots = [int(frame / 25 / 1.5) for frame in range(len(truths))]
    found = measure(CUTS, truths, told(truths, lambda _, frame: shots[frame]))
    assert (found.people, found.tracks, found.switches, found.fragments) == (2, 4, 0, 0)
    assert found.idf1 == pytest.approx(0.5)
    assert "shot and reverse shot" in lines_of([found])[1]
