"""`bimodal export quantize`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from bimodal.export.one_sentence import one_sentence

CALIBRATION = 100
WORTH_IT = 1.1


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
        from bimodal.export.quantizing import make

        with tempfile.TemporaryDirectory() as scratch:
            made = make(model, data, Path(scratch), limit=limit, calibration=CALIBRATION, reduce_range=reduce_range)
            _show(made.report, as_json)
            places = made.place(most_loss, out=out, install_it=install)
    for place in places:
        typer.echo(f"wrote {place}", err=as_json)
    if not places:
        typer.echo("nothing was written: add --install or --out", err=True)


def _show(report: object, as_json: bool) -> None:
    from bimodal.export.quantize_report import Report, rows

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
