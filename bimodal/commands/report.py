"""`bimodal report`: write one HTML page for each clip of a recording."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from bimodal.broker.paths import shown
from bimodal.console import put, say, user_errors
from bimodal.recordings.reading import at_rest, clips, complete
from bimodal.recordings.recording import RecordError
from bimodal.recordings.records import SESSION_FILE
from bimodal.supervisor.provenance import end_session
from bimodal.workers.actor import REFUSED
from bimodal.workers.redaction import clean


def report(
    recording: Annotated[
        Path, typer.Argument(help="A session folder, a folder of results, or one NAME.jsonl.", metavar="RECORDING")
    ],
) -> None:
    """Write one HTML page for each clip of a recording: timeline, faces and voice over time, shares of time, agreement
    of face and voice, models, settings, and what was unknown and why; of several clips an index.html too.

    Stretches jump to their place in the film, where one lies beside the results. Tables and summaries that a killed
    recorder left out are made too. No page needs a network.

    Example: [b]bimodal report recordings/default-2026-11-22T14-54-38[/b]
    """
    with user_errors():
        # Arrow and the templates are loaded only where a page is made.
        from bimodal.recordings.report.page import write_reports

        found = clips(recording)
        for clip in found:
            with contextlib.suppress(RecordError):  # one that can't be read is named below
                for name in complete(clip, time.time()):
                    put(clean(f"completed {shown(clip.folder / name)}"))
        now = datetime.now().astimezone()
        written, problems = write_reports(recording if recording.is_dir() else recording.parent, clips(recording), now)
        for path in written:
            put(clean(shown(path)))
        for clip in found:
            for sentence in [*([clip.damaged] if clip.damaged is not None else []), *clip.cut_short]:
                say(sentence)
        parts = [part for clip in found for part in clip.parts]
        # A session that still runs writes its own end.
        if (recording / SESSION_FILE).is_file() and all(at_rest(part, time.time()) for part in parts):
            end_session(recording, now)
        for problem in problems:
            say(problem)
        if problems:
            raise typer.Exit(REFUSED)
