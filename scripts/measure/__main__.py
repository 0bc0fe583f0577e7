"""`python -m scripts.measure [PART…]`, in a checkout: measurements that only developers need.

It takes the options of `bimodal bench`. `resnet` and `torch` need the extra `convert`; `mediapipe` needs
BIMODAL_MEDIAPIPE (scripts/measure/mediapipe.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bimodal.bench.commands import QUICK_REPEATS, QUICK_SECONDS, measure_parts
from bimodal.bench.plan import Part

PARTS = {
    "transport": Part("scripts.measure.transport", "shared frames against copies through ZeroMQ, 640×480 to 4K"),
    "single": Part(
        "scripts.measure.single", "one process with bimodal.Detector, against the pipeline and bimodal analyze"
    ),
    "faces": Part("scripts.measure.faces", "what looking for faces costs a frame, live and in files"),
    "live": Part("scripts.measure.live", "CPU of one live 720p stream by process: a person, and an empty room"),
    "broker": Part("scripts.measure.broker", "the broker alone with up to 128 simulated workers, and fusion alone"),
    "streams": Part("scripts.measure.streams", "how many streams a session carries: 10 to 1,000, simulated"),
    "resnet": Part("scripts.measure.resnet", "pipeline and scaling with ResNet-50, fp32 and INT8"),
    "torch": Part("scripts.measure.torch_loop", "the usual demo's loop in torch eager, against the pipeline"),
    "mediapipe": Part("scripts.measure.mediapipe", "detector and mesh, against MediaPipe's FaceMesh"),
}


def main(
    parts: Annotated[list[str], typer.Argument(help=f"What to measure: {', '.join(PARTS)}.", metavar="PART…")],
    config: Annotated[list[Path] | None, typer.Option(help="The config.yaml to measure.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all that was found to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw all that was found into this file.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How often each figure is measured.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.2, help="How long one measurement lasts, about.")] = 6.0,
    quick: Annotated[bool, typer.Option("--quick", help="One short repeat of each.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 3 where a floor does not hold.")] = False,
) -> None:
    """Measure the named parts."""
    measure_parts(
        PARTS,
        parts,
        config=config,
        json=json,
        png=png,
        repeats=QUICK_REPEATS if quick else repeats,
        seconds=QUICK_SECONDS if quick else seconds,
        check=check,
    )


if __name__ == "__main__":
    typer.run(main)
