"""`bimodal export keras`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bimodal.export import flags
from bimodal.export.one_sentence import one_sentence


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
    name: flags.Name = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Classes in the order of the output, with commas between; equal ones are added up."),
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="A YAML file with the layers, for a file that holds weights only.")
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="The network's output still needs a softmax.")] = False,
    out: flags.Out = Path("models"),
    version: flags.Version = None,
    license: flags.License = None,
    source: flags.Origin = None,
    picture: flags.Picture = None,
    sound: flags.Sound = None,
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
        from bimodal.export.errors import SourceModelError
        from bimodal.export.from_keras import export_keras
        from bimodal.export.keras_architecture import read_architecture
        from bimodal.export.keras_recipe import read_preset, read_recipe, with_words

        if (preset is None) == (frontend is None):
            raise SourceModelError("say what stands before the network: either --preset or --frontend")
        recipe = with_words(
            read_recipe(frontend) if frontend is not None else read_preset(preset or ""),
            labels=None if labels is None else tuple(label.strip() for label in labels.split(",")),
            license=license,
            source=source,
            logits=logits or None,
            architecture=None if architecture is None else read_architecture(architecture),
        )
        export_keras(
            file,
            recipe,
            name or preset or file.stem,
            out,
            typer.echo,
            version=version or "1",
            real=[*(picture or ()), *(sound or ())],
            tolerance=tolerance,
        )
