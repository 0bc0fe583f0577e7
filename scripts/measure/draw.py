"""CPU time of writing an annotated copy of a film with and without marks on faces, in turn in one process.

Run: python -m scripts.measure.draw NAME.jsonl [ROUNDS], of a clip that `bimodal analyze` has analysed. Decoding,
drawing and encoding count alike, in all threads: it is the whole price of `--annotate` that `--draw` is compared with.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from bimodal.broker.paths import unpack
from bimodal.drawing.marks import Marks
from bimodal.drawing.style import Style
from bimodal.models.catalog import resolve
from bimodal.recordings.reading import clips
from bimodal.workers.film.annotate import annotate

ROUNDS = 5
KINDS: tuple[tuple[str, Marks], ...] = (
    ("--annotate", ()),
    ("--draw pose,gaze", ("pose", "gaze")),
    ("--draw affect", ("affect",)),
    ("--draw mesh", ("mesh",)),
    ("--draw mesh,pose,gaze", ("mesh", "pose", "gaze")),
)


def measured(events: Path, rounds: int) -> dict[str, list[float]]:
    """CPU time of a picture by kind, in milliseconds, one of each round."""
    (clip,) = clips(events)
    assert clip.stream is not None
    assert clip.stream.source.file is not None, "the session file names the source"
    source, landmarks = Path(unpack(clip.stream.source.file)), str(resolve("facemesh-468"))
    spent: dict[str, list[float]] = {kind: [] for kind, _ in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(rounds):
            for kind, draw in KINDS:
                begun = time.process_time()
                pictures = annotate(
                    source,
                    events,
                    Path(scratch) / "film.mp4",
                    style=Style(draw=draw),
                    on_progress=lambda _: None,
                    landmarks=landmarks,
                )
                spent[kind].append((time.process_time() - begun) / pictures * 1000)
    return spent


def main() -> None:
    """Print the cost of a picture of each kind, and relative to that without marks."""
    spent = measured(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
    plain = spent[KINDS[0][0]]
    for kind, each in spent.items():
        ratio = statistics.median(one / base for one, base in zip(each, plain, strict=True))
        print(f"{kind}: {statistics.median(each):.2f} ms of CPU a picture, {ratio:.2f} of --annotate alone")


if __name__ == "__main__":
    main()
