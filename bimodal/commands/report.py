"""`bimodal report`: write one HTML page for each clip of a recording."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from bimodal.console import user_errors
from bimodal.recordings.reading import at_rest, clips, complete
from bimodal.recordings.records import SESSION_FILE
from bimodal.supervisor.provenance import end_session


def report(
    recording: Annotated[
        Path, typer.Argument(help="A session folder, a folder of results, or one NAME.jsonl.", metavar="RECORDING")
    ],
) -> None:
    """Write one HTML page for each clip of a recording: timeline, shares of time, agreement of face and voice, longest
    stretches, faces, models, settings, and what was unknown and why.

    Tables and summaries that a killed recorder left out are made too. The page needs no script and no network.

    Example: [b]bimodal report recordings/default-2026-11-22T14-54-38[/b]
    """
    with user_errors():
        # Arrow and the templates are loaded only where a page is made.
        from bimodal.recordings.report.page import write_report

        found = clips(recording)
        for clip in found:
            for name in complete(clip, time.time()):
                typer.echo(f"completed {clip.folder / name}")
        now = datetime.now().astimezone()
        for clip in clips(recording):
            typer.echo(str(write_report(clip, now)))
        parts = [part for clip in found for part in clip.parts]
        # A session that still runs writes its own end.
        if (recording / SESSION_FILE).is_file() and all(at_rest(part, time.time()) for part in parts):
            end_session(recording, now)
