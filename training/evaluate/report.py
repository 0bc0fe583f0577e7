"""Write an evaluation: figures as JSON, a confusion matrix, a reliability diagram, and one HTML page with all."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np

from bimodal.training.evaluate.evaluate import Evaluation
from bimodal.training.evaluate.face_conditions import DEGRADED
from bimodal.training.evaluate.metrics import Figures, per_class, reliability, risk_coverage

CONFUSION, RELIABILITY, PAGE = "confusion.png", "reliability.png", "report.html"

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; border: 1px solid #ccc }
td { text-align: right } th { text-align: left; font-weight: 600 } img { max-width: 100% }
.warning { background: #fee; border-left: 4px solid #c00; padding: .5rem 1rem }
</style></head><body>
<h1>{{ title }}</h1>
{% for part in parts %}
<h2>{{ part.model }} on {{ part.data }}</h2>
<p>{{ part.protocol }}. n = {{ part.figures.n }}, measured in {{ "%.1f"|format(part.seconds) }} s.</p>
{% if part.seen_in_training %}<p class="warning">The model was trained on some of this data: these are no figures to
report.</p>{% endif %}
<table><tr><th>accuracy</th><th>UAR</th><th>macro F1</th><th>ECE</th><th>NLL</th><th>AURC</th></tr>
<tr>{% for value in [part.figures.accuracy, part.figures.uar, part.figures.macro_f1, part.figures.ece,
part.figures.nll, part.figures.aurc] %}<td>{{ "%.4f"|format(value) }}</td>{% endfor %}</tr></table>
<table><tr><th>emotion</th><th>n</th><th>recall</th><th>95 % interval (Wilson)</th></tr>
{% for label, row in part.classes.items() %}<tr><th>{{ label }}</th><td>{{ row.n }}</td>
<td>{{ "%.3f"|format(row.recall) }}</td><td>{{ "%.3f"|format(row.low) }} – {{ "%.3f"|format(row.high) }}</td></tr>
{% endfor %}</table>
{% for other, figures in part.further.items() %}<p>{{ other }} (n = {{ figures.n }}): accuracy
{{ "%.4f"|format(figures.accuracy) }}, UAR {{ "%.4f"|format(figures.uar) }}</p>{% endfor %}
{% if part.under %}<table><tr><th>under</th><th>accuracy</th><th>UAR</th><th>ECE</th><th>AURC</th></tr>
{% for name, seen in part.under.items() %}<tr><th>{{ name }}</th>{% for value in [seen.accuracy, seen.uar, seen.ece,
seen.aurc] %}<td>{{ "%.4f"|format(value) }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% elif part.conditions %}<table><tr><th>centre windows under</th><th>UAR</th></tr>
{% for name, value in part.conditions.items() %}<tr><th>{{ name }}</th><td>{{ "%.4f"|format(value) }}</td></tr>
{% endfor %}</table>{% endif %}
{% if part.cost %}<p>{{ "%.2f"|format(part.cost.milliseconds) }} ms of one core an answer (median of
{{ part.cost.answers }}, one at a time), {{ "%.2f"|format(part.cost.megabytes) }} MB.</p>{% endif %}
{% for picture in part.pictures %}<p><img alt="" src="data:image/png;base64,{{ picture }}"></p>{% endfor %}
{% endfor %}
{% if rows %}<h2>{{ "Each clip" if "clip" in rows[0] else "All figures" }}</h2>
<table><tr>{% for name in rows[0] %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for value in row.values() %}<td>{{ value }}</td>{% endfor %}</tr>{% endfor %}</table>
{% endif %}
<p>A shown emotion is not a felt one. Do not use these figures to judge people.</p>
</body></html>
"""


def figures_json(evaluation: Evaluation) -> dict[str, object]:
    """The output of `--json`: accuracy, uar, f1, ece, n, per_class, confusion, labels, model, seconds.

    And `aurc`; `conditions`, the UAR under each, if asked for; of faces also `under`, with accuracy, UAR, ECE (plain,
    and with doubt as live) and AURC of each condition, and `degraded_uar`, the mean UAR under the conditions DEGRADED.
    Of voices `groups` (by the sex of the speaker, by language) and `further` (live windows and turns, by protocol).
    """
    figures = evaluation.figures
    found = {
        "accuracy": figures.accuracy,
        "uar": figures.uar,
        "f1": figures.macro_f1,
        "ece": figures.ece,
        "aurc": figures.aurc,
        "n": figures.n,
        "per_class": per_class(figures),
        "confusion": figures.confusion,
        "labels": list(figures.labels),
        "model": evaluation.model,
        "seconds": round(evaluation.seconds, 3),
    }
    if evaluation.conditions:
        found["conditions"] = evaluation.conditions
    if evaluation.under:
        found["under"] = {
            name: {"accuracy": seen.accuracy, "uar": seen.uar, "ece": seen.ece, "aurc": seen.aurc}
            | ({"ece_with_doubt": evaluation.doubted[name]} if name in evaluation.doubted else {})
            for name, seen in evaluation.under.items()
        }
    if evaluation.groups:
        found["groups"] = {
            name: {"accuracy": group.accuracy, "uar": group.uar, "ece": group.ece, "n": group.n}
            for name, group in evaluation.groups.items()
        }
    if evaluation.further:
        found["further"] = {
            protocol: {"accuracy": other.accuracy, "uar": other.uar, "ece": other.ece, "n": other.n}
            for protocol, other in evaluation.further.items()
        }
    degraded = degraded_uar(evaluation)
    return found if degraded is None else found | {"degraded_uar": degraded}


def degraded_uar(evaluation: Evaluation) -> float | None:
    """Mean UAR under the conditions DEGRADED; None if not all of them were measured."""
    if not set(DEGRADED) <= set(evaluation.under):
        return None
    return float(np.mean([evaluation.under[name].uar for name in DEGRADED]))


def write_json(path: Path, values: object) -> None:
    """Write indented JSON, creating the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(values), indent=2))


def write_report(
    out: Path, title: str, evaluations: Sequence[Evaluation], rows: Sequence[dict[str, object]] = ()
) -> Path:
    """Write charts and page into `out`; with several evaluations the charts' names begin with the model's.

    Args:
        rows: one per clip, for a table at the end.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for evaluation in evaluations:
        before = "" if len(evaluations) == 1 else f"{_file_name(evaluation.model)}-"
        if before and sum(each.model == evaluation.model for each in evaluations) > 1:
            before = f"{_file_name(f'{evaluation.model} {evaluation.data}')}-"
        paths = [out / f"{before}{CONFUSION}", out / f"{before}{RELIABILITY}"]
        draw_confusion(evaluation.figures, f"{evaluation.model} on {evaluation.data}", paths[0])
        draw_reliability(evaluation, paths[1])
        parts.append(
            {name: getattr(evaluation, name) for name in evaluation.__struct_fields__}
            | {"classes": per_class(evaluation.figures), "pictures": [_base64(path) for path in paths]}
        )
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE).render(title=title, parts=parts, rows=rows)
    (out / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def draw_confusion(figures: Figures, title: str, path: Path) -> None:
    """Draw the confusion matrix (rows true, columns found): share of each row, with its count."""
    counts = np.array(figures.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _sheet(7, 6)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(figures.labels))
    axes.set_xticks(places, figures.labels, rotation=45, ha="right")
    axes.set_yticks(places, figures.labels)
    axes.set_xlabel("found")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    for row in places:
        for column in places:
            shade = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.2f}\n{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=shade)
    _save(figure, path)


def draw_reliability(evaluation: Evaluation, path: Path) -> None:
    """Draw the reliability diagram (accuracy by confidence in 15 bins, with the number of examples in each), and the
    risk–coverage curve."""
    true, probabilities = np.array(evaluation.true), np.array(evaluation.probabilities)
    confidence, right, counts = reliability(true, probabilities)
    figure = _sheet(6, 9)
    above, below, curve = figure.subplots(3, 1, height_ratios=[3, 1, 2])
    there = counts > 0
    above.plot([0, 1], [0, 1], color="grey", linestyle=":")
    above.plot(confidence[there] / counts[there], right[there] / counts[there], marker="o", color="tab:blue")
    above.set_ylabel("accuracy")
    above.set_title(f"{evaluation.model}: ECE {evaluation.figures.ece:.3f}", fontsize=10)
    bins = len(counts)
    below.bar((np.arange(bins) + 0.5) / bins, counts, width=0.9 / bins, color="tab:blue")
    below.set_xlim(above.get_xlim())
    below.set_xlabel("confidence")
    below.set_ylabel("n")
    risk = risk_coverage(true, probabilities)
    curve.plot(np.arange(1, len(risk) + 1) / len(risk), risk, color="tab:blue")
    curve.set_ylim(bottom=0)
    curve.set_xlabel("coverage: share of answers, the surest first")
    curve.set_ylabel("risk")
    curve.set_title(f"risk and coverage: AURC {evaluation.figures.aurc:.3f}", fontsize=10)
    _save(figure, path)


def _sheet(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # only a report needs matplotlib

    return Figure(figsize=(width, height))


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _file_name(model: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in model)
