"""`bimodal agree`: how far results agree with people's annotations, and with another run's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import typer

from bimodal.broker.events import Emotion
from bimodal.console import put, put_json, say, user_errors
from bimodal.corpus.agreement import (
    Estimate,
    McNemar,
    Unit,
    accuracy,
    bootstrap,
    cohen_kappa,
    confusion,
    krippendorff_alpha,
    majority,
    mcnemar,
)
from bimodal.corpus.annotations import Annotation, read_annotations
from bimodal.corpus.results import CORPUS
from bimodal.corpus.rows import SHARE
from bimodal.extras import require
from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.recordings.reading import cut_short, read_events
from bimodal.recordings.recording import LINES
from bimodal.workers.errors import SourceError

Rows: TypeAlias = dict[str, dict[str, Any]]


class Place(msgspec.Struct, frozen=True):
    """One unit: a clip, or a stretch of one."""

    clip: str
    start: float | None
    end: float | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The output of `bimodal agree --json`; each figure is [value, low, high] of its 95 % interval."""

    units: int
    clips: int
    missing: int
    accuracy: Estimate
    kappa: Estimate
    alpha: Estimate
    labels: tuple[str, ...]
    confusion: list[list[int]]
    by: dict[str, dict[str, float]] = {}
    other: Estimate | None = None
    mcnemar: McNemar | None = None


def agree(
    out: Annotated[Path, typer.Argument(help="A folder of results of `bimodal analyze`.", metavar="OUT")],
    human: Annotated[
        Path, typer.Argument(help="Annotations: .csv, .eaf (ELAN) or .TextGrid (Praat).", metavar="HUMAN")
    ],
    against: Annotated[
        Path | None, typer.Option(help="Another folder of results: is one of the two better? (McNemar)", metavar="OUT2")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="A column of the corpus (speaker): accuracy of each, and whole ones are resampled."),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the confusion matrix into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Compare results with people's labels: accuracy, Cohen's κ (with the majority of the raters), Krippendorff's α (of
    all raters and the results), each with a bootstrap interval, and the confusion of labels.

    A CSV table has columns `clip` and `label`, one row a clip; with `start` and `end` in seconds, one row a stretch;
    with `rater`, several people. A stretch's own label is the most frequent one of its frames.

    Example: [b]bimodal agree results/ labels.csv --by participant[/b]
    """
    with user_errors():
        if png is not None:
            require("agree --png", "bench", "matplotlib")
        rows = clip_rows(out)
        emotions = emotions_of(rows)
        annotations = read_annotations(human, EmotionSet(emotions))
        raters = sorted({one.rater for one in annotations})
        places = list(dict.fromkeys(Place(one.clip, one.start, one.end) for one in annotations))
        people = _by_place(annotations, raters)
        ours = _found(out, rows, places)
        units = {place: [ours[place], majority(people[place]), *people[place]] for place in places if place in ours}
        if not units:
            raise SourceError(
                f"no clip of {human} has results in {out}: are they named as in {out}/{CORPUS}/clips.csv?"
            )
        groups = _groups(rows, units, by)
        found = _agreement(units, groups, len(places) - len(units), by, emotions)
        if against is not None:
            found = _compared(found, units, _found(against, clip_rows(against), places))
        if png is not None:
            _draw(png, found)
        put_json(found) if as_json else put("\n".join(_lines(found, raters, by, against)))
        if found.missing:
            say(f"{found.missing} of {len(places)} labels are of clips without results, and were left out")


def _by_place(annotations: Sequence[Annotation], raters: Sequence[str]) -> dict[Place, list[str | None]]:
    found: dict[Place, list[str | None]] = {}
    for one in annotations:
        place = Place(one.clip, one.start, one.end)
        found.setdefault(place, [None] * len(raters))[raters.index(one.rater)] = one.label
    return found


def _found(out: Path, rows: Rows, places: Sequence[Place]) -> dict[Place, str | None]:
    """Our label of each unit whose clip has results; None: unknown."""
    names = {key: clip for clip, row in rows.items() for key in (Path(clip).name, row["source"], clip)}
    found: dict[Place, str | None] = {}
    events: dict[str, list[Emotion]] = {}
    for place in places:
        clip = names.get(place.clip) or names.get(str(Path(place.clip).with_suffix("")))
        if clip is None or rows[clip]["status"] != "done":
            continue
        if place.start is None or place.end is None:
            found[place] = rows[clip]["emotion"]
            continue
        if clip not in events:
            events.clear()  # annotations are sorted by clip, so one at a time is enough
            events[clip] = list(read_events(out / f"{clip}{LINES}"))
            for sentence in cut_short(out / f"{clip}{LINES}"):
                say(sentence)
        labels = [event.emotion.label for event in events[clip] if place.start <= event.t < place.end]
        found[place] = majority(labels) or next((label for label in labels if label is not None), None)
    return found


def clip_rows(out: Path) -> Rows:
    """The rows of a corpus by clip. Raises SourceError where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = out / CORPUS / "clips.parquet"
    if not path.is_file():
        raise SourceError(f"{out} holds no corpus: there is no {path}; 'bimodal analyze FOLDER --out {out}' makes it")
    try:
        return {row["clip"]: row for row in pq.read_table(path).to_pylist()}
    except (pa.ArrowInvalid, KeyError) as error:
        raise SourceError(
            f"{path} is damaged, or no table of clips; 'bimodal corpus merge {out}' makes it again"
        ) from error


def emotions_of(rows: Rows) -> tuple[str, ...]:
    """The emotions that a corpus is about, whatever a config says now: those it has shares of."""
    names = next(iter(rows.values()), {})
    return tuple(name.removeprefix(SHARE) for name in names if name.startswith(SHARE)) or EMOTIONS


def _groups(rows: Rows, units: Mapping[Place, Unit], by: str | None) -> dict[str, list[Unit]]:
    """Units by clip, or by a column of the corpus."""
    if by is None:
        named = {place: place.clip for place in units}
    else:
        if by not in next(iter(rows.values()), {}):
            raise SourceError(f"the corpus has no column '{by}'")
        values = {key: str(row[by]) for clip, row in rows.items() for key in (Path(clip).name, row["source"], clip)}
        named = {place: values.get(place.clip, values.get(Path(place.clip).stem, "")) for place in units}
    found: dict[str, list[Unit]] = {}
    for place, unit in units.items():
        found.setdefault(named[place], []).append(unit)
    return found


def _agreement(
    units: Mapping[Place, Unit],
    groups: Mapping[str, list[Unit]],
    missing: int,
    by: str | None,
    emotions: Sequence[str],
) -> Agreement:
    pairs = [[unit[:2] for unit in group] for group in groups.values()]
    raters = [[[unit[0], *unit[2:]] for unit in group] for group in groups.values()]
    seen = Counter(label for unit in units.values() for label in unit if label is not None)
    labels = tuple(emotion for emotion in emotions if seen[emotion])
    return Agreement(
        units=len(units),
        clips=len({place.clip for place in units}),
        missing=missing,
        accuracy=bootstrap(pairs, accuracy),
        kappa=bootstrap(pairs, cohen_kappa),
        alpha=bootstrap(raters, krippendorff_alpha),
        labels=labels,
        confusion=confusion(list(units.values()), labels),
        by={by: {name: accuracy(group) for name, group in groups.items()}} if by is not None else {},
    )


def _compared(found: Agreement, units: Mapping[Place, Unit], others: Mapping[Place, str | None]) -> Agreement:
    both = [place for place, unit in units.items() if place in others and unit[1] is not None]
    if not both:
        raise SourceError("the two folders have no labelled clip in common")
    first, second = [], []
    for place in both:
        first.append(units[place][0] == units[place][1])
        second.append(others[place] == units[place][1])
    of_other = [[(others[place], units[place][1])] for place in both]
    return msgspec.structs.replace(found, other=bootstrap(of_other, accuracy), mcnemar=mcnemar(first, second))


def _lines(found: Agreement, raters: Sequence[str], by: str | None, against: Path | None) -> list[str]:
    people = f"{len(raters)} raters" if len(raters) > 1 else "1 rater"
    counted = f"{found.units} unit{'s' * (found.units > 1)} of {found.clips} clip{'s' * (found.clips > 1)}"
    lines = [f"{counted}, {people}; in brackets: 95 % intervals; –: can't be told"]
    lines.append(f"accuracy         {found.accuracy}")
    lines.append(f"Cohen's κ        {found.kappa}")
    lines.append(f"Krippendorff's α {found.alpha}")
    width = max(map(len, found.labels), default=8)
    lines.append("")
    lines.append("people \\ ours".ljust(width + 6) + "  ".join(label.rjust(8) for label in found.labels))
    for label, row in zip(found.labels, found.confusion, strict=True):
        lines.append(label.ljust(width + 6) + "  ".join(str(count).rjust(8) for count in row))
    for name, share in sorted(found.by.get(by or "", {}).items()):
        lines.append(f"{by} {name}: accuracy {share:.3f}")
    if found.mcnemar is not None:
        test = found.mcnemar
        lines.append("")
        lines.append(f"accuracy of {against}: {found.other}")
        lines.append(
            f"right only here: {test.only_first}, only there: {test.only_second}; McNemar's exact p = {test.p:.3g}"
        )
    return lines


def _draw(path: Path, found: Agreement) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axis = figure.subplots()
    rows = [[count / (sum(row) or 1) for count in row] for row in found.confusion]
    axis.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(found.labels)), found.labels, rotation=45, ha="right")
    axis.set_yticks(range(len(found.labels)), found.labels)
    axis.set_xlabel("ours")
    axis.set_ylabel("people")
    for y, row in enumerate(found.confusion):
        for x, count in enumerate(row):
            axis.text(x, y, str(count), ha="center", va="center", color="white" if rows[y][x] > 0.5 else "black")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise SourceError(f"{path} can't be written: {error.strerror}") from error
    except ValueError as error:  # an ending that is no picture's
        raise SourceError(f"{path} can't be written: {error}") from error
