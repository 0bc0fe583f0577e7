"""`bimodal export onnx`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bimodal.export import flags
from bimodal.export.one_sentence import one_sentence


def onnx(
    file: Annotated[Path | None, typer.Argument(help="The .onnx file.", show_default=False)] = None,
    preset: flags.Preset = None,
    config: flags.Config = None,
    out: flags.Out = Path("models"),
    kind: flags.KindFlag = None,
    name: flags.Name = None,
    version: flags.Version = None,
    labels: flags.Labels = None,
    license: flags.License = None,
    source: flags.Origin = None,
    crop: flags.Crop = None,
    size: flags.Size = None,
    colour: flags.ColourFlag = None,
    layout: flags.LayoutFlag = None,
    scale: flags.Scale = None,
    offset: flags.Offset = None,
    mean: flags.Mean = None,
    deviation: flags.Deviation = None,
    logits: flags.Logits = None,
    temperature: flags.Temperature = None,
    take: flags.Take = None,
    input_name: flags.Input = None,
    output: flags.Output = None,
    embedding: flags.Embedding = None,
    embedding_space: flags.Space = None,
    sample_rate: flags.SampleRate = None,
    window: flags.Window = None,
    minimum_window: flags.MinimumWindow = None,
    interval: flags.Interval = None,
    normalise: flags.Normalise = None,
    picture: flags.Picture = None,
    sound: flags.Sound = None,
    max_size: flags.MaxSize = 500,
    list_presets: Annotated[bool, typer.Option("--list-presets", help="Print the presets and end.")] = False,
) -> None:
    """Someone else's ONNX file, with its preprocessing put inside: described by a preset, a YAML file, or flags.

    Example: bimodal export onnx enet_b0_8_best_vgaf.onnx --preset hsemotion-8 --name hsemotion
    """
    with one_sentence():
        from bimodal.export.errors import SourceModelError
        from bimodal.export.onnx_description import presets
        from bimodal.export.said import description_of, numbers, words

        if list_presets:
            typer.echo("\n".join(presets()))
            return
        if file is None:
            raise SourceModelError("name the file to export: bimodal export onnx FILE --preset NAME")
        from bimodal.export.from_onnx import export_onnx

        said = description_of(
            preset,
            config,
            {
                "kind": kind, "name": name, "version": version, "labels": words(labels), "license": license,
                "source": source, "crop": crop, "size": size, "colour": colour, "layout": layout, "scale": scale,
                "offset": offset, "mean": numbers(mean, "--mean"), "deviation": numbers(deviation, "--deviation"),
                "logits": logits, "temperature": temperature, "take": take, "input": input_name, "output": output,
                "embedding": embedding, "embedding_space": embedding_space, "sample_rate": sample_rate,
                "window_s": window, "minimum_window_s": minimum_window, "interval_s": interval,
                "normalise": normalise,
            },
        )  # fmt: skip
        export_onnx(file, said, out, typer.echo, largest_mb=max_size, pictures=picture or [], sounds=sound or [])
