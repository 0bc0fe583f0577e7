"""`bimodal.analyze`: one clip in, all of its events, tables and segments out."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bimodal.api.detector import Detector
from bimodal.api.sources import ConfigLike, Source, choice_of, config_of
from bimodal.broker.events import Emotion, Hop, Probabilities, fused, leading
from bimodal.console import state_directory
from bimodal.drawing.marks import Mark
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.options import film_style, marks_of, with_counts, with_quick
from bimodal.recordings.arrays import arrow_table
from bimodal.recordings.convert import convert, formats_of
from bimodal.recordings.exports import FormatName
from bimodal.recordings.reading import clips, read_hops, set_of_events
from bimodal.recordings.report.colours import COLOURS
from bimodal.recordings.segments import segments
from bimodal.recordings.tables import (
    SEGMENT_COLUMNS,
    frame_columns,
    hop_columns,
    hop_row,
    rows,
    schema,
    segment_row,
)
from bimodal.scratch import Scratch
from bimodal.supervisor.analysis import Analysis
from bimodal.supervisor.annotation import annotate_file
from bimodal.supervisor.inputs import gather
from bimodal.workers.capture.choice import Channel
from bimodal.workers.errors import SourceError, WorkerError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa
    from matplotlib.figure import Figure


def analyze(
    source: Source,
    *,
    config: ConfigLike = None,
    out: str | Path | None = None,
    face_workers: int | None = None,
    audio_workers: int | None = None,
    speed: Literal["fast", "realtime"] = "fast",
    report: bool = False,
    also: Sequence[FormatName] = (),
    annotate: bool = False,
    hide_faces: bool = False,
    draw: Sequence[Mark] = (),
    video_track: int | None = None,
    audio_track: int | None = None,
    channel: Channel = "mix",
    overwrite: bool = False,
    quick: bool | None = None,
    fps: float | None = None,
    sound: NDArray[Any] | None = None,
    rate: int | None = None,
) -> Result:
    """Look at every frame of a clip.

    A media file goes through worker processes, as with `bimodal analyze`; arrays are analysed in this process.

    Args:
        source: a media file; pictures uint8 [N, H, W, 3] RGB with `fps` (and their `sound` with its `rate`); or
            samples float32 [S] or [S, C] in −1…1 with `rate`.
        config: a path of a config.yaml, its values as a dict, or None for the defaults.
        out: the folder for the files that `bimodal analyze` writes; None writes none. Files only.
        also: formats of other programs that are written too: "eaf", "textgrid", "webvtt", "srt", "boris", "csv-long".
        draw: what is drawn into the annotated film too, which this asks for: "mesh", "pose", "gaze", "affect".
        face_workers, audio_workers, speed, report, annotate, hide_faces: the options of `bimodal analyze`.
        video_track, audio_track, channel, overwrite, quick: also its options.

    Raises SourceError where the source can't be read, another `bimodal.errors.BimodalError` where the config, its
    models or the folder can't be used.
    """
    marks = marks_of(draw)
    annotate = annotate or bool(marks)
    if isinstance(source, np.ndarray):
        if out is not None or report or annotate or also:
            raise WorkerError(
                "out=, report=, also=, annotate= and draw= go with a media file, after which files are named"
            )
        with Detector(config, quick=quick) as detector:
            found = list(detector.events(source, fps=fps, sound=sound, rate=rate, channel=channel, hops=True))
            about = detector.emotions
        events = [event for event in found if isinstance(event, Emotion)]
        return Result("array", events, hops=[hop for hop in found if isinstance(hop, Hop)], emotions=about)
    if (report or annotate or also) and out is None:
        raise WorkerError("report=, also=, annotate= and draw= write files: name the folder as out=")
    if fps is not None or sound is not None or rate is not None:
        raise SourceError("fps, sound and rate go with arrays; a media file says them itself")
    settings = with_quick(with_counts(config_of(config), face_workers, audio_workers), quick)
    log_file = state_directory() / "analyze.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    choice = choice_of(video_track, audio_track, channel)
    with _folder(out) as folder, Scratch("analyze") as scratch:
        inputs = gather([os.fspath(source)], scratch)
        realtime = speed == "realtime"
        analysis = Analysis(
            settings, inputs, folder, realtime=realtime, log_file=log_file, choice=choice, overwrite=overwrite
        )
        try:
            analysis.run(lambda: None)
        finally:
            analysis.close()
        (analysed,) = analysis.inputs
        if analysed.reason is not None:
            raise SourceError(analysed.reason)
        (clip,) = clips(folder / f"{analysed.name}.jsonl")
        notes = [analysed.note, analysed.lost]
        if also:
            convert(clip, formats_of(",".join(also)), datetime.now().astimezone())
        if annotate:
            style, landmarks = film_style(settings, marks, hide_faces=hide_faces)
            film = annotate_file(
                analysed.file,
                folder,
                analysed.name,
                style=style,
                landmarks=landmarks,
                choice=choice,
                log_file=log_file,
            )
            notes.append(film)
        if report:
            from bimodal.recordings.report.page import write_report

            write_report(clip, datetime.now().astimezone())
        events = [event for event, _ in clip.events()]
        hops = [hop for part in clip.parts for hop in read_hops(part.path)]
        note = "; ".join(note for note in notes if note is not None) or None
        return Result(analysed.name, events, note, hops, clip.emotions)


@contextlib.contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """The folder for results: the user's, made where it is missing, or one that goes with its context."""
    if out is None:
        with Scratch("analyze") as scratch:
            yield scratch
        return
    folder = Path(out).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkerError(f"the folder {folder} can't be made: {error.strerror}") from error
    yield folder


class Result:
    """Events, tables and segments of one clip.

    Attributes:
        name: of the clip.
        events: one a frame, in order (`bimodal.Emotion`).
        note: what was wrong with a clip that has results all the same (damaged, cut off), else None.
        hops: of the voice, one a hop of sound (and voice), in order (`bimodal.Hop`).
        emotions: what they are about; by default what the events name.
    """

    def __init__(
        self,
        name: str,
        events: list[Emotion],
        note: str | None = None,
        hops: Sequence[Hop] = (),
        emotions: EmotionSet | None = None,
    ) -> None:
        self.name = name
        self.events = events
        self.note = note
        self.hops = list(hops)
        self.emotions = emotions if emotions is not None else set_of_events(events)

    @cached_property
    def frames(self) -> pa.Table:
        """One row a frame and face (a frame without a face has one row): the table of NAME.parquet."""
        table = frame_columns(self.emotions)
        columns = schema(table)
        cells = [row for event in self.events for row in rows(event, table)]
        return arrow_table(cells, columns)

    @cached_property
    def speech(self) -> pa.Table:
        """One row a hop of the voice: the table of NAME.speech.parquet."""
        table = hop_columns(self.emotions)
        columns = schema(table)
        cells = [hop_row(hop, table) for hop in self.hops]
        return arrow_table(cells, columns)

    @cached_property
    def segments(self) -> pa.Table:
        """One row a stretch (of an emotion, of speaking; a blink; a shot): the table of NAME.segments.parquet."""
        columns = schema(SEGMENT_COLUMNS)
        found = [segment_row(one) for one in segments(self.events, self.hops)]
        return arrow_table(found, columns)

    def to_pandas(self) -> pandas.DataFrame:
        """`frames` as a pandas data frame. Raises WorkerError where pandas is not installed."""
        _need("pandas", "to_pandas()")
        return self.frames.to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """`frames` as a polars data frame. Raises WorkerError where polars is not installed."""
        _need("polars", "to_polars()")
        import polars

        return polars.DataFrame(self.frames)

    def plot(self) -> Figure:
        """Draw the timeline of the report: fused, video and speech probabilities, and agreement, over seconds.

        Returns a matplotlib figure of its own (no pyplot state). Raises WorkerError without matplotlib.
        """
        _need("matplotlib", "plot()")
        return timeline(self.name, self.events, self.emotions)

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        seconds = self.events[-1].t if self.events else 0.0
        return f"<bimodal.Result {self.name!r}: {len(self.events)} events, {seconds:.1f} s>"


def _need(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise WorkerError(f"{what} needs the package '{package}': pip install {package}")


def timeline(name: str, events: Sequence[Emotion], about: EmotionSet = SEVEN) -> Figure:
    """Draw stacked probabilities of what was fused, of the leading face and of the voice, shares of further categories,
    where any count, and the agreement of face and voice."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    further = [1] if about.categories else []
    axes = figure.subplots(4 + len(further), 1, sharex=True, height_ratios=(2, 2, 2, *further, 1))
    seconds = np.array([event.t for event in events])
    names, colours = about.emotions, [COLOURS[about.colour_of(name)] for name in about.emotions]
    rows: tuple[tuple[str, Callable[[Emotion], Probabilities | None]], ...] = (
        ("fused", fused),
        ("video", _video),
        ("speech", lambda event: event.speech.probabilities if event.speech is not None else None),
    )
    for axis, (title, read) in zip(axes, rows, strict=False):
        # Where nothing is known there is a gap: NaN.
        stacks = np.array([[(read(event) or {}).get(emotion, np.nan) for event in events] for emotion in names])
        known = ~np.isnan(stacks).all(axis=0) if events else np.zeros(0, bool)
        stacks = np.where(known, np.nan_to_num(stacks), np.nan)
        axis.stackplot(seconds, stacks, labels=names, colors=colours, step="post")
        axis.set_ylim(0, 1)
        axis.set_ylabel(title)
    if further:
        for name in about.categories:
            shares = [(event.emotion.other or {}).get(name, np.nan) for event in events]
            axes[3].plot(seconds, shares, color=COLOURS[about.colour_of(name)], label=name)
        axes[3].set_ylim(0, 1)
        axes[3].set_ylabel("other", fontsize="small")
        axes[3].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    agreement = [np.nan if event.emotion.agreement is None else event.emotion.agreement for event in events]
    axes[-1].plot(seconds, agreement, color="black", linewidth=1)
    axes[-1].set_ylim(0, 1)
    axes[-1].set_ylabel("agreement", fontsize="small")
    axes[-1].set_xlabel("seconds")
    axes[0].set_title(name)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _video(event: Emotion) -> Probabilities | None:
    face = leading(event)
    return face.video if face is not None else None
