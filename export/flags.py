"""Flags that several export commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[Path, typer.Argument(help="The file to export.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Folder under which <name>/model.onnx is written.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file with the description; see docs/export-onnx.md.")]
Preset = Annotated[str | None, typer.Option(help="A description that ships; see --list-presets.")]
Name = Annotated[str | None, typer.Option(help="Name of the artifact, and of its folder.")]
Version = Annotated[str | None, typer.Option(help="Version of the artifact.")]
Labels = Annotated[str | None, typer.Option(help="Classes in the order of the output, with commas between.")]
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
    """What a foreign model can become."""

    FACE_STATIC = "face-static"
    FACE_DYNAMIC = "face-dynamic"
    SPEECH = "speech"


class Colour(StrEnum):
    """Order of a network's channels."""

    RGB = "rgb"
    BGR = "bgr"
    GREY = "grey"


class Layout(StrEnum):
    """Where a network has its channels."""

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
Logits = Annotated[bool | None, typer.Option("--logits/--probabilities", help="Whether a softmax is still needed.")]
Take = Annotated[int | None, typer.Option(help="So many columns of the output are classes, from the first.", min=1)]
Input = Annotated[str | None, typer.Option("--input", help="Name of the foreign input, where it has several.")]
Output = Annotated[str | None, typer.Option(help="Name of the foreign output with classes; its first otherwise.")]
Embedding = Annotated[str | None, typer.Option(help="Name of a tensor that becomes the embedding.")]
Space = Annotated[str | None, typer.Option(help="Which network's embeddings it takes or gives, as name@version.")]
