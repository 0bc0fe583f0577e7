"""Measure speech artifacts on labelled speech: centre and live windows, turns of speech, groups of speakers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from bimodal.models.doubt import voice_doubts
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.session import Artifact, open_artifact
from bimodal.models.sound_quality import sound_quality
from bimodal.models.turn import MEMORY_S, PAUSE_S, TurnEvidence
from bimodal.training.datasets.loading import load_recordings
from bimodal.training.datasets.names import language_of, sex_of
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.conditions import under_condition
from bimodal.training.evaluate.evaluate import (
    ALONE,
    Evaluation,
    Joined,
    as_long,
    cost_of,
    live_figures,
    seen_by,
    speech_probabilities,
    speech_protocol,
    together,
    voices,
)
from bimodal.training.evaluate.metrics import Figures, expected_calibration_error, measure, softmax
from bimodal.training.speech.sound import Listening, centre_window, live_windows

CLIPS_A_TURN = 3
TURN_PROTOCOL = (
    f"live windows of turns of {CLIPS_A_TURN} clips of one speaker and emotion, gathered over the turn as in fusion"
)
LONE_PROTOCOL = "the same windows, each judged for itself"

Windows = Sequence[NDArray[np.floating]]


def evaluate_speech(
    path: Path | Sequence[Path],
    data: Path,
    actors: Sequence[int] | None = None,
    split: str | None = None,
    conditions: Iterable[str] = (),
    among: EmotionSet = SEVEN,
    joined: Joined = ALONE,
) -> Evaluation:
    """Measure a speech artifact, or several joined as in the worker, on any speech data set.

    Args:
        actors: None for all.
        split: of the data set's own; None for all of it.
        conditions: of training/evaluate/conditions.py, under which the centre windows are measured too.
        among: the emotions that labels and answers are of.
        joined: how several are joined.

    Raises ArtifactError for the model, DatasetError for the data.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    artifacts = [open_artifact(each, "speech") for each in paths]
    rate = artifacts[0].metadata.sample_rate or SAMPLE_RATE
    recordings = load_recordings(data, rate, split, among)
    heard = [r for r in recordings if actors is None or r.clip.actor in actors]
    if not heard:
        raise DatasetError(f"{data} holds no clip of the actors asked for")
    begun = time.monotonic()
    true = np.array([r.clip.emotion for r in heard], dtype=np.int64)
    listening = listening_of(artifacts)
    live = [expert_probabilities(artifacts, live_windows(r, listening), among, joined) for r in heard]
    windows = [centre_window(r, listening) for r in heard]
    centre = expert_probabilities(artifacts, windows, among, joined)
    under, doubted = {}, {}
    for name in conditions:
        changed = under_condition(name, windows, rate)
        answers = expert_probabilities(artifacts, changed, among, joined)
        under[name] = measure(true, answers, among.emotions)
        flat = softmax(np.log(np.maximum(answers, 1e-12)) / window_temperatures(changed, rate)[:, None])
        doubted[name] = expected_calibration_error(true, flat)
    seconds = time.monotonic() - begun
    parts = set(voices(heard))
    longest = max(windows, key=len)
    return Evaluation(
        model="+".join(artifact.identity for artifact in artifacts),
        data=f"{data.name}, {len(parts)} actors",
        protocol=speech_protocol(among),
        seen_in_training=seen_by(artifacts, parts),
        figures=measure(true, centre, among.emotions),
        further=live_figures(true, live, among)
        | turn_figures([r.clip.part for r in heard], true, live, listening.hop_s, among),
        conditions={name: figures.uar for name, figures in under.items()},
        under=under,
        doubted=doubted,
        groups=group_figures(heard, true, centre, among),
        cost=cost_of(paths[0], "waveform", as_long(artifacts[0], longest)[None]) if len(paths) == 1 else None,
        seconds=seconds,
        true=true.tolist(),
        probabilities=centre.tolist(),
    )


def window_temperatures(windows: Sequence[NDArray[np.float32]], rate: int) -> NDArray[np.float64]:
    """Temperatures of doubt of windows, float64 [N], as the audio worker measures them."""
    return np.array([voice_doubts(*sound_quality(window, rate, window, rate)).temperature for window in windows])


def listening_of(artifacts: Sequence[Artifact]) -> Listening:
    """Windows of a worker that runs these models together: the longest of their windows, and of their shortest ones."""
    each = [Listening.of(artifact.metadata) for artifact in artifacts]
    return Listening(max(one.window_s for one in each), max(one.minimum_s for one in each), each[0].hop_s)


def expert_probabilities(
    artifacts: Sequence[Artifact], windows: Windows, among: EmotionSet = SEVEN, joined: Joined = ALONE
) -> NDArray[np.float64]:
    """Probabilities over a set of emotions, float64 [N, E], of several artifacts, joined as the worker joins them.

    Windows are at the rate of the first. Each artifact hears the end of a window, as much as it takes, at its own rate.
    """
    rates = [artifact.metadata.sample_rate or SAMPLE_RATE for artifact in artifacts]
    answers = []
    for artifact, rate in zip(artifacts, rates, strict=True):
        longest = round(Listening.of(artifact.metadata).window_s * rates[0])
        heard = [np.asarray(window[-longest:], np.float32) for window in windows]
        if rate != rates[0]:
            heard = [np.asarray(soxr.resample(window, rates[0], rate), np.float32) for window in heard]
        answers.append(speech_probabilities(artifact, heard, among))
    return together(artifacts, answers, among, joined)


def turn_figures(
    speakers: Sequence[str], true: NDArray[np.int64], live: Windows, hop_s: float, among: EmotionSet = SEVEN
) -> dict[str, Figures]:
    """Figures of the live windows [windows, E] of clips in composed turns: gathered over the turn, and each for itself.

    A turn is CLIPS_A_TURN clips of one speaker and emotion, one after another in the order of their names; what is left
    over is not measured. Empty if there is no turn.
    """
    by_voice: dict[tuple[str, int], list[int]] = {}
    for place, voice in enumerate(zip(speakers, true.tolist(), strict=True)):
        by_voice.setdefault(voice, []).append(place)
    alone, gathered, said = [], [], []
    for (_, emotion), places in by_voice.items():
        for start in range(0, len(places) - CLIPS_A_TURN + 1, CLIPS_A_TURN):
            rows = np.concatenate([live[place] for place in places[start : start + CLIPS_A_TURN]])
            alone.append(rows)
            gathered.append(gathered_over(rows, hop_s, among))
            said += [emotion] * len(rows)
    if not said:
        return {}
    labels = np.array(said, np.int64)
    return {
        TURN_PROTOCOL: measure(labels, np.concatenate(gathered), among.emotions),
        LONE_PROTOCOL: measure(labels, np.concatenate(alone), among.emotions),
    }


def gathered_over(rows: NDArray[np.floating], hop_s: float, among: EmotionSet = SEVEN) -> NDArray[np.float64]:
    """The evidence of one turn after each of its windows, float64 [N, E], with the default settings of fusion."""
    turn, hop_ns = TurnEvidence(MEMORY_S, PAUSE_S), round(hop_s * 1e9)
    found = [
        turn.update(number * hop_ns, hop_ns, 1.0, dict(zip(among.emotions, map(float, row), strict=True)))
        for number, row in enumerate(rows)
    ]
    return np.array([[each[emotion] for emotion in among.emotions] for each in found])


def group_figures(
    recordings: Sequence[Recording],
    true: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    among: EmotionSet = SEVEN,
) -> dict[str, Figures]:
    """Figures by the sex of the speaker and by language, where the corpus tells and there are several groups."""
    kinds: list[dict[str, list[int]]] = [{}, {}]
    for place, recording in enumerate(recordings):
        corpus, _, speaker = recording.clip.part.partition("/")
        for groups, name in zip(kinds, (sex_of(corpus, speaker), language_of(corpus)), strict=True):
            if name is not None:
                groups.setdefault(name, []).append(place)
    return {
        name: measure(true[places], np.asarray(probabilities)[places], among.emotions)
        for groups in kinds
        if len(groups) > 1
        for name, places in sorted(groups.items())
    }
