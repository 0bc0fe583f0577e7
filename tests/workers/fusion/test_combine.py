"""Opinions become one: always probabilities, whoever is missing, whatever anyone does not know."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.models.errors import ArtifactError
from bimodal.models.session import open_artifact
from bimodal.workers.fusion.combine import (
    PRODUCT_FLOOR,
    STRATEGIES,
    Opinion,
    Strategy,
    agreement,
    average,
    clean,
    learned_fusion,
    pooled_other,
    product,
    shares,
    softened,
    top,
    worth,
)
from tests.workers.fusion.making import distributions, sure

strategies = st.sampled_from(sorted(STRATEGIES)).map(STRATEGIES.__getitem__)
weights = st.one_of(st.just(0.0), st.floats(1e-3, 10))
opinions = st.lists(st.builds(Opinion, st.just("any"), distributions(), weights), min_size=1, max_size=4)


@given(strategies, opinions)
def test_the_result_is_probabilities(strategy: Strategy, heard: list[Opinion]) -> None:
    result = strategy(heard)
    assert math.isclose(sum(result.values()), 1.0, abs_tol=1e-9)
    assert all(0.0 <= value <= 1.0 for value in result.values())


@given(strategies, opinions)
def test_an_emotion_is_in_the_result_exactly_if_one_who_counts_knows_it(
    strategy: Strategy, heard: list[Opinion]
) -> None:
    counting = [opinion for opinion in heard if opinion.weight > 0] or heard
    assert set(strategy(heard)) == {emotion for opinion in counting for emotion in opinion.probabilities}


@given(strategies, opinions, st.randoms())
def test_the_order_of_opinions_does_not_matter(strategy: Strategy, heard: list[Opinion], random: object) -> None:
    shuffled = list(heard)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert strategy(shuffled) == pytest.approx(strategy(heard), abs=1e-12)


@given(strategies, opinions, st.permutations(EMOTIONS))
def test_no_emotion_is_treated_unlike_another(strategy: Strategy, heard: list[Opinion], names: list[str]) -> None:
    other = dict(zip(EMOTIONS, names, strict=True))
    renamed = [
        opinion._replace(probabilities={other[emotion]: value for emotion, value in opinion.probabilities.items()})
        for opinion in heard
    ]
    expected = {other[emotion]: value for emotion, value in strategy(heard).items()}
    assert strategy(renamed) == pytest.approx(expected, abs=1e-9)


@given(strategies, distributions(), weights)
def test_alone_an_opinion_is_the_result(strategy: Strategy, alone: dict[str, float], weight: float) -> None:
    assert strategy([Opinion("video", alone, weight)]) == alone


@given(strategies, distributions(), distributions(), st.floats(0.01, 5))
def test_an_opinion_without_weight_is_not_heard(
    strategy: Strategy, one: dict[str, float], other: dict[str, float], weight: float
) -> None:
    assert strategy([Opinion("video", one, weight), Opinion("speech", other, 0.0)]) == one


@given(st.sampled_from([average, product]), distributions(EMOTIONS), st.floats(0.01, 5), st.floats(0.01, 5))
def test_those_who_agree_are_not_changed(
    strategy: Strategy, said: dict[str, float], first: float, second: float
) -> None:
    said = {emotion: max(value, 2 * PRODUCT_FLOOR) for emotion, value in said.items()}
    said = {emotion: value / sum(said.values()) for emotion, value in said.items()}
    assert strategy([Opinion("a", said, first), Opinion("b", said, second)]) == pytest.approx(said, abs=1e-9)


@given(distributions(), distributions(), st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)))
def test_averaged_emotions_move_one_way_with_the_weights(
    one: dict[str, float], other: dict[str, float], video: tuple[float, float]
) -> None:
    def fused(weight: float) -> dict[str, float]:
        return average([Opinion("video", one, weight), Opinion("speech", other, 1 - weight)])

    low, high = sorted(video)
    least, less, more, most = fused(1e-9), fused(low), fused(high), fused(1 - 1e-9)
    for emotion in least:
        rising = most[emotion] >= least[emotion]
        steps = (less[emotion] - least[emotion], more[emotion] - less[emotion], most[emotion] - more[emotion])
        assert all((step if rising else -step) >= -1e-8 for step in steps)


@given(distributions(EMOTIONS), distributions(EMOTIONS), st.floats(0.01, 0.99))
def test_the_product_moves_odds_towards_the_heavier_opinion(
    one: dict[str, float], other: dict[str, float], weight: float
) -> None:
    fused = product([Opinion("video", one, weight), Opinion("speech", other, 1 - weight)])

    def odds(said: dict[str, float]) -> float:
        return math.log(max(said["happy"], PRODUCT_FLOOR) / max(said["sad"], PRODUCT_FLOOR))

    assume(fused["happy"] > 1e-9 and fused["sad"] > 1e-9)
    assert math.isclose(
        math.log(fused["happy"] / fused["sad"]), weight * odds(one) + (1 - weight) * odds(other), abs_tol=1e-6
    )


def test_an_unknown_emotion_is_an_abstention_and_not_a_zero() -> None:
    six = tuple(emotion for emotion in EMOTIONS if emotion != "surprise")
    for strategy in (average, product):
        fused = strategy([Opinion("video", sure("surprise"), 0.5), Opinion("speech", sure("sad", 0.3, six), 0.5)])
        assert top(fused)[0] == "surprise"
        assert fused["surprise"] > 0.5


def test_the_average_by_hand() -> None:
    video = {"happy": 0.8, "sad": 0.2}
    speech = {"happy": 0.2, "sad": 0.8}
    assert average([Opinion("video", video, 0.7), Opinion("speech", speech, 0.3)]) == pytest.approx(
        {"happy": 0.62, "sad": 0.38}
    )


def test_the_product_by_hand() -> None:
    fused = product([Opinion("a", {"happy": 0.8, "sad": 0.2}, 1), Opinion("b", {"happy": 0.5, "sad": 0.5}, 1)])
    assert fused == pytest.approx({"happy": 2 / 3, "sad": 1 / 3})


def test_one_zero_is_no_veto() -> None:
    fused = product([Opinion("a", {"happy": 0.0, "sad": 1.0}, 0.5), Opinion("b", {"happy": 1.0, "sad": 0.0}, 0.5)])
    assert fused == pytest.approx({"happy": 0.5, "sad": 0.5})


def test_nothing_can_not_be_combined() -> None:
    with pytest.raises(ValueError, match="nothing"):
        average([])


@given(weights, weights, st.floats(0, 1), st.floats(0, 1))
def test_shares_sum_to_one_and_follow_reliability(video: float, speech: float, face: float, voice: float) -> None:
    configured = {"video": video, "speech": speech}
    both = shares(configured, {"video": face, "speech": voice})
    assert math.isclose(sum(both.values()), 1.0)
    surer = shares(configured, {"video": min(1.0, face + 0.1), "speech": voice})
    if video * face + speech * voice > 0:
        assert surer["video"] >= both["video"] - 1e-12
    assert shares(configured, {"video": face}) == {"video": 1.0}


def test_where_nothing_is_reliable_the_configured_weights_decide() -> None:
    assert shares({"video": 0.7, "speech": 0.3}, {"video": 0.0, "speech": 0.0}) == pytest.approx(
        {"video": 0.7, "speech": 0.3}
    )


@given(distributions(), distributions())
def test_agreement_is_symmetric_and_between_0_and_1(one: dict[str, float], other: dict[str, float]) -> None:
    value = agreement(one, other)
    assert value == agreement(other, one) or value == pytest.approx(agreement(other, one))
    if value is None:
        assert (
            sum(one[emotion] for emotion in set(one) & set(other)) == 0
            or sum(other[emotion] for emotion in set(one) & set(other)) == 0
        )
    else:
        assert 0.0 <= value <= 1.0


@given(distributions())
def test_one_agrees_with_itself(said: dict[str, float]) -> None:
    assert agreement(said, said) == pytest.approx(1.0)


def test_opposites_do_not_agree() -> None:
    assert agreement({"happy": 1.0, "sad": 0.0}, {"happy": 0.0, "sad": 1.0}) == 0.0
    assert agreement({"happy": 1.0}, {"sad": 1.0}) is None


@pytest.mark.parametrize(
    "unusable",
    [None, {}, {"happy": math.nan}, {"happy": math.inf}, {"happy": -0.1, "sad": 1.1}, {"happy": 0.0}, {"angst": 1.0}],
)
def test_what_are_no_probabilities_is_not_used(unusable: dict[str, float] | None) -> None:
    assert clean(unusable) is None


def test_clean_probabilities_are_in_order_and_sum_to_one() -> None:
    assert list(clean({"anger": 1.0, "neutral": 3.0, "other": 5.0}).items()) == [  # type: ignore[union-attr]
        ("neutral", 0.75),
        ("anger", 0.25),
    ]


def test_of_two_equals_the_earlier_emotion_is_named() -> None:
    assert top({"anger": 0.5, "happy": 0.5}) == ("happy", 0.5)


def both(
    face: float, voice: float, reliable: float = 1.0, *, label: str = "happy", heard: str = "happy"
) -> list[Opinion]:
    """A face and a voice, each so sure; the voice so reliable, with the weights that fusion gives them."""
    trust = softened(reliable)
    total = 0.65 + 0.35 * trust
    return [
        Opinion("video", sure(label, face), 0.65 / total, 1.0),
        Opinion("speech", sure(heard, voice), 0.35 * trust / total, reliable),
    ]


def test_by_worth_two_that_agree_are_surer_than_each() -> None:
    fused = worth(both(0.6, 0.5))
    assert top(fused)[0] == "happy"
    assert fused["happy"] > 0.7


def test_by_worth_a_voice_counts_as_far_as_it_is_reliable() -> None:
    found = [worth(both(0.6, 0.5, reliable))["happy"] for reliable in (1.0, 0.5, 0.1, 0.0)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0.6)


def test_by_worth_an_unsure_voice_changes_little() -> None:
    unsure = dict.fromkeys(EMOTIONS, 1 / 7)
    face, voice = both(0.6, 0.5)
    assert worth([face, voice._replace(probabilities=unsure)])["happy"] == pytest.approx(0.6, abs=0.05)


def test_by_worth_a_conflict_stays_a_conflict() -> None:
    face, voice = both(0.95, 0.9, label="happy", heard="anger")
    fused = worth([face, voice])
    assert fused == pytest.approx(average([face, voice]))
    assert fused["happy"] < 0.7
    assert fused["anger"] > 0.25


def test_by_worth_a_class_that_one_does_not_know_keeps_its_share() -> None:
    face, voice = both(0.6, 0.5)
    known = {emotion: value for emotion, value in voice.probabilities.items() if emotion != "disgust"}
    whole = {emotion: value / sum(known.values()) for emotion, value in known.items()}
    heard = [face, voice._replace(probabilities=whole)]
    assert worth(heard)["disgust"] == pytest.approx(average(heard)["disgust"])


# Further categories.

WITH_CONTEMPT = EmotionSet(categories=("contempt", "boredom"))
other_shares = st.floats(0, 1)


@given(distributions(), distributions(), other_shares, st.sampled_from([worth, average, product]))
def test_a_category_that_only_one_knows_is_as_that_one_says(
    video: dict[str, float], speech: dict[str, float], share: float, strategy: Strategy
) -> None:
    face = Opinion("video", video, 0.7, other={"contempt": share})
    voice = Opinion("speech", speech, 0.3)
    assert pooled_other([face, voice], strategy, WITH_CONTEMPT) == {"contempt": share}
    assert pooled_other([voice], strategy, WITH_CONTEMPT) == {}


@given(distributions(EMOTIONS), other_shares, st.sampled_from([average, product]))
def test_two_that_say_the_same_of_a_category_stay_with_it(
    probabilities: dict[str, float], share: float, strategy: Strategy
) -> None:
    both = [Opinion(name, probabilities, 0.5, other={"contempt": share}) for name in ("video", "speech")]
    (found,) = pooled_other(both, strategy, WITH_CONTEMPT).values()
    assert found == pytest.approx(share, abs=1e-3)


def test_two_that_are_sure_of_a_category_are_surer_by_worth() -> None:
    even = dict.fromkeys(EMOTIONS, 1 / 7)
    both = [Opinion(name, even, 0.5, other={"contempt": 0.6}) for name in ("video", "speech")]
    assert pooled_other(both, worth, WITH_CONTEMPT)["contempt"] > 0.8


def test_a_fusion_model_of_another_set_is_refused_in_words() -> None:
    path = Path(__file__).parents[3] / "models" / "fusion-learned" / "model.onnx"
    artifact = open_artifact(path, "fusion", provider="cpu")
    with pytest.raises(ArtifactError, match="its labels must be neutral, bored, in any order"):
        learned_fusion(artifact, EmotionSet(("neutral", "bored")))
