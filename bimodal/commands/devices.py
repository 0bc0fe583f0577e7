"""`bimodal devices`: list cameras and microphones, and the choice of `auto`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bimodal.console import put_json, rich_text, user_errors
from bimodal.workers.capture import discover
from bimodal.workers.errors import SourceError

DEMO = "the demo clip"


def devices(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """List cameras and microphones, and what a stream with [b]auto: true[/b] would take.

    Example: [b]bimodal devices --json[/b]
    """
    with user_errors():
        found = _listed()
        if as_json:
            put_json(found)
        else:
            _show(found)


def _listed() -> dict[str, Any]:
    """Cameras, microphones, choice of auto, and notes on what could not be listed, as JSON-like values."""
    notes: list[str] = []
    try:
        microphones = discover.microphones()
    except SourceError as error:
        microphones = []
        notes.append(str(error))
    taken = discover.auto()
    return {
        "cameras": [asdict(camera) for camera in discover.cameras()],
        "microphones": [asdict(microphone) for microphone in microphones],
        "auto": {
            "camera": taken.camera.index if taken.camera else None,
            "microphone": taken.microphone.index if taken.microphone else None,
            "demo": taken.demo,
        },
        "notes": notes,
    }


def _show(found: dict[str, Any]) -> None:
    console = Console()
    if not found["cameras"] and not found["microphones"]:
        console.print("No camera and no microphone is attached.", highlight=False)
    else:
        console.print(_table(found))
    auto = found["auto"]
    names = [f"{kind} {auto[kind]}" for kind in ("camera", "microphone") if auto[kind] is not None]
    console.print(f"[b]auto[/b] takes {' and '.join(names) or DEMO}.", highlight=False)
    for note in found["notes"]:
        console.print(rich_text(note), highlight=False)


def _table(found: dict[str, Any]) -> Table:
    table = Table("kind", "index", "name", "details")
    for camera in found["cameras"]:
        table.add_row("camera", str(camera["index"]), rich_text(camera["name"]), rich_text(camera["path"]))
    for microphone in found["microphones"]:
        details = f"{microphone['rate']} Hz, {microphone['channels']} channels"
        if microphone["default"]:
            details += ", the system's default"
        table.add_row("microphone", str(microphone["index"]), rich_text(microphone["name"]), details)
    return table
