"""`bimodal export keras`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from export.errors import ExportError, SourceModelError
from models.errors import ModelError


def keras(
    file: Annotated[Path, typer.Argument(help="A .h5, .hdf5 or .keras file, or the folder of a SavedModel.")],
    name: Annotated[str, typer.Option(help="What the artifact is called; it becomes a folder's name.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Front end and labels of a published network: mini-xception, ser-352x15, seed-mel15, conv1d-216."
        ),
    ] = None,
    frontend: Annotated[
        Path | None, typer.Option(help="A YAML file that describes the front end instead (see docs/export-keras.md).")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="The network's classes in output order, with commas; equal ones are added up.")
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="A YAML file with the layers, for a file that holds weights only.")
    ] = None,
    real: Annotated[
        list[Path] | None,
        typer.Option(help="A sound or a picture on which artifact and original are compared too. May be repeated."),
    ] = None,
    logits: Annotated[bool, typer.Option(help="The network's output still needs a softmax.")] = False,
    out: Annotated[Path, typer.Option(help="Folder under which <name>/model.onnx is written.")] = Path("models"),
    version: Annotated[str, typer.Option(help="Version of the artifact.")] = "1",
    license: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the weights come from.")] = None,
    tolerance: Annotated[float, typer.Option(help="What a probability may differ from the original's.")] = 1e-4,
) -> None:
    """A Keras network of your own or of others, with its preprocessing inside the graph.

    The file is looked at before anything opens it, and then opened in a process of its own: Lambda layers and custom
    objects are refused by name. The artifact is only written if it answers as Keras does.
    """
    try:
        from export.from_keras import export_keras
        from export.keras_architecture import read_architecture
        from export.keras_recipe import read_preset, read_recipe

        if (preset is None) == (frontend is None):
            raise SourceModelError("say what stands before the network: either --preset or --frontend")
        recipe = read_recipe(frontend) if frontend is not None else read_preset(preset or "")
        said = {
            "labels": tuple(label.strip() for label in labels.split(",")) if labels else None,
            "license": license,
            "source": source,
            "logits": logits or None,
            "architecture": None if architecture is None else read_architecture(architecture),
        }
        recipe = msgspec.structs.replace(recipe, **{key: value for key, value in said.items() if value is not None})
        export_keras(file, recipe, name, out, typer.echo, version=version, real=real or (), tolerance=tolerance)
    except (ExportError, ModelError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        typer.echo(f"this needs the package '{error.name}': pip install 'bimodal-emotion[convert]'", err=True)
        raise typer.Exit(1) from error
