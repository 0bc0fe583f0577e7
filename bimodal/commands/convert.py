"""`bimodal convert`: results in the format of another program."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from bimodal.broker.paths import shown
from bimodal.console import put, say, user_errors
from bimodal.recordings.convert import convert as write
from bimodal.recordings.convert import formats_of
from bimodal.recordings.reading import clips
from bimodal.recordings.recording import RecordError
from bimodal.workers.actor import REFUSED
from bimodal.workers.redaction import clean


def convert(
    result: Annotated[
        Path, typer.Argument(help="A folder of results, a session folder, or one NAME.jsonl.", metavar="RESULT")
    ],
    to: Annotated[
        str, typer.Option(help="eaf, textgrid, webvtt, srt, boris, csv-long; several with commas.", metavar="FORMAT")
    ],
    out: Annotated[Path | None, typer.Option(help="Another folder than that of the results.")] = None,
) -> None:
    """Write the stretches of each clip for other programs, beside its results: ELAN (NAME.eaf), Praat (NAME.TextGrid),
    captions (NAME.vtt, NAME.srt), BORIS (NAME.boris); or its frames as a long table (NAME.long.csv).

    Example: [b]bimodal convert results/ --to eaf,webvtt[/b]
    """
    with user_errors():
        formats = formats_of(to)
        now = datetime.now().astimezone()
        problems = []
        for clip in clips(result):
            try:
                for path in write(clip, formats, now, out):
                    put(clean(shown(path)))
                for sentence in clip.cut_short:
                    say(sentence)
            except RecordError as error:  # one that can't be read costs the others nothing
                problems.append(str(error))
        for problem in problems:
            say(problem)
        if problems:
            raise typer.Exit(REFUSED)
