"""The command `bimodal export`: converts foreign models to artifacts. Heavy imports wait until a command runs."""

from __future__ import annotations

import re
import tempfile
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import yaml
from rich.console import Console
from rich.table import Table

from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description, describe, merge, presets, read_description, read_preset
from bimodal.extras import require
from bimodal.models.commands import one_sentence, say

EXTRA = "convert"
CALIBRATION = 100
WORTH_IT = 1.1

# Flags that several commands share.
Source = Annotated[Path, typer.Argument(help="The file to export.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Folder under which <name>/model.onnx is written.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file with the description; see docs/export-onnx.md.")]
Preset = Annotated[str | None, typer.Option(help="A description that ships; see --list-presets.")]
Name = Annotated[str | None, typer.Option(help="Name of the artifact, and of its folder.")]
Version = Annotated[str | None, typer.Option(help="Version of the artifact.")]
Labels = Annotated[
    str | None,
    typer.Option(help="Classes in the order of the output, with commas between; word=happy says what one means."),
]
License = Annotated[str | None, typer.Option(help="Licence of the weights, in words.")]
Origin = Annotated[str | None, typer.Option(help="Where the weights come from, in words.")]
Crop = Annotated[
    str | None,
    typer.Option(help="How faces are cut out: 'scale=1.1 shift_y=-0.05 rotate=false', from the mesh's box."),
]
Temperature = Annotated[float | None, typer.Option(help="Logits are divided by this before the softmax.")]
Picture = Annotated[list[Path] | None, typer.Option(help="A picture with a face, for parity too. May be repeated.")]
Sound = Annotated[list[Path] | None, typer.Option(help="A sound file, for parity too. May be repeated.")]
MaxSize = Annotated[int, typer.Option(help="Larger files (MB, with external data) are not read.", min=1, max=2000)]


class Kind(StrEnum):
    """Kinds of artifacts that foreign models can become."""

    FACE_DETECTOR = "face-detector"
    FACE_LANDMARKS = "face-landmarks"
    FACE_STATIC = "face-static"
    FACE_DYNAMIC = "face-dynamic"
    SPEECH = "speech"
    VOICE_ACTIVITY = "voice-activity"


class Colour(StrEnum):
    """Order of a network's channels."""

    RGB = "rgb"
    BGR = "bgr"
    GREY = "grey"


class ScoresName(StrEnum):
    """What the numbers of an output are."""

    SOFTMAX = "softmax"
    LOGITS = "logits"
    SIGMOID = "sigmoid"
    PERCENT = "percent"


class Layout(StrEnum):
    """Position of a network's channel axis."""

    NCHW = "nchw"
    NHWC = "nhwc"


KindFlag = Annotated[Kind | None, typer.Option("--kind", help="What it becomes.")]
ColourFlag = Annotated[Colour | None, typer.Option("--colour", help="Channels the network wants.")]
LayoutFlag = Annotated[Layout | None, typer.Option("--layout", help="Channels before or behind rows and columns.")]
Scale = Annotated[float | None, typer.Option(help="Pixels (0…255) are multiplied by this first.")]
Offset = Annotated[float | None, typer.Option(help="Then this is added.")]
Mean = Annotated[str | None, typer.Option(help="Then this is subtracted: one number, or one a channel with commas.")]
Deviation = Annotated[str | None, typer.Option(help="Then divided by this: one number, or one a channel.")]
Size = Annotated[
    int | None, typer.Option(help="Side of the face crops, where the graph does not fix it.", min=8, max=2048)
]
SampleRate = Annotated[int | None, typer.Option(help="Hz of the waveform.")]
Window = Annotated[float | None, typer.Option(help="Longest stretch it sees, in seconds.")]
MinimumWindow = Annotated[float | None, typer.Option(help="Shortest stretch it hears, in seconds.")]
Interval = Annotated[float | None, typer.Option(help="Seconds between two steps (face-dynamic) or hops (speech).")]
Normalise = Annotated[bool | None, typer.Option(help="Every waveform to mean 0 and variance 1.")]
Logits = Annotated[
    bool | None, typer.Option("--logits/--probabilities", help="Short for --scores logits and --scores softmax.")
]
ScoresFlag = Annotated[
    ScoresName | None,
    typer.Option("--scores", help="What the output's numbers are; found out from examples where left out."),
]
Independent = Annotated[
    bool | None, typer.Option("--independent", help="Keep scores of a sigmoid too, in the output 'scores'.")
]
FeedFlag = Annotated[
    list[str] | None,
    typer.Option("--feed", help="What a further input gets: NAME=length, =ones, =zeros or a number. May be repeated."),
]
AffectFlag = Annotated[
    str | None,
    typer.Option("--affect", help="Output, or columns such as 8,9, with valence and arousal; none drops them."),
]
Categories = Annotated[
    str | None, typer.Option(help="Classes that are kept by name though none of the seven, with commas between.")
]
Gain = Annotated[float | None, typer.Option(help="What a sample of 1.0 is for the network, such as 32768.")]
Take = Annotated[int | None, typer.Option(help="So many columns of the output are classes, from the first.", min=1)]
Input = Annotated[str | None, typer.Option("--input", help="Name of the foreign input, where it has several.")]
Output = Annotated[str | None, typer.Option(help="Name of the foreign output with classes; its first otherwise.")]
Embedding = Annotated[str | None, typer.Option(help="Name of a tensor that becomes the embedding.")]
Space = Annotated[str | None, typer.Option(help="Which network's embeddings it takes or gives, as name@version.")]
Wheel = Annotated[Path | None, typer.Option(help="The wheel, if you have it; otherwise pip downloads it.")]


class Network(StrEnum):
    """Networks known by name; see export/torch/architectures.py."""

    EMO_AFFECTNET = "emo-affectnet"
    EMO_AFFECTNET_DYNAMIC = "emo-affectnet-dynamic"
    FACE_COMPACT = "face-compact"
    SPEECH_COMPACT = "speech-compact"
    TORCHSCRIPT = "torchscript"


app = typer.Typer(no_args_is_help=True, add_completion=False, help="Turn foreign models into artifacts.")


@app.command()
def mediapipe(
    out: Out = Path("models"),
    wheel: Wheel = None,
    tflite_dir: Annotated[
        Path | None, typer.Option(help="A folder with the two .tflite files, instead of the wheel.")
    ] = None,
    task: Annotated[
        Path | None,
        typer.Option(help="face_landmarker.task: convert its mesh with irises and its blendshapes instead."),
    ] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="A picture with a face, to measure parity on too. May be repeated.")
    ] = None,
) -> None:
    """Convert MediaPipe's face detector and face mesh, out of the wheel mediapipe==0.10.21 (which is never installed);
    or, with --task, the mesh with irises and the blendshapes of face_landmarker.task.

    Example: bimodal export mediapipe --out my-models
    """
    with one_sentence():
        require("export mediapipe", EXTRA, "onnx", "tensorflow", "tf2onnx", "ai_edge_litert")
        from bimodal.export.pretrained.adopt import adopt_face_landmarker, adopt_mediapipe
        from bimodal.export.real_inputs import read_picture

        pictures = [read_picture(path) for path in picture or []]
        if task is not None:
            adopt_face_landmarker(task, out, say, pictures=pictures)
            return
        adopt_mediapipe(out, say, wheel=wheel, tflite_dir=tflite_dir, pictures=pictures)


@app.command()
def silero(out: Out = Path("models"), wheel: Wheel = None) -> None:
    """Convert Silero's voice-activity network for 16 kHz, out of the wheel silero-vad (which is never installed).

    Example: bimodal export silero --out my-models
    """
    with one_sentence():
        require("export silero", EXTRA, "onnx")
        from bimodal.export.pretrained.adopt import adopt_silero

        adopt_silero(out, say, wheel=wheel)


@app.command("face-api")
def face_api(
    out: Out = Path("models"),
    folder: Annotated[
        Path | None, typer.Option(help="A folder with face_expression_model.bin and its manifest, already unpacked.")
    ] = None,
    package: Annotated[
        Path | None, typer.Option(help="The npm package @vladmandic/face-api 1.7.15 as .tgz; otherwise it is fetched.")
    ] = None,
    picture: Picture = None,
) -> None:
    """Convert face-api.js's expression network, out of the npm package @vladmandic/face-api (which is never installed).

    Example: bimodal export face-api --out my-models
    """
    with one_sentence():
        require("export face-api", EXTRA, "onnx", "torch", "onnxslim")
        from bimodal.export.pretrained.face_api import export_face_api

        export_face_api(out, say, folder=folder, package=package, pictures=picture or [])


@app.command()
def yunet(
    file: Annotated[Path, typer.Argument(help="yunet_n_dynamic.onnx, yunet_s_dynamic.onnx or another YuNet file.")],
    out: Out = Path("models"),
    name: Name = None,
    version: Version = None,
    picture: Picture = None,
) -> None:
    """Convert a YuNet face detector of github.com/ShiqiYu/libfacedetection.train, for pictures of any size.

    Example: bimodal export yunet yunet_n_dynamic.onnx --out my-models
    """
    with one_sentence():
        require("export yunet", EXTRA, "onnx")
        from bimodal.export.onnx.convert import export_onnx

        short = re.match(r"yunet_[a-z0-9]+", file.stem)
        given = name or (short[0] if short else file.stem).replace("_", "-")
        description = description_of("yunet", None, {"name": given, "version": version or "0047ac24"})
        export_onnx(file, description, out, say, pictures=picture or [])


@app.command()
def torch(
    file: Source,
    architecture: Annotated[
        Network | None, typer.Option(help="Whose weights these are; a file that holds its whole network needs none.")
    ] = None,
    out: Out = Path("models"),
    name: Name = None,
    version: Version = None,
    labels: Labels = None,
    license: License = None,
    source: Origin = None,
    crop: Crop = None,
    temperature: Temperature = None,
    picture: Picture = None,
    sound: Sound = None,
    preset: Preset = None,
    config: Config = None,
    size: Size = None,
    max_size: MaxSize = 500,
) -> None:
    """PyTorch weights (.pt, .pth, .safetensors) of a known network, or any TorchScript or torch.export file (.pt2).

    The latter are described as for 'bimodal export onnx'.

    Example: bimodal export torch FER_static_ResNet50_AffectNet.pt --architecture emo-affectnet
    """
    with one_sentence():
        require("export torch", EXTRA, "torch", "onnx", "onnxscript", "onnxslim", "librosa", "safetensors")
        own = {
            "name": name, "version": version, "labels": words(labels), "license": license, "source": source,
            "crop": crop, "temperature": temperature, "size": size,
        }  # fmt: skip
        description = description_of(preset, config, own)
        pictures, sounds = picture or [], sound or []
        from bimodal.models.formats import is_program, is_torchscript

        whole = architecture is None and (is_torchscript(file) or is_program(file))
        if architecture is Network.TORCHSCRIPT or whole:
            from bimodal.export.torch.torchscript import export_torchscript

            export_torchscript(file, description, out, say, largest_mb=max_size, pictures=pictures, sounds=sounds)
            return
        if architecture is None:
            from bimodal.export.torch.architectures import read_state_dict

            read_state_dict(file)  # says what else it is, where it is no weights
            known = ", ".join(name for name in Network if name != Network.TORCHSCRIPT)
            raise SourceModelError(
                f"{file} holds weights, not the network they belong to: say whose they are with --architecture "
                f"({known}), or "
                "save the whole network (torch.onnx.export, torch.export.save or torch.jit.save) and export that file"
            )
        if preset or config or size:
            raise SourceModelError(
                f"--preset, --config and --size describe a torchscript file; {architecture} is known"
            )
        from bimodal.export.torch.convert import export_torch

        export_torch(file, architecture, out, say, description=description, pictures=pictures, sounds=sounds)


@app.command()
def onnx(
    file: Annotated[Path | None, typer.Argument(help="The .onnx file.", show_default=False)] = None,
    preset: Preset = None,
    config: Config = None,
    out: Out = Path("models"),
    kind: KindFlag = None,
    name: Name = None,
    version: Version = None,
    labels: Labels = None,
    license: License = None,
    source: Origin = None,
    crop: Crop = None,
    size: Size = None,
    colour: ColourFlag = None,
    layout: LayoutFlag = None,
    scale: Scale = None,
    offset: Offset = None,
    mean: Mean = None,
    deviation: Deviation = None,
    scores: ScoresFlag = None,
    logits: Logits = None,
    independent: Independent = None,
    temperature: Temperature = None,
    take: Take = None,
    categories: Categories = None,
    input_name: Input = None,
    feed: FeedFlag = None,
    output: Output = None,
    embedding: Embedding = None,
    affect: AffectFlag = None,
    presence: Annotated[
        str | None, typer.Option(help="Output of a landmark network that says whether there is a face.")
    ] = None,
    embedding_space: Space = None,
    sample_rate: SampleRate = None,
    window: Window = None,
    minimum_window: MinimumWindow = None,
    interval: Interval = None,
    normalise: Normalise = None,
    gain: Gain = None,
    picture: Picture = None,
    sound: Sound = None,
    max_size: MaxSize = 500,
    list_presets: Annotated[bool, typer.Option("--list-presets", help="Print the presets and end.")] = False,
) -> None:
    """Someone else's ONNX file, with its preprocessing put inside: described by a preset, a YAML file, or flags.

    TorchScript, torch.export (.pt2) and TensorFlow Lite files are taken, too, with the same description.

    Example: bimodal export onnx enet_b0_8_best_vgaf.onnx --preset hsemotion-8 --name hsemotion
    """
    with one_sentence():
        if list_presets:
            typer.echo("\n".join(presets()))
            return
        if file is None:
            raise SourceModelError("name the file to export: bimodal export onnx FILE --preset NAME")
        require("export onnx", EXTRA, "onnx")
        from bimodal.export.formats import convert

        description = description_of(
            preset,
            config,
            {
                "kind": kind, "name": name, "version": version, "labels": words(labels), "license": license,
                "source": source, "crop": crop, "size": size, "colour": colour, "layout": layout, "scale": scale,
                "offset": offset, "mean": numbers(mean, "--mean"), "deviation": numbers(deviation, "--deviation"),
                "scores": _scores(scores, logits), "independent": independent, "temperature": temperature, "take": take,
                "categories": words(categories), "input": input_name, "feed": feed or None, "output": output,
                "embedding": embedding, "affect": affect, "presence": presence, "gain": gain,
                "embedding_space": embedding_space,
                "sample_rate": sample_rate,
                "window_s": window, "minimum_window_s": minimum_window, "interval_s": interval,
                "normalise": normalise,
            },
        )  # fmt: skip
        convert(file, description, out, say, largest_mb=max_size, pictures=picture or [], sounds=sound or [])


@app.command()
def auto(
    file: Source,
    out: Out = Path("models"),
    picture_out: Annotated[Path, typer.Option("--draw", help="Where the picture of its answers is written.")] = Path(
        "auto.png"
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write it without asking.")] = False,
    kind: KindFlag = None,
    name: Name = None,
    labels: Labels = None,
    categories: Categories = None,
    license: License = None,
    source: Origin = None,
    colour: ColourFlag = None,
    layout: LayoutFlag = None,
    scale: Scale = None,
    offset: Offset = None,
    mean: Mean = None,
    deviation: Deviation = None,
    size: Size = None,
    scores: ScoresFlag = None,
    sample_rate: SampleRate = None,
    window: Window = None,
    interval: Interval = None,
    embedding_space: Space = None,
    picture: Picture = None,
    sound: Sound = None,
) -> None:
    """Adopt a file as it looks: find out what it is, try it on five examples, draw its answers, ask, and write it.

    What it does not say is tried in the usual forms; flags say it. 'bimodal models inspect' only looks.

    Example: bimodal export auto theirs.onnx --labels angry,happy,sad,neutral
    """
    with one_sentence():
        require("export auto", EXTRA, "onnx")
        from bimodal.export.auto import export_auto

        given = description_of(
            None,
            None,
            {
                "kind": kind, "name": name, "labels": words(labels), "categories": words(categories),
                "license": license, "source": source, "colour": colour, "layout": layout, "scale": scale,
                "offset": offset, "size": size,
                "mean": numbers(mean, "--mean"), "deviation": numbers(deviation, "--deviation"),
                "scores": _scores(scores, None), "sample_rate": sample_rate, "window_s": window, "interval_s": interval,
                "embedding_space": embedding_space,
            },
        )  # fmt: skip
        made = export_auto(
            file,
            given,
            out,
            say,
            picture=picture_out,
            agree=lambda: yes or typer.confirm("Write it?"),
            pictures=picture or [],
            sounds=sound or [],
        )
    if made is None:
        typer.echo("nothing was written")


@app.command()
def keras(
    file: Annotated[Path, typer.Argument(help="A .h5, .hdf5 or .keras file, or the folder of a SavedModel.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="What stands before a published network: mini-xception, ser-352x15, seed-mel15 or conv1d-216."
        ),
    ] = None,
    frontend: Annotated[
        Path | None, typer.Option(help="A YAML file that describes it instead; see docs/export-keras.md.")
    ] = None,
    name: Name = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Classes in the order of the output, with commas between; equal ones are added up."),
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="A YAML file with the layers, for a file that holds weights only.")
    ] = None,
    scores: ScoresFlag = None,
    logits: Logits = None,
    categories: Categories = None,
    output: Output = None,
    out: Out = Path("models"),
    version: Version = None,
    license: License = None,
    source: Origin = None,
    picture: Picture = None,
    sound: Sound = None,
    tolerance: Annotated[
        float, typer.Option(help="How far a probability may lie from the original's.", min=0, max=0.1)
    ] = 1e-4,
) -> None:
    """A Keras network of your own or of others, with its preprocessing inside the graph.

    The file is looked at first, and then opened in a process of its own: a Lambda layer or a custom object is refused
    by name. The artifact is only written if it answers as Keras does.

    Example: bimodal export keras fer2013_mini_XCEPTION.102-0.66.hdf5 --preset mini-xception --picture me.jpg
    """
    with one_sentence():
        require("export keras", EXTRA, "keras", "tensorflow", "tf2onnx", "h5py", "onnx", "librosa")
        from bimodal.export.keras.convert import export_keras
        from bimodal.export.keras.file import read_architecture
        from bimodal.export.keras.recipe import read_preset, read_recipe, with_words

        if (preset is None) == (frontend is None):
            raise SourceModelError("say what stands before the network: either --preset or --frontend")
        recipe = with_words(
            read_recipe(frontend) if frontend is not None else read_preset(preset or ""),
            labels=None if labels is None else tuple(label.strip() for label in labels.split(",")),
            license=license,
            source=source,
            scores=_scores(scores, logits),
            categories=None if categories is None else tuple(words(categories) or ()),
            output=output,
            architecture=None if architecture is None else read_architecture(architecture),
        )
        export_keras(
            file,
            recipe,
            name or preset or file.stem,
            out,
            say,
            version=version or "1",
            real=[*(picture or ()), *(sound or ())],
            tolerance=tolerance,
        )


@app.command()
def quantize(
    model: Annotated[str, typer.Argument(help="A name of 'bimodal models list', or an .onnx artifact.")],
    data: Annotated[Path, typer.Option(help="Pictures of faces, sounds or embeddings; a folder a label, if you can.")],
    limit: Annotated[int, typer.Option(min=1, help="Measure on at most so many of them.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder under which <name>-int8/model.onnx is written.")] = None,
    most_loss: Annotated[float, typer.Option(min=0.0, help="Points of accuracy that it may lose.")] = 1.0,
    install: Annotated[bool, typer.Option("--install", help="Put it into your own model folder.")] = False,
    reduce_range: Annotated[
        bool | None,
        typer.Option("--reduce-range/--full-range", help="7-bit weights, for CPUs without VNNI. Default: as this CPU."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Make an artifact's INT8 twin, and say what it gains and loses against the original, side by side.

    A part of the data calibrates, the rest measures. Nothing is written or installed where more accuracy is lost than
    --most-loss. Without --out and --install it only measures.

    Example: bimodal export quantize emo-affectnet --data FACES --install
    """
    with one_sentence():
        require("export quantize", EXTRA, "onnx", "onnxslim")
        from bimodal.export.quantize.quantize import make

        with tempfile.TemporaryDirectory() as scratch:
            made = make(model, data, Path(scratch), limit=limit, calibration=CALIBRATION, reduce_range=reduce_range)
            _show(made.report, as_json)
            places = made.place(most_loss, out=out, install_it=install)
    for place in places:
        typer.echo(f"wrote {place}", err=as_json)
    if not places:
        typer.echo("nothing was written: add --install or --out", err=True)


def _show(report: object, as_json: bool) -> None:
    from bimodal.export.quantize.report import Report, rows

    assert isinstance(report, Report)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return
    table = Table("", "fp32", "INT8", title=report.name)
    for row in rows(report):
        table.add_row(*row)
    Console().print(table)
    typer.echo(
        f"measured on {report.examples} inputs ({report.labelled} with a label), calibrated on {report.calibrated_on} "
        f"others, weights of {7 if report.reduce_range else 8} bits"
    )
    if report.speedup < WORTH_IT:
        typer.echo("it is hardly faster: keep the original")


def _scores(scores: ScoresName | None, logits: bool | None) -> str | None:
    """What the numbers are, by --scores or its short forms. Raises SourceModelError if both are given."""
    if logits is None:
        return None if scores is None else scores.value
    if scores is not None:
        raise SourceModelError("say --scores, or its short form --logits or --probabilities, but not both")
    return "logits" if logits else "softmax"


PIXEL_FLAGS = ("colour", "layout", "scale", "offset", "mean", "deviation")


def description_of(preset: str | None, config: Path | None, flags: dict[str, Any]) -> Description:
    """Merge the descriptions of preset, file and flags, later ones over earlier ones.

    Raises SourceModelError if one of them is wrong.
    """
    parts = [read_preset(preset)] if preset else []
    parts += [read_description(config)] if config else []
    before = merge(*parts)
    return merge(before, describe(_fields(flags, before), "the command line"))


def words(text: str | None) -> list[str] | None:
    """Split at commas: `a, b,c` → ["a", "b", "c"]."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str | None, flag: str) -> list[float] | None:
    """Parse numbers: `0.5,0.25` → [0.5, 0.25]. Raises SourceModelError, naming `flag`."""
    if text is None:
        return None
    try:
        return [float(word) for word in words(text) or []]
    except ValueError as error:
        raise SourceModelError(f"{flag} takes numbers with commas between, not '{text}'") from error


def _fields(flags: dict[str, Any], before: Description) -> dict[str, Any]:
    """Convert flags to fields; each flag on pixels replaces one field of the `pixels` given before."""
    fields = {
        name: value.value if isinstance(value, Enum) else value for name, value in flags.items() if value is not None
    }
    pixels = {name: fields.pop(name) for name in PIXEL_FLAGS if name in fields}
    if pixels:
        known = {} if before.pixels is None else {name: getattr(before.pixels, name) for name in PIXEL_FLAGS}
        fields["pixels"] = {**known, **pixels}
    if "crop" in fields:
        fields["crop"] = _crop(fields["crop"])
    return fields


def _crop(text: str) -> dict[str, Any]:
    """Parse `scale=1.1 shift_y=-0.05 rotate=false`."""
    try:
        pairs = [word.split("=") for word in text.replace(",", " ").split()]
        return {name: yaml.safe_load(value) for name, value in pairs}
    except (ValueError, yaml.YAMLError) as error:
        raise SourceModelError(f"--crop takes 'scale=1.1 shift_y=-0.05 rotate=false', not '{text}'") from error
