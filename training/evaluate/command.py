"""The command `bimodal evaluate`. Heavy imports wait until a command runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bimodal.extras import require
from bimodal.training.commands import EXTRA, one_sentence_errors
from bimodal.training.errors import TrainingError

if TYPE_CHECKING:
    from bimodal.models.contract import Crop
    from bimodal.training.evaluate.evaluate import Evaluation
    from bimodal.training.face.framing import Comparison
evaluate = typer.Typer(help="Measure an artifact on labelled data, as it runs live.", no_args_is_help=True)


class Labels(StrEnum):
    """Choice of labels in a data set with two."""

    AUTO = "auto"
    FERPLUS = "ferplus"
    FER2013 = "fer2013"


Data = Annotated[Path, typer.Option("--data", help="Folder of the data set, in any form of `bimodal data list`.")]
WhichLabels = Annotated[Labels, typer.Option(help="auto: the FER+ majority where there are votes.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Runs = Annotated[
    Path | None, typer.Option("--config", help="A config.yaml: its models, weights and emotions; else the default's.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for report.html and its pictures.")]


@evaluate.command("face")
def evaluate_face(
    data: Data,
    model: Annotated[
        str | None, typer.Option("--model", help="Name or path, or several with commas; else the config's.")
    ] = None,
    config: Runs = None,
    split: Annotated[str, typer.Option(help="train, valid, test, all, or a name of the data set's own.")] = "valid",
    labels: WhichLabels = Labels.AUTO,
    conditions: Annotated[
        bool, typer.Option("--conditions", help="Also in the dark, blurred, covered, small, compressed and tinted.")
    ] = False,
    cut_live: Annotated[
        bool, typer.Option("--cut-live", help="Let detector, mesh and crop cut out the pictures first, as live.")
    ] = False,
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure a face-static model, or several that become one as the config says, on labelled pictures.

    Example: bimodal evaluate face --data FER2013 --split valid
    """
    with one_sentence_errors():
        _require_report("face", out)
        from bimodal.training.evaluate.evaluate import evaluate_face as measure_face
        from bimodal.training.evaluate.evaluate import find_model
        from bimodal.training.evaluate.face_conditions import CONDITIONS
        from bimodal.training.evaluate.running import running
        from bimodal.training.face.framing import evaluate_cut_live

        chosen = running("face-static", config, model)
        paths = [find_model(name) for name in chosen.models]
        if cut_live and (len(paths) > 1 or conditions):
            raise TrainingError("--cut-live measures one model, and not under --conditions")
        if cut_live:
            print_evaluation(evaluate_cut_live(paths[0], data, split, labels.value, chosen.among), out, json)
        else:
            under = tuple(CONDITIONS) if conditions else ()
            found = measure_face(paths, data, split, labels.value, under, chosen.among, chosen.joined)
            print_evaluation(found, out, json)


@evaluate.command("crop")
def evaluate_crop(
    data: Data,
    model: Annotated[
        str | None, typer.Option("--model", help="Name or path; else the config's, else face-compact.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A config.yaml: its face-static model and emotions.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of the pictures.")] = "valid",
    labels: WhichLabels = Labels.AUTO,
    clips: Annotated[
        Path | None, typer.Option(help="Videos whose names say the emotion (MEAD, RAVDESS, CREMA-D), and GRID's.")
    ] = None,
    crop_scale: Annotated[str, typer.Option(help="Other scales to try, as in '1.0,1.3,1.6'.")] = "0.8,1.0,1.3,1.6,2.0",
) -> None:
    """Show what another crop than the model's own costs: pictures and clips cut out live in several ways.

    Example: bimodal evaluate crop --model face-compact --data FER2013 --clips videos
    """
    with one_sentence_errors():
        from bimodal.training.evaluate.evaluate import find_model
        from bimodal.training.evaluate.running import emotions_of_config, single
        from bimodal.training.face.framing import compare_crops

        path, among = find_model(single("face-static", config, model, "face-compact")), emotions_of_config(config)
        found = compare_crops(path, data, split, labels.value, clips, scales_of(crop_scale), among)
        typer.echo(
            f"{found.model} on {found.data}, cut out as live: a face is found in {found.share:.1%} of the pictures, "
            "and only those count"
        )
        for line in crop_table(found):
            typer.echo(line)


@evaluate.command("detection")
def evaluate_detection(
    faces: Annotated[
        Path | None, typer.Option(help="Clips, or pictures of 48×48 as in FER2013, whose faces are put into pictures.")
    ] = None,
    wider: Annotated[
        Path | None, typer.Option(help="Annotations in WIDER Face's form, such as wider_face_val_bbx_gt.txt.")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="The folder that the paths of --wider begin in.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A detector by name or path. May be repeated.")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="A detector of others, as in opencv=FILE, mediapipe=FILE, haar=FILE. May be repeated."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Composed pictures of each condition.")] = 25,
    blank: Annotated[int, typer.Option("--empty", min=0, help="Pictures without a face.")] = 100,
    min_size: Annotated[int, typer.Option(min=1, help="As face.min_size in config.yaml.")] = 24,
    draw: Annotated[Path | None, typer.Option(help="Write a composed picture with what the first model finds.")] = None,
    json: Json = None,
) -> None:
    """Measure face detection: recall by size, turn, light, blur and number of faces, and false positives.

    Example: bimodal evaluate detection --faces videos --model yunet-n --model blazeface-short
    """
    with one_sentence_errors():
        import msgspec

        from bimodal.training.evaluate import detection

        finders = detection.finders_of(model or ["yunet-n"], peer or [], min_size)
        if draw is not None:
            if faces is None:
                raise TrainingError("--draw needs --faces: whose faces to put into the picture")
            detection.draw(next(iter(finders.values())), detection.cutouts_of(faces), draw)
        for line in detection.table(
            found := detection.evaluate(finders, faces, (wider, pictures), count=count, blank=blank)
        ):
            typer.echo(line)
        if json is not None:
            json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))


@evaluate.command("speech")
def evaluate_speech(
    data: Data,
    model: Annotated[
        str | None, typer.Option("--model", help="Name or path, or several with commas; else the config's.")
    ] = None,
    config: Runs = None,
    split: Annotated[str, typer.Option(help="'all', actors as in '1-4,9', or train, valid, test.")] = "all",
    conditions: Annotated[
        bool, typer.Option("--conditions", help="Also with other gains, noise, sources of other rates and a room.")
    ] = False,
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure a speech model, or several that become one as the config says, on labelled speech.

    Example: bimodal evaluate speech --data RAVDESS
    """
    with one_sentence_errors():
        _require_report("speech", out)
        if conditions:
            require("evaluate speech --conditions", EXTRA, "scipy")
        from bimodal.training.evaluate.conditions import CONDITIONS
        from bimodal.training.evaluate.evaluate import find_model
        from bimodal.training.evaluate.running import running
        from bimodal.training.evaluate.speech import evaluate_speech as measure_speech

        chosen = running("speech", config, model)
        paths = [find_model(name) for name in chosen.models]
        actors, part = split_words(split)
        under = tuple(CONDITIONS) if conditions else ()
        found = measure_speech(paths, data, actors, part, under, chosen.among, chosen.joined)
        print_evaluation(found, out, json)


@evaluate.command("fusion")
def evaluate_fusion(
    data: Annotated[Path, typer.Option("--data", help="A folder with pairs.csv, or a prepared video tree.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Name or path of a fusion model, or worth, average or product; else as the config fuses."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="A config.yaml: its emotions, models, strategy and weights; else the default's."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of the pairs (train, test) or of the videos (train, valid).")] = "test",
    face: Annotated[
        str | None, typer.Option(help="For videos: face-static models, with commas; else the config's.")
    ] = None,
    speech: Annotated[
        str | None, typer.Option(help="For videos: speech models, with commas; else the config's.")
    ] = None,
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure how a config fuses faces and speech, or a fusion model, beside each modality alone and the strategies.

    Example: bimodal evaluate fusion --model fusion-learned --data runs/fusion-learned/pairs
    """
    with one_sentence_errors():
        _require_report("fusion", out)
        from bimodal.training.evaluate.evaluate import find_model
        from bimodal.training.evaluate.running import fusing, running
        from bimodal.training.fusion import evaluate as measuring

        chosen = fusing(config)
        name = model or chosen.model
        path = name if name in measuring.STRATEGIES else find_model(name)
        sides = None
        if not measuring.is_table(data):
            sides = (running("face-static", config, face), running("speech", config, speech))
        found = measuring.evaluate_fusion(path, data, split, sides, chosen.weights, chosen.among)
        print_evaluation(found, out, json)


@evaluate.command("clips")
def evaluate_clips(
    folder: Annotated[Path, typer.Argument(help="Videos whose names, or a manifest.csv, say the emotion.")],
    config: Annotated[Path | None, typer.Option(help="config.yaml for the pipeline.")] = None,
    out: Out = None,
    json: Json = None,
) -> None:
    """Run the whole pipeline on labelled videos: video alone, speech alone and fused, side by side.

    Example: bimodal evaluate clips videos --out report
    """
    with one_sentence_errors():
        _require_report("clips", out)
        from bimodal.training.evaluate.clips import evaluate_clips as measure_clips
        from bimodal.training.evaluate.report import figures_json, write_json, write_report

        evaluations, rows = measure_clips(folder, config)
        for row in rows:
            typer.echo("  ".join(f"{name} {value}" for name, value in row.items()))
        for found in evaluations:
            figures = found.figures
            typer.echo(
                f"{found.model}: n = {figures.n}, accuracy {figures.accuracy:.4f}  UAR {figures.uar:.4f}  macro F1 "
                f"{figures.macro_f1:.4f}  ECE {figures.ece:.4f}"
            )
            if found.seen_in_training:
                typer.echo(SEEN)
        if json is not None:
            ways = ("video", "speech", "fused")
            write_json(json, {way: figures_json(each) for way, each in zip(ways, evaluations, strict=True)})
        if out is not None:
            typer.echo(f"report: {write_report(out, f'Clips of {folder.name}', evaluations, rows)}")


@evaluate.command("tracks")
def evaluate_tracks(
    data: Annotated[
        Path | None, typer.Option(help="Clips or pictures of three people or more; by default the demo's portrait.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="config.yaml for the pipeline.")] = None,
    json: Json = None,
) -> None:
    """Who is who, on composed clips whose people are known: cuts, crossings, occlusion, leaves and returns.

    "right" is how many tracks are to be expected without an identity model: then a person who returns after a cut, or
    after a long time, counts again.

    Example: bimodal evaluate tracks --data ../shared/data/clips
    """
    with one_sentence_errors():
        from bimodal.training.evaluate.report import write_json
        from bimodal.training.evaluate.tracks import evaluate_tracks as measure_tracks
        from bimodal.training.evaluate.tracks import lines_of

        figures = measure_tracks(data, config)
        for line in lines_of(figures):
            typer.echo(line)
        if json is not None:
            write_json(json, {one.name: one._asdict() for one in figures})


@evaluate.command("everything")
def evaluate_everything(
    data: Annotated[Path, typer.Option("--data", help="A data set, or a folder of data sets.")],
    config: Runs = None,
    conditions: Annotated[
        bool, typer.Option("--conditions", help="Faces also under the conditions of 'face'.")
    ] = False,
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure what the config (else the default one) runs on every data set of a folder: one table, one page.

    Example: bimodal evaluate everything --data data --out report
    """
    with one_sentence_errors():
        _require_report("everything", out)
        from bimodal.training.evaluate.everything import evaluate_everything as measure_all
        from bimodal.training.evaluate.everything import markdown, table_rows
        from bimodal.training.evaluate.report import figures_json, write_json, write_report

        evaluations = measure_all(data, conditions, lambda line: typer.echo(line, err=True), config)
        rows = table_rows(evaluations)
        for line in markdown(rows):
            typer.echo(line)
        if json is not None:
            write_json(json, [{"data": each.data, **figures_json(each)} for each in evaluations])
        if out is not None:
            typer.echo(f"report: {write_report(out, f'Everything in {data.name}', evaluations, rows)}")


def _require_report(name: str, out: Path | None) -> None:
    """Check, before measuring, that a report can be drawn. Raises MissingPackageError."""
    if out is not None:
        require(f"evaluate {name} --out", EXTRA, "matplotlib")


def actors_of(split: str) -> tuple[int, ...] | None:
    """'all' → None; '1-4,9' → (1, 2, 3, 4, 9). Raises TrainingError for anything else."""
    if split == "all":
        return None
    actors: list[int] = []
    for part in split.split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if span is None:
            raise TrainingError(f"--split '{split}' must be 'all', a part of the data set, or actors as in '1-4,9'")
        actors.extend(range(int(span[1]), int(span[2] or span[1]) + 1))
    return tuple(actors)


def split_words(split: str) -> tuple[tuple[int, ...] | None, str | None]:
    """--split → (actors or None for all, part of the data set or None). Raises TrainingError as `actors_of`."""
    if re.fullmatch(r"[A-Za-z]\w*", split) and split != "all":
        return None, split
    return actors_of(split), None


def scales_of(words: str) -> tuple[float, ...]:
    """'1.0,1.3' → (1.0, 1.3). Raises TrainingError if these are not numbers above 0."""
    try:
        scales = tuple(float(word) for word in words.split(","))
    except ValueError as error:
        raise TrainingError(f"--crop-scale '{words}' must be numbers as in '1.0,1.3,1.6'") from error
    if not all(0 < scale < math.inf for scale in scales):
        raise TrainingError(f"--crop-scale '{words}' must be numbers above 0")
    return scales


# Printing evaluations.

SEEN = "the model was trained on some of this data: these are no figures to report"
ENOUGH = 50
"""Classes with fewer examples are left out of the mean recall, being too imprecise."""


def print_evaluation(evaluation: Evaluation, out: Path | None, json: Path | None) -> None:
    """Print an evaluation, and write the requested files."""
    from bimodal.training.evaluate.report import figures_json, write_json, write_report

    for line in lines_of(evaluation):
        typer.echo(line)
    if json is not None:
        write_json(json, figures_json(evaluation))
    if out is not None:
        typer.echo(f"report: {write_report(out, f'{evaluation.model} on {evaluation.data}', [evaluation])}")


def lines_of(evaluation: Evaluation) -> Iterator[str]:
    """Yield the printed lines of an evaluation."""
    from bimodal.training.evaluate.face_conditions import DEGRADED
    from bimodal.training.evaluate.metrics import mean_recall, per_class
    from bimodal.training.evaluate.report import degraded_uar

    figures = evaluation.figures
    yield f"{evaluation.model} on {evaluation.data}, n = {figures.n}: {evaluation.protocol}"
    if evaluation.seen_in_training:
        yield SEEN
    yield (
        f"accuracy {figures.accuracy:.4f}  UAR {figures.uar:.4f}  macro F1 {figures.macro_f1:.4f}  "
        f"ECE {figures.ece:.4f}  AURC {figures.aurc:.4f}"
    )
    for label, row in per_class(figures).items():
        yield f"  recall of {label:<9}{row['recall']:.3f}  ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']})"
    mean, classes = mean_recall(figures, ENOUGH)
    if 0 < len(classes) < len(per_class(figures)):
        yield f"mean recall of those with {ENOUGH} examples or more: {mean:.4f} ({', '.join(classes)})"
    for protocol, other in evaluation.further.items():
        yield f"{protocol} (n = {other.n}): accuracy {other.accuracy:.4f}  UAR {other.uar:.4f}"
    for name, seen in evaluation.under.items():
        yield (
            f"under {name}: accuracy {seen.accuracy:.4f}  UAR {seen.uar:.4f}  ECE {seen.ece:.4f}  AURC {seen.aurc:.4f}"
            + (f"  ECE with doubt {evaluation.doubted[name]:.4f}" if name in evaluation.doubted else "")
        )
    degraded = degraded_uar(evaluation)
    if degraded is not None:
        yield f"degraded faces, mean UAR under {', '.join(DEGRADED)}: {degraded:.4f}"
    for name, heard in () if evaluation.under else evaluation.conditions.items():
        yield f"centre windows under {name}: UAR {heard:.4f}"
    for name, group in evaluation.groups.items():
        yield f"{name} (n = {group.n}): accuracy {group.accuracy:.4f}  UAR {group.uar:.4f}  ECE {group.ece:.4f}"
    if evaluation.cost is not None:
        cost = evaluation.cost
        yield (
            f"{cost.milliseconds:.2f} ms of one core an answer to {'×'.join(map(str, cost.of))} values (median of "
            f"{cost.answers}, one at a time); {cost.megabytes:.2f} MB"
        )
    yield "confusion (rows true, columns found)"
    width = max(len(label) for label in figures.labels)
    for label, counts in zip(figures.labels, figures.confusion, strict=True):
        yield f"  {label:>{width}} " + " ".join(f"{count:5d}" for count in counts)


def crop_table(comparison: Comparison) -> Iterator[str]:
    """Yield a comparison of crops as a Markdown table."""
    groups = [f"{name}: frames right (n = {count})" for name, count in comparison.frames.items()]
    pictures = f"(n = {comparison.pictures:,})"
    yield "| " + " | ".join(["crop", f"accuracy {pictures}", f"UAR {pictures}", *groups]) + " |"
    yield "|---" * (3 + len(groups)) + "|"
    learnt = comparison.rows[0].crop
    for row in comparison.rows:
        figures = [row.accuracy, row.uar, *row.clips.values()]
        yield "| " + " | ".join([_words(row.crop, learnt), *(f"{100 * value:.1f} %" for value in figures)]) + " |"


def _words(crop: Crop, learnt: Crop) -> str:
    if crop == learnt:
        return f"as the model asks: {crop.scale} × the mesh's box, moved by {crop.shift_y}, " + _turned(crop)
    if crop.rotate != learnt.rotate:
        return _turned(crop)
    if crop.shift_y != learnt.shift_y:
        return f"moved by {crop.shift_y:g}"
    return f"{crop.scale:g} × the mesh's box"


def _turned(crop: Crop) -> str:
    return "eyes level" if crop.rotate else "not turned"
