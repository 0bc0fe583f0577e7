"""The process that annotates one file: `python -m workers.film.annotating`, started by `bimodal analyze --annotate`.

It is told what to do as JSON in the environment variable BIMODAL_FILM, and says how far it is on stdout, one JSON
object a line: how many pictures are done, and at the end why it failed where it did.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import msgspec
import setproctitle

from bimodal.errors import BimodalError
from bimodal.workers.actor import BROKEN, DONE, REFUSED, die_with_parent
from bimodal.workers.film.annotate import annotate
from bimodal.workers.film.order import ENVIRONMENT_KEY, FilmProgress, Order

TELL_EVERY_S = 0.25


class _Teller:
    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, pictures: int) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + TELL_EVERY_S
            say(FilmProgress(pictures=pictures))


def say(progress: FilmProgress) -> None:
    """One line to the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Do what the environment says; the exit code."""
    order = msgspec.json.decode(os.environ.pop(ENVIRONMENT_KEY), type=Order)
    setproctitle.setproctitle("bimodal: film")
    die_with_parent(order.parent)
    logging.basicConfig(filename=order.log, format="%(asctime)s film %(levelname)s %(message)s", level=logging.INFO)
    try:
        pictures = annotate(
            Path(order.source),
            Path(order.events),
            Path(order.film),
            max_height=order.max_height,
            style=order.style,
            told=_Teller(),
        )
    except BimodalError as error:
        logging.info("refused: %s", error, exc_info=error)
        say(FilmProgress(because=str(error)))
        return REFUSED
    except Exception as error:
        logging.exception("an error of our own")
        say(FilmProgress(because=f"{order.film} met an unexpected {type(error).__name__}; the log has the details"))
        return BROKEN
    say(FilmProgress(pictures=pictures))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
