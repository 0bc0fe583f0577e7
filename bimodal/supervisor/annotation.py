"""Annotated films of analysed files, each made in a process of its own, so that a failure there costs the film only."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from bimodal.broker.paths import pack
from bimodal.child_process import child_environment, python_command
from bimodal.drawing.style import Style
from bimodal.workers.capture.choice import DEFAULT, Choice
from bimodal.workers.film.order import ENVIRONMENT_KEY, FilmProgress, Order, film_name, part_name

log = logging.getLogger(__name__)


def annotate_file(
    source: Path,
    out: Path,
    name: str,
    *,
    style: Style,
    landmarks: str | None = None,
    choice: Choice = DEFAULT,
    log_file: Path | None,
    on_progress: Callable[[int], None] = lambda _pictures: None,
) -> str | None:
    """Make OUT/NAME.annotated.mp4 of `source` and its events OUT/NAME.jsonl, which must be complete.

    Returns None, or why there is no film, as a sentence.

    Args:
        landmarks: path of the face-landmarks artifact, for a style that draws meshes.
        on_progress: gets the number of pictures done so far.
    """
    film = out / film_name(name)
    order = Order(
        source=pack(source.absolute()),
        choice=choice,
        events=pack((out / f"{name}.jsonl").absolute()),
        film=pack(film.absolute()),
        style=style,
        landmarks=landmarks,
        log=str(log_file) if log_file is not None else None,
        parent=os.getpid(),
    )
    with subprocess.Popen(
        python_command("bimodal.workers.film.annotate"),
        env=child_environment({ENVIRONMENT_KEY: msgspec.json.encode(order).decode()}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            reason = _follow(process, on_progress)
        except BaseException:
            process.kill()
            raise
        finally:
            if process.wait() != 0:
                with contextlib.suppress(OSError):
                    part_name(film).unlink(missing_ok=True)
    if process.returncode != 0 and reason is None:
        reason = f"its process ended with code {process.returncode}"
    if reason is not None:
        log.info("no film of %s: %s", source, reason)
        return f"{film.name} was not made: {reason}"
    return None


def _follow(process: subprocess.Popen[bytes], on_progress: Callable[[int], None]) -> str | None:
    assert process.stdout is not None
    reason = None
    for line in process.stdout:
        with contextlib.suppress(msgspec.MsgspecError):
            progress = msgspec.json.decode(line, type=FilmProgress)
            reason = progress.because
            if reason is None:
                on_progress(progress.pictures)
    return reason
