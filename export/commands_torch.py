"""`bimodal export torch`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bimodal.export import flags
from bimodal.export.one_sentence import one_sentence


class Network(StrEnum):
    """What the command knows by name; see export/torch_architectures.py."""

    EMO_AFFECTNET = "emo-affectnet"
    EMO_AFFECTNET_DYNAMIC = "emo-affectnet-dynamic"
    FACE_COMPACT = "face-compact"
    SPEECH_COMPACT = "speech-compact"
    TORCHSCRIPT = "torchscript"


def torch(
    file: flags.Source,
    architecture: Annotated[Network, typer.Option(help="Whose weights these are.", show_default=False)],
    out: flags.Out = Path("models"),
    name: flags.Name = None,
    version: flags.Version = None,
    labels: flags.Labels = None,
    license: flags.License = None,
    source: flags.Origin = None,
    crop: flags.Crop = None,
    temperature: flags.Temperature = None,
    picture: flags.Picture = None,
    sound: flags.Sound = None,
    preset: flags.Preset = None,
    config: flags.Config = None,
    size: flags.Size = None,
    max_size: flags.MaxSize = 500,
) -> None:
    """PyTorch weights of a known network, or any TorchScript file, described as for 'bimodal export onnx'.

    Example: bimodal export torch FER_static_ResNet50_AffectNet.pt --architecture emo-affectnet
    """
    with one_sentence():
        from bimodal.export.errors import SourceModelError
        from bimodal.export.said import description_of, words

        own = {
            "name": name, "version": version, "labels": words(labels), "license": license, "source": source,
            "crop": crop, "temperature": temperature, "size": size,
        }  # fmt: skip
        said = description_of(preset, config, own)
        pictures, sounds = picture or [], sound or []
        if architecture is Network.TORCHSCRIPT:
            from bimodal.export.torchscript import export_torchscript

            export_torchscript(file, said, out, typer.echo, largest_mb=max_size, pictures=pictures, sounds=sounds)
            return
        if preset or config or size:
            raise SourceModelError(
                f"--preset, --config and --size describe a torchscript file; {architecture} is known"
            )
        from bimodal.export.from_torch import export_torch

        export_torch(file, architecture, out, typer.echo, said=said, pictures=pictures, sounds=sounds)
