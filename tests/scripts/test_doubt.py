"""Simulated telephones and clipping are heard as such; pairs are fused by every way."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("onnx")

from bimodal.models.doubt import Doubts, voice_doubts
from bimodal.models.sound_quality import sound_quality
from scripts.doubt import CLEAN, HEARD, RATE, Examples, examples, face_rows, in_words, pair_rows
from tests.models.test_sound_quality import voice


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (CLEAN, None),
        ("telephone", "voice is narrow-band (telephone)"),
        ("clipped by 20 dB", "voice is clipped"),
        ("clipped by 15 dB, then turned down", "voice is clipped"),
        ("white noise at 10 dB", "voice is noisy"),
        ("pink noise at 5 dB", "voice is noisy"),
    ],
)
def test_what_is_simulated_is_said(condition: str, reason: str | None) -> None:
    sound = HEARD[condition](voice(), np.random.default_rng(0))
    reasons = voice_doubts(*sound_quality(sound, RATE, sound, RATE)).reasons
    assert (reason in reasons) if reason else reasons == ()


def made(right: float, groups: int) -> Examples:
    """Examples of all emotions whose answers are right so often and as sure."""
    random = np.random.default_rng(1)
    true = np.repeat(np.arange(7), 40)
    said = np.where(random.random(len(true)) < right, true, random.integers(0, 7, len(true)))
    logits = np.eye(7)[said] * np.log(6 * right / (1 - right))
    doubts = [Doubts(("face is dark",), 1.2, 0.5) if place % 2 else Doubts() for place in range(len(true))]
    return examples(logits, np.ones(len(true)), doubts, true, np.arange(len(true)) % groups)


def test_tables_have_a_row_for_every_condition_and_way() -> None:
    seen = {CLEAN: made(0.8, 1000), "dark": made(0.6, 1000)}
    heard = {(corpus, name): made(0.6, 10) for corpus in ("emodb", "urdu", "ravdess") for name in HEARD}
    assert len(list(face_rows(seen))) == 3
    assert in_words([seen["dark"]]) == "face is dark 0.50"
    ways = {row.split("|")[1].strip(): float(row.split("|")[2].split("±")[0]) for row in pair_rows(seen, heard)}
    assert len(ways) == 7
    assert ways["worth .65/.35"] >= max(ways["face alone"], ways["voice alone"])
