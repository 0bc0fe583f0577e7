"""Pairs of a face and a voice: fused as live, several models as one, and their table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS, SEVEN
from bimodal.models.session import open_artifact
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import Joined
from bimodal.training.fusion.evaluate import STRATEGIES
from bimodal.training.fusion.pairs import Experts, Pairs, read_pairs, recorded_pairs, write_pairs
from bimodal.workers.fusion import combine
from tests.artifacts import make_face_static, make_speech
from tests.training.trees import write_films

WEIGHTS = {"video": 0.65, "speech": 0.35}


def fused_live(strategy: str, pairs: Pairs, place: int) -> list[float]:
    """One pair, as fusion fuses it."""
    sides = {"video": pairs.video[place], "speech": pairs.speech[place]}
    soft = combine.softened if strategy == "worth" else float
    weights = combine.shares(WEIGHTS, {side: soft(float(row[-1])) for side, row in sides.items()})
    opinions = [
        combine.Opinion(
            side,
            {name: float(value) for name, value, known in zip(EMOTIONS, row, knowing, strict=False) if known},
            weights[side],
            float(row[-1]),
        )
        for (side, row), knowing in zip(sides.items(), pairs.knowing, strict=True)
    ]
    found = combine.STRATEGIES[strategy](opinions)
    return [found.get(name, 0.0) for name in EMOTIONS]


def opinions(known: NDArray[np.bool_], worth: list[float], random: np.random.Generator) -> NDArray[np.float32]:
    rows = random.dirichlet(np.full(7, 0.7), len(worth)) * known
    return np.hstack([rows / rows.sum(axis=1, keepdims=True), np.array(worth)[:, None]]).astype(np.float32)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    seed=st.integers(0, 1000),
    known=st.tuples(*[st.lists(st.booleans(), min_size=7, max_size=7).filter(any)] * 2) | st.none(),
    worth=st.lists(st.tuples(*[st.just(0.0) | st.floats(0.05, 1)] * 2), min_size=1, max_size=4),
)
def test_pairs_are_fused_as_live(
    strategy: str, seed: int, known: tuple[list[bool], list[bool]] | None, worth: list[tuple[float, float]]
) -> None:
    random = np.random.default_rng(seed)
    knowing = np.ones((2, 7), np.bool_) if known is None else np.array(known)
    video, speech = (opinions(knowing[side], [pair[side] for pair in worth], random) for side in range(2))
    pairs = Pairs(video, speech, np.zeros(len(worth), np.int64), None if known is None else knowing)
    found = STRATEGIES[strategy](pairs, *WEIGHTS.values())
    for place, row in enumerate(found):
        assert list(row) == pytest.approx(fused_live(strategy, pairs, place), abs=1e-5)


def test_pairs_come_back_as_they_were_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sides = [random.dirichlet(np.ones(8), 5).astype(np.float32) for _ in range(2)]
    write_pairs(tmp_path, {"test": Pairs(*sides, np.arange(5))})
    found = read_pairs(tmp_path, "test")
    assert np.allclose(found.video, sides[0], atol=1e-5)
    assert found.labels.tolist() == list(range(5))
    with pytest.raises(DatasetError, match="no rows of the split 'train'"):
        read_pairs(tmp_path, "train")


@pytest.mark.parametrize("rule", ["average", "product"])
def test_several_models_of_a_side_are_joined_and_know_what_any_of_them_knows(tmp_path: Path, rule: str) -> None:
    films, six = write_films(tmp_path / "films"), tuple(name for name in EMOTIONS if name != "surprise")
    turned = EMOTIONS[::-1]
    faces = [
        open_artifact(make_face_static(tmp_path / f"face{n}.onnx", labels=labels, size=side), provider="cpu")
        for n, (labels, side) in enumerate(((EMOTIONS, 48), (turned, 32)))
    ]
    voices = [
        open_artifact(make_speech(tmp_path / f"voice{n}.onnx", labels=six, window_s=length), provider="cpu")
        for n, length in enumerate((3.0, 1.0))
    ]
    joined = Joined(rule, (0.75, 0.25))  # type: ignore[arg-type]
    found = recorded_pairs(Experts(tuple(faces), joined), Experts(tuple(voices), joined), films, "valid")
    assert found.known is not None
    assert found.known[0].all()
    assert found.known[1].tolist() == [name != "surprise" for name in EMOTIONS]
    alone = [recorded_pairs(Experts((face,)), Experts((voices[0],)), films, "valid").video for face in faces]
    assert (alone[0][:, -1] == found.video[:, -1]).all(), "worth is that of the first model's crop"
    for row, one, other in zip(found.video, *alone, strict=True):
        both = [
            combine.Opinion(str(n), dict(zip(EMOTIONS, map(float, side[:7]), strict=True)), weight)
            for n, (side, weight) in enumerate(((one, 0.75), (other, 0.25)))
        ]
        assert list(row[:7]) == pytest.approx(list(combine.STRATEGIES[rule](both).values()), abs=1e-5)
    assert Experts(tuple(faces)).identity == "tiny-face-static@1+tiny-face-static@1"
    assert Experts(tuple(voices)).knows(SEVEN).sum() == 6
