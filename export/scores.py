"""What a network's numbers are, found out on examples, and how they become probabilities.

Networks end in probabilities, logits (or logarithms of probabilities), scores of their own per class (a sigmoid each),
or percentages. A softmax of anything but logits is a wrong model that looks like one: of sigmoids nothing can pass 31 %
among seven classes, of percentages the leading class has 100 % always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError

if TYPE_CHECKING:
    from bimodal.export.frontends.draft import Draft

Scores = Literal["softmax", "logits", "sigmoid", "percent"]
SCORES: tuple[Scores, ...] = get_args(Scores)

Values = NDArray[Any]
Proof = tuple[str | None, float | None]

EXACT, ROUNDED = 1e-3, 3e-2
"""Greatest deviation of a sum from 1: of floating point, and of probabilities that were rounded to 8 bits."""
LEAST = 1e-7
"""Added to every score before they are normalised, so that a row of zeros is no division by zero."""

Form = Literal[
    "probabilities", "rounded", "logarithms", "logits", "sigmoids", "unit", "percent", "shares", "hundred", "tanh"
]


@dataclass(frozen=True)
class Treatment:
    """How the network's numbers become probabilities.

    Attributes:
        scores: what they are.
        temperature: logits are divided by it.
        raw: the sigmoid itself is missing, too.
        pair: there is one column, the score of the first of two classes.
        normalise: rows are divided by their sum.
    """

    scores: Scores
    temperature: float = 1.0
    raw: bool = False
    pair: bool = False
    normalise: bool = False

    def __call__(self, values: Values) -> Values:
        """Compute probabilities float64 [N, C] of numbers [N, C], as the graph does."""
        found = self.independent(values)
        if self.scores == "logits":
            return _softmax(found / self.temperature)
        if not self.normalise:
            return found
        found = np.maximum(found, 0) + LEAST
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def independent(self, values: Values) -> Values:
        """Compute the scores of their own, float64 [N, C], as they are before they are normalised."""
        found = values.astype(np.float64)
        if self.raw:
            found = 1 / (1 + np.exp(-np.clip(found, -80, 80)))
        return np.concatenate([found, 1 - found], axis=1) if self.pair else found

    def nodes(self, draft: Draft, last: str) -> tuple[str, str]:
        """Add the same to a graph, for float32 [N, C]. Returns the names of probabilities and of independent scores."""
        if self.raw:
            last = draft.node("Sigmoid", last)
        if self.pair:
            last = draft.node("Concat", last, draft.node("Sub", draft.floats(1.0), last), axis=1)
        if self.scores == "logits":
            if self.temperature != 1.0:
                last = draft.node("Div", last, draft.floats(self.temperature))
            return draft.node("Softmax", last, axis=1), last
        if not self.normalise:
            return last, last
        positive = draft.node("Add", draft.node("Max", last, draft.floats(0.0)), draft.floats(LEAST))
        total = draft.node("ReduceSum", positive, draft.integers([1]), keepdims=1)
        return draft.node("Div", positive, total), last

    def __str__(self) -> str:
        if self.pair:
            return "its one number is the probability of the first class, the rest is the second's"
        if self.scores == "logits":
            return "its numbers are logits: a softmax is added"
        if self.scores == "sigmoid":
            sigmoid = "a sigmoid is added, and " if self.raw else ""
            return f"its classes have scores of their own: {sigmoid}they are divided by their sum"
        if self.normalise:
            return "its numbers are shares of a whole: they are divided by their sum"
        return "its numbers are probabilities"


def recognise(values: Values, last: str | None = None, factor: float | None = None) -> Form:
    """Find out what numbers [N, C] are, C above 1.

    Args:
        last: the operator that computes them, where it is known.
        factor: the constant that they are multiplied with, where it is known.
    """
    exact = values.astype(np.float64)
    low, high, sums = float(exact.min()), float(exact.max()), exact.sum(axis=1)
    if low >= -EXACT and high <= 1 + EXACT:
        if np.abs(sums - 1).max() < EXACT:
            return "probabilities"
        if np.abs(sums - 1).max() < ROUNDED:
            return "rounded"
        return "sigmoids" if last in ("Sigmoid", "HardSigmoid") else "unit"
    if high <= EXACT and np.abs(np.exp(np.clip(exact, None, 1)).sum(axis=1) - 1).max() < EXACT * 10:
        return "logarithms"
    if low >= -EXACT * max(1.0, high):
        whole, moves = float(sums.mean()), float(np.ptp(exact, axis=0).max()) > 0.01 * high
        slack = ROUNDED if np.array_equal(exact, np.rint(exact)) or last == "Softmax" else ROUNDED / 10
        if whole > 0 and moves and np.abs(sums / whole - 1).max() < slack:
            return "percent" if abs(whole - 100) < 1 else "shares"
        if high <= 100 * (1 + EXACT):
            return "percent" if factor is not None and abs(factor - 100) < 1 else "hundred"
    if last == "Tanh" and high <= 1 + EXACT:
        return "tanh"
    return "logits"


PLAIN: dict[Form, Scores] = {
    "probabilities": "softmax",
    "rounded": "softmax",
    "logarithms": "logits",
    "logits": "logits",
    "sigmoids": "sigmoid",
    "percent": "percent",
    "shares": "percent",
}
"""Forms that numbers alone, or the operator before them, prove; the others are asked for."""

ALSO: dict[Form, tuple[Scores, ...]] = {
    "unit": ("sigmoid", "logits"),
    "hundred": ("percent", "logits"),
    "tanh": (),
    "logits": ("sigmoid",),
    "logarithms": (),
}
"""What else a form may be called by someone who knows better than its numbers show."""


def settle(
    values: Values,
    wanted: Scores | None,
    path: Path,
    *,
    proof: Proof = (None, None),
    temperature: float | None = None,
    labels: int | None = None,
    whole: bool = False,
) -> Treatment:
    """Decide how numbers [N, C] become probabilities; `wanted` is what the user calls them, None to find out.

    Args:
        proof: the operator that computes them, and the constant that they are multiplied with, where they are known.
        temperature: logits are divided by it.
        labels: number of classes that are named.
        whole: whether they are whole numbers of 8 bits.

    Raises SourceModelError if they are not what they are called, or if it can't be told what they are.
    """
    if whole and recognise(values, *proof) not in ("probabilities", "rounded", "percent", "shares"):
        raise SourceModelError(
            f"{path} gives whole numbers of 8 bits, and does not say what one of them stands for: export it with an "
            "output "
            "of float32 (in TensorFlow Lite: converter.inference_output_type = tf.float32)"
        )
    if not np.isfinite(values).all():
        raise SourceModelError(
            f"{path} gives values that are no finite numbers: check how its input is scaled (--scale, --mean), and "
            "that "
            "its weights are whole"
        )
    if values.shape[1] == 1:
        treatment = _pair(values, wanted, path, proof[0], labels)
    else:
        form = recognise(values, *proof)
        treatment = _named(form, wanted, values, path) if wanted else _found_out(form, values, path)
    if temperature in (None, 1.0):
        return treatment
    if treatment.scores != "logits":
        raise SourceModelError(f"{path} gives no logits: a temperature applies to --scores logits only; leave it out")
    return Treatment("logits", temperature)


def _found_out(form: Form, values: Values, path: Path) -> Treatment:
    if form == "unit":
        raise SourceModelError(
            f"{path} gives numbers from 0 to 1 that do not sum to 1 ({_sums(values)}): say --scores sigmoid if every "
            "class has a score of its own (the usual case), or --scores logits if a softmax is still missing"
        )
    if form == "hundred":
        raise SourceModelError(
            f"{path} gives numbers from {values.min():.3g} to {values.max():.3g} that sum to no whole "
            f"({_sums(values)}): say --scores percent if they are percentages, or --scores logits if a softmax is "
            "missing"
        )
    if form == "tanh":
        raise SourceModelError(_no_tanh(path))
    return _treatment(form, PLAIN[form])


def _named(form: Form, wanted: Scores, values: Values, path: Path) -> Treatment:
    if form == "tanh":
        raise SourceModelError(_no_tanh(path))
    right = PLAIN.get(form)
    if wanted == right or wanted in ALSO.get(form, ()):
        return _treatment(form, wanted)
    if right == "softmax":
        raise SourceModelError(
            f"{path} already gives probabilities (its rows sum to 1): say --scores softmax, or leave --logits out; "
            "anything more blurs them"
        )
    if right is None:
        others = " or ".join(f"--scores {name}" for name in ALSO[form])
        raise SourceModelError(f"{path} gives no {_called(wanted)} ({_sums(values)}): say {others}")
    found = {
        "logarithms": "logarithms of probabilities, which a softmax turns back into them",
        "logits": f"logits, from {values.min():.3g} to {values.max():.3g}",
        "sigmoids": f"a score of its own for every class, from a sigmoid ({_sums(values)})",
        "percent": f"percentages ({_sums(values)})",
        "shares": f"shares of a whole ({_sums(values)})",
    }[form]
    raise SourceModelError(f"{path} gives {found}, and no {_called(wanted)}: say --scores {right}")


def _pair(values: Values, wanted: Scores | None, path: Path, last: str | None, labels: int | None) -> Treatment:
    """One number for each input: the probability of the first of two classes."""
    if labels != 2:
        raise SourceModelError(
            f"{path} gives one number for each input: name what it stands for and the rest, such as --labels "
            "happy,other where it is the probability of happy"
        )
    between = bool(values.min() >= -EXACT and values.max() <= 1 + EXACT)
    if between and (last in ("Sigmoid", "HardSigmoid") or wanted in ("sigmoid", "softmax")):
        return Treatment("sigmoid", pair=True)
    if not between and wanted in (None, "sigmoid", "logits"):
        return Treatment("sigmoid", raw=True, pair=True)
    if wanted == "logits":
        return Treatment("sigmoid", raw=True, pair=True)
    raise SourceModelError(
        f"{path} gives one number for each input, from {values.min():.3g} to {values.max():.3g}: say --scores sigmoid "
        "if that is a probability, or --scores logits if a sigmoid is still missing"
    )


def _treatment(form: Form, scores: Scores) -> Treatment:
    if scores == "logits":
        return Treatment("logits")
    return Treatment(scores, raw=scores == "sigmoid" and form == "logits", normalise=form != "probabilities")


def _called(scores: Scores) -> str:
    return {
        "softmax": "probabilities",
        "logits": "logits",
        "sigmoid": "scores of a sigmoid",
        "percent": "percentages",
    }[scores]


def _sums(values: Values) -> str:
    sums = values.astype(np.float64).sum(axis=1)
    low, high = float(sums.min()), float(sums.max())
    return (
        f"its rows sum to {low:.3g}" if high - low < 0.01 * max(1.0, high) else f"its rows sum to {low:.3g}…{high:.3g}"
    )


def _no_tanh(path: Path) -> str:
    return (
        f"{path} ends in a tanh: its numbers from -1 to 1 are neither probabilities nor logits, and no rule makes "
        "them so; "
        "export it without its last activation, or with a softmax in its place"
    )


def _softmax(logits: Values) -> Values:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


# How answers on examples look: a model that answers all of them alike is adopted wrongly, more often than not.

ALIKE = 0.01
"""Answers that differ by less, over all examples and classes, are one answer."""
UNSURE = 0.97
"""Mean entropy, as a share of the greatest, above which answers are hardly better than guesses."""
SURE = 0.999
LEAST_CONFIDENCE = 0.3
"""What fusion calls "unknown" below, by default (fusion.min_confidence)."""


@dataclass(frozen=True)
class Judgement:
    """How probabilities on examples are spread.

    Attributes:
        entropy: mean entropy of a row, as a share of that of a uniform one.
        surest: largest probability of all.
        leading: number of classes that lead somewhere.
        warnings: sentences about answers that no working model gives.
    """

    entropy: float
    surest: float
    leading: int
    warnings: tuple[str, ...]

    def as_metrics(self) -> dict[str, object]:
        """Fields for the metadata."""
        return {"examples_entropy": round(self.entropy, 3), "examples_leading_classes": self.leading}


def judge(probabilities: Values, labels: Sequence[str], scores: Scores) -> Judgement:
    """Judge probabilities [N, C] on examples that differ (faces or voices, noise, emptiness)."""
    exact = np.clip(probabilities.astype(np.float64), 1e-12, 1)
    classes = exact.shape[1]
    entropy = float((-(exact * np.log(exact)).sum(axis=1) / np.log(max(2, classes))).mean())
    leading = np.unique(exact.argmax(axis=1))
    first = labels[int(leading[0])] if len(labels) == classes else ""
    surest, spread = float(exact.max()), float((exact.max(axis=0) - exact.min(axis=0)).max())
    look = "look at --scale, --mean, --colour and --scores again"
    warnings = []
    if len(exact) > 1 and spread < ALIKE:
        warnings.append(
            f"it answers all {len(exact)} examples alike ({first} with {exact[:, leading[0]].mean():.0%}), "
            f"whatever they show: {look}"
        )
    elif len(exact) > 1 and len(leading) == 1 and float(exact.max(axis=1).min()) > SURE:
        warnings.append(f"it is always entirely sure of {first}, whatever the {len(exact)} examples show: {look}")
    if surest < LEAST_CONFIDENCE:
        warnings.append(
            f"it is never surer than {surest:.0%}, which fusion calls unknown (below fusion.min_confidence 0.3): {look}"
        )
    elif entropy > UNSURE and not warnings:
        also = ", or is this a softmax of scores that are none?" if scores == "logits" else ""
        warnings.append(
            f"its answers are hardly better than guesses (entropy {entropy:.0%} of the greatest): {look}{also}"
        )
    return Judgement(entropy, surest, len(leading), tuple(warnings))
