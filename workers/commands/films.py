"""The films of `bimodal analyze --annotate`, one after another, with a progress bar."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bimodal.config import Config
from bimodal.drawing.style import Style
from bimodal.supervisor.analysis import Analysed
from bimodal.workers.annotation import annotate_file


def annotate_all(
    inputs: list[Analysed], out: Path, config: Config, *, hide_faces: bool, log_file: Path | None
) -> list[str]:
    """Make the film of every input that has results; a sentence for each that could not be made."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} pictures drawn"),
        TimeElapsedColumn(),
    )
    style = Style(faces="hide" if hide_faces else "show")
    said: list[str | None] = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for analysed in inputs:
            if not analysed.done:
                continue
            task = progress.add_task(analysed.name, total=analysed.frames or 1)

            def told(pictures: int, task: int = task) -> None:
                progress.update(task, completed=pictures)  # type: ignore[arg-type]

            because = annotate_file(
                analysed.file,
                out,
                analysed.name,
                max_height=config.capture.max_height,
                style=style,
                log_file=log_file,
                told=told,
            )
            said.append(because)
    return [because for because in said if because is not None]
