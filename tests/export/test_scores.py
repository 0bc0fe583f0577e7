"""What a network's numbers are is found out, or asked for by names that lead to right probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.scores import SCORES, Proof, Scores, Treatment, judge, recognise, settle

FILE = Path("mine.onnx")
LABELS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
random = np.random.default_rng(0)
LOGITS = random.normal(0, 3, (12, 7))
SURE = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SINGLE = 1 / (1 + np.exp(-LOGITS))

FORMS: dict[str, tuple[NDArray[Any], Proof, NDArray[Any]]] = {
    "probabilities": (SURE, (None, None), SURE),
    "rounded": (np.round(SURE * 255) / 255, ("Softmax", None), SURE),
    "logarithms": (np.log(SURE), ("LogSoftmax", None), SURE),
    "logits": (LOGITS, ("Gemm", None), SURE),
    "sigmoids": (SINGLE, ("Sigmoid", None), SINGLE / SINGLE.sum(axis=1, keepdims=True)),
    "percent": (SURE * 100, ("Softmax", 100.0), SURE),
    "shares": (SURE * 255, (None, None), SURE),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_numbers_prove_is_not_asked_for(form: str) -> None:
    values, proof, expected = FORMS[form]
    assert recognise(values, *proof) == form
    np.testing.assert_allclose(settle(values, None, FILE, proof=proof)(values), expected, atol=0.01)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wanted", SCORES)
def test_who_obeys_a_refusal_ends_with_right_probabilities(form: str, wanted: Scores) -> None:
    """Whatever the numbers are called first: the name in the sentence is the right one."""
    values, proof, expected = FORMS[form]
    try:
        treatment = settle(values, wanted, FILE, proof=proof)
    except SourceModelError as error:
        advised = next(name for name in SCORES if f"--scores {name}" in str(error))
        treatment = settle(values, advised, FILE, proof=proof)
    if (form, wanted) != ("logits", "sigmoid"):  # which logits may also be called: each of its own
        np.testing.assert_allclose(treatment(values), expected, atol=0.01)


@pytest.mark.parametrize(
    ("values", "proof", "words"),
    [
        (SINGLE, ("Div", None), "--scores sigmoid if every class"),
        (SINGLE * 100, ("Div", None), "--scores percent if they are percentages"),
        (np.tanh(LOGITS), ("Tanh", None), "ends in a tanh"),
        (np.full((3, 7), np.nan), (None, None), "no finite numbers"),
        (SURE[:, :1], (None, None), "such as --labels happy,other"),
    ],
)
def test_what_they_do_not_prove_is_asked_for(values: NDArray[Any], proof: Proof, words: str) -> None:
    with pytest.raises(SourceModelError, match=words):
        settle(values, None, FILE, proof=proof, labels=7)


def test_probabilities_in_8_bits_are_shares_and_logits_in_8_bits_are_refused() -> None:
    bytes_of = np.rint(SURE * 256).clip(0, 255).astype(np.uint8)
    found = settle(bytes_of, None, FILE, proof=("Softmax", None), whole=True)(bytes_of)
    np.testing.assert_allclose(found, SURE, atol=0.01)
    with pytest.raises(SourceModelError, match="inference_output_type"):
        settle(np.rint(LOGITS * 10 + 128).astype(np.uint8), None, FILE, whole=True)


def test_scores_of_their_own_are_normalised_whether_their_sigmoid_is_in_the_file_or_not() -> None:
    inside = settle(SINGLE, "sigmoid", FILE)
    missing = settle(LOGITS, "sigmoid", FILE)
    assert missing.raw
    np.testing.assert_allclose(missing(LOGITS), inside(SINGLE), atol=1e-6)
    np.testing.assert_allclose(missing.independent(LOGITS), SINGLE, atol=1e-6)


def test_one_number_is_the_first_of_two_classes() -> None:
    found = settle(SINGLE[:, :1], None, FILE, proof=("Sigmoid", None), labels=2)(SINGLE[:, :1])
    np.testing.assert_allclose(found, np.stack([SINGLE[:, 0], 1 - SINGLE[:, 0]], axis=1))
    raw = settle(LOGITS[:, :1], None, FILE, labels=2)
    np.testing.assert_allclose(raw(LOGITS[:, :1]), found, atol=1e-6)


def test_a_temperature_is_for_logits() -> None:
    assert settle(LOGITS, None, FILE, temperature=2.0) == Treatment("logits", 2.0)
    with pytest.raises(SourceModelError, match="leave it out"):
        settle(SURE, None, FILE, temperature=2.0)


@settings(max_examples=25, deadline=None)
@given(scores=st.sampled_from(sorted(FORMS)), seed=st.integers(0, 99))
def test_the_graph_computes_what_numpy_does(scores: str, seed: int) -> None:
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper

    from bimodal.export.frontends.draft import Draft

    values, proof, _ = FORMS[scores]
    values = np.random.default_rng(seed).permutation(values).astype(np.float32)
    treatment, draft = settle(values, None, FILE, proof=proof), Draft()
    last, _ = treatment.nodes(draft, "x")
    draft.nodes.append(helper.make_node("Identity", [last], ["p"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 7]) for name in "xp"]
    model = helper.make_model(draft.graph("g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": values})[0], treatment(values), atol=1e-5)


def test_answers_that_no_working_model_gives_are_a_warning() -> None:
    alike = np.tile(SURE[:1], (6, 1))
    unsure = np.full((6, 7), 1 / 7) + random.normal(0, 0.01, (6, 7))
    always = np.eye(7)[[1] * 6] * 0.9995 + random.uniform(0, 1e-4, (6, 7))
    always[0] = np.eye(7)[1] - 0.0
    assert "alike" in judge(alike, LABELS, "logits").warnings[0]
    assert "never surer than" in judge(unsure, LABELS, "logits").warnings[0]
    assert judge(SURE, LABELS, "logits").warnings == ()
    assert judge(SURE, LABELS, "softmax").leading > 2
