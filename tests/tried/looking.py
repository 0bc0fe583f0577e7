"""What of a recording differs from what a player shows and plays."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import bimodal
from bimodal.workers.capture.choice import Choice
from bimodal.workers.capture.files import probe, sounds
from tests.tried.kinds import Kind

LEAST_FACES = 0.95


def differences(detector: bimodal.Detector, kind: Kind, path: Path) -> list[str]:
    """Look at a file, and say what is wrong: nothing, where everything is as a player has it."""
    found = list(detector.events(path, hops=True, **kind.how))
    events = [event for event in found if isinstance(event, bimodal.Emotion)]
    hops = [event for event in found if isinstance(event, bimodal.Hop)]
    wrong = []
    if len(events) != kind.frames:
        wrong.append(f"{len(events)} events, not {kind.frames}")
    if kind.size is not None and events:
        wrong += _pictures(kind, events)
    voiced = any(hop.voice and hop.voice > 0.5 for hop in hops)
    if voiced != bool(kind.voiced):
        wrong.append("a voice is heard" if voiced else "no voice is heard")
    notes = list(probe(path, Choice(**kind.how)).notes)
    if kind.voiced:
        list(sounds(path, choice=Choice(**kind.how), note=notes.append))
    if kind.notes and not notes and kind.sound.startswith(("AAC, two", "PCM, inv")):
        wrong.append("nothing is said about what was passed over")
    return wrong


def _pictures(kind: Kind, events: list[bimodal.Emotion]) -> list[str]:
    wrong = []
    sizes = {event.size for event in events}
    if sizes != {kind.size}:
        wrong.append(f"shown as {sizes}, not {kind.size}")
    whole = [event for event in events if len(event.faces) == 1]
    if len(whole) < LEAST_FACES * len(events):
        wrong.append(f"one face in {len(whole)} of {len(events)} pictures")
        return wrong
    width, height = kind.size or (0, 0)
    for event in whole:
        x, y, wide, high = event.faces[0].box
        # The scene's face: upright and in the middle, whatever the detector takes for its box.
        upright = 0.2 < high / height < 0.7 and 0.6 < wide / high < 1.25
        if not upright or abs((x + wide / 2) / width - 0.5) > 0.1 or not 0.3 < (y + high / 2) / height < 0.75:
            wrong.append(f"the face is at {event.faces[0].box} of {kind.size}")
            break
    if len({event.faces[0].track for event in whole}) != 1:
        wrong.append("more than one track")
    if kind.seconds is not None and events[-1].t - events[0].t != pytest.approx(kind.seconds, abs=0.045):
        wrong.append(f"{events[-1].t - events[0].t:.2f} s from first to last picture, not {kind.seconds:.2f}")
    steps = [after.t - before.t for before, after in itertools.pairwise(events)]
    if kind.time != "variable" and steps and min(steps) < 0.25 * max(steps):
        wrong.append(f"steps of {min(steps):.3f} to {max(steps):.3f} s")
    return wrong
