"""Measure doubt and fusion by worth: accuracy and calibration under conditions, and of composed pairs. Offline.

    python -m scripts.doubt --data ../shared/data --speech speech-whisper-1.onnx

Faces: every third picture of FER2013 `valid` under the conditions of `bimodal evaluate face --conditions`. Voices:
EMO-DB, URDU and RAVDESS under conditions of sound, by the statistics of speech-whisper@1, whose encoder learnt from
none of them (that of later versions did), and heads trained anew without the speakers (five folds), and without the
corpus. Pairs: both put together by emotion. About five minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import soxr
import torch
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt
from torch.nn import functional

from bimodal.models.doubt import Doubts, face_doubts, voice_doubts
from bimodal.models.faces.quality import UPRIGHT, face_quality
from bimodal.models.session import open_artifact
from bimodal.models.sound_quality import sound_quality
from bimodal.training.datasets.loading import load_recordings
from bimodal.training.evaluate import conditions as sounds
from bimodal.training.evaluate.evaluate import decided_pictures, find_model, over_emotions, sized
from bimodal.training.evaluate.face_conditions import CONDITIONS as SEEN
from bimodal.training.evaluate.metrics import expected_calibration_error, softmax
from bimodal.training.fusion.pairs import Pairs, averaged, by_worth
from bimodal.training.speech.sound import Listening, centre_window

Sound = NDArray[np.float32]
Table = NDArray[np.float64]

RATE = 16_000
CLEAN = "clear"
EVERY_PICTURE = 3
CORPORA = {"emodb": (2, 0.2), "urdu": (2, 0.2), "ravdess": (6, 0.6)}
"""Of each corpus: every which clip is measured under conditions, and its share in training."""
SPEECH = "speech-whisper@1"
STATISTICS = "div_2"
"""The tensor of speech-whisper@1's graph with the normalised statistics that its heads take."""
PAIRS, HALVES, FOLDS = 7_000, 5, 5


def telephone(sound: Sound) -> Sound:
    """Pass 300 to 3,400 Hz, at 8 kHz, quantised by the µ-law."""
    band = butter(6, [300, 3400], "band", fs=RATE, output="sos")
    narrow = np.clip(soxr.resample(sosfiltfilt(band, sound).astype(np.float32), RATE, 8_000), -1, 1)
    code = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    back = np.sign(code) * (256 ** np.abs(code) - 1) / 255
    wide = soxr.resample(back.astype(np.float32), 8_000, RATE)
    return np.pad(np.asarray(wide, np.float32), (0, len(sound)))[: len(sound)]


def clipped(sound: Sound, decibels: float, gain: float = 1.0) -> Sound:
    """Overdrive a sound whose peak is full scale, and turn it down afterwards."""
    return np.asarray(gain * sounds.microphone(sound / np.abs(sound).max(), decibels), np.float32)


HEARD: dict[str, Callable[[Sound, np.random.Generator], Sound]] = {
    CLEAN: lambda sound, _: sound,
    "telephone": lambda sound, _: telephone(sound),
    "clipped by 12 dB": lambda sound, _: clipped(sound, 12),
    "clipped by 20 dB": lambda sound, _: clipped(sound, 20),
    "clipped by 15 dB, then turned down": lambda sound, _: clipped(sound, 15, 0.3),
    "white noise at 20 dB": lambda sound, random: sounds.white_noise(sound, 20, random),
    "white noise at 10 dB": lambda sound, random: sounds.white_noise(sound, 10, random),
    "pink noise at 20 dB": lambda sound, random: sounds.pink_noise(sound, 20, random),
    "pink noise at 10 dB": lambda sound, random: sounds.pink_noise(sound, 10, random),
    "pink noise at 5 dB": lambda sound, random: sounds.pink_noise(sound, 5, random),
    "small room": lambda sound, random: sounds.small_room(sound, RATE, random),
}


class Examples(NamedTuple):
    """Examples of one condition.

    Attributes:
        plain, doubted: probabilities [N, 7], as the model says and flattened by doubt.
        worth: reliability 0…1 [N].
        true, group: emotion, and picture or speaker, [N].
        doubts: in words, of each.
    """

    plain: Table
    doubted: Table
    worth: Table
    true: NDArray[np.int64]
    group: NDArray[np.generic]
    doubts: list[Doubts]


def examples(
    logits: NDArray[np.floating],
    worth: Table,
    doubts: list[Doubts],
    true: NDArray[np.int64],
    group: NDArray[np.generic],
) -> Examples:
    """Put the examples of a condition together; reliability is `worth` times what doubts leave."""
    temperatures = np.array([each.temperature for each in doubts])[:, None]
    left = np.array([each.reliability for each in doubts])
    return Examples(softmax(logits), softmax(logits / temperatures), worth * left, true, group, doubts)


def faces(data: Path) -> dict[str, Examples]:
    """Examples of faces by condition."""
    artifact = open_artifact(find_model("face-robust"), "face-static", provider="cpu", threads=1)
    items, true, _ = decided_pictures(data / "fer2013", "valid", "auto")
    items, true = items[::EVERY_PICTURE], true[::EVERY_PICTURE]
    found = {}
    for name in (None, *SEEN):
        crops = np.concatenate([sized(artifact, items[at : at + 64], name, at) for at in range(0, len(items), 64)])
        rows = [artifact.run(faces=crops[at : at + 64])["probabilities"] for at in range(0, len(crops), 64)]
        logits = np.log(np.maximum(over_emotions(artifact.metadata, np.concatenate(rows)), 1e-12))
        seen = [face_quality(crop, UPRIGHT) for crop in crops]
        doubts = [face_doubts((0.0, 0.0, 100.0, 100.0), *each) for each in seen]
        sharp = np.array([each.sharpness for each in seen])
        found[name or CLEAN] = examples(logits, sharp, doubts, true, np.arange(len(true)))
    return found


class Voices(NamedTuple):
    """Clips of one corpus under one condition: statistics [N, D], doubts, emotions, speakers."""

    statistics: NDArray[np.float32]
    doubts: list[Doubts]
    true: NDArray[np.int64]
    speakers: NDArray[np.str_]


def statistics_of(path: Path) -> tuple[Callable[[Sound], NDArray[np.float32]], Listening]:
    """Open speech-whisper@1 so that it gives its statistics too. Exits with a sentence for another model."""
    metadata = open_artifact(path, "speech", provider="cpu").metadata
    if metadata.identity != SPEECH:
        raise SystemExit(
            f"--speech must be {SPEECH}, whose encoder learnt from no emotion; this is {metadata.identity}"
        )
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info(STATISTICS, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def statistics(sound: Sound) -> NDArray[np.float32]:
        return np.asarray(session.run([STATISTICS], {"waveform": sound[None]})[0][0], np.float32)

    return statistics, Listening.of(metadata)


def voices(data: Path, speech: Path) -> dict[tuple[str, str], Voices]:
    """Statistics and doubts by corpus and condition."""
    statistics, listening = statistics_of(speech)
    found = {}
    for corpus, (every, _) in CORPORA.items():
        recordings = load_recordings(data / corpus, RATE, None)
        windows = [centre_window(each, listening) for each in recordings]
        true = np.array([each.clip.emotion for each in recordings], np.int64)
        speakers = np.array([each.clip.part for each in recordings])
        for name, change in HEARD.items():
            chosen = np.arange(0, len(windows), 1 if name == CLEAN else every)
            changed = [
                np.asarray(change(windows[at], np.random.default_rng((int(at), 3))), np.float32) for at in chosen
            ]
            doubts = [voice_doubts(*sound_quality(sound, RATE, sound, RATE)) for sound in changed]
            rows = np.stack([statistics(sound) for sound in changed])
            found[corpus, name] = Voices(rows, doubts, true[chosen], speakers[chosen])
    return found


def heads(learnt: Sequence[tuple[str, Voices]], random: np.random.Generator) -> list[torch.nn.Module]:
    """Train two heads as those of speech-whisper on clips of several corpora, without gradients into the encoder."""
    rows = torch.from_numpy(np.concatenate([each.statistics for _, each in learnt]))
    labels = torch.from_numpy(np.concatenate([each.true for _, each in learnt]))
    shares = []
    for corpus, each in learnt:
        share = 1 / np.bincount(each.true, minlength=7)[each.true]
        shares.append(share / share.sum() * CORPORA[corpus][1])
    weights = np.concatenate(shares) / np.concatenate(shares).sum()
    found: list[torch.nn.Module] = []
    for _ in range(2):
        network = torch.nn.Sequential(
            torch.nn.Dropout(0.4), torch.nn.Linear(rows.shape[1], 256), torch.nn.ReLU(), torch.nn.Dropout(0.4),
            torch.nn.Linear(256, 7),
        )  # fmt: skip
        steps = 16 * len(rows) // 64
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
        for _ in range(steps):
            one = torch.from_numpy(random.choice(len(rows), 64, p=weights))
            other, mix = one[torch.randperm(64)], float(random.beta(0.3, 0.3))
            logits = network(mix * rows[one] + (1 - mix) * rows[other])
            losses = [functional.cross_entropy(logits, labels[at], label_smoothing=0.1) for at in (one, other)]
            optimizer.zero_grad()
            (mix * losses[0] + (1 - mix) * losses[1]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        found.append(network.eval())
    return found


def left_out(clips: dict[tuple[str, str], Voices], whole_corpus: bool) -> dict[tuple[str, str], Examples]:
    """Examples of voices by corpus and condition, by heads that did not learn from the speaker, or from the corpus."""
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    folds = {}
    for corpus in CORPORA:
        speakers = random.permutation(np.unique(clips[corpus, CLEAN].speakers))
        folds[corpus] = {name: at % FOLDS for at, name in enumerate(speakers)}
    logits = {key: np.zeros((len(each.true), 7)) for key, each in clips.items()}
    for part in CORPORA if whole_corpus else range(FOLDS):

        def held(corpus: str, each: Voices, part: object = part) -> NDArray[np.bool_]:
            if whole_corpus:
                return np.full(len(each.true), corpus == part)
            return np.array([folds[corpus][name] == part for name in each.speakers])

        learnt = []
        for corpus in CORPORA:
            each = clips[corpus, CLEAN]
            kept = ~held(corpus, each)
            if kept.any():
                learnt.append((corpus, Voices(each.statistics[kept], [], each.true[kept], each.speakers[kept])))
        networks = heads(learnt, random)
        for (corpus, name), each in clips.items():
            chosen = held(corpus, each)
            if chosen.any():
                with torch.inference_mode():
                    sides = [network(torch.from_numpy(each.statistics[chosen])).numpy() for network in networks]
                logits[corpus, name][chosen] = np.mean(sides, axis=0)
    return {
        key: examples(logits[key], np.ones(len(each.true)), each.doubts, each.true, each.speakers)
        for key, each in clips.items()
    }


def calibration(true: NDArray[np.int64], probabilities: Table, weights: Table) -> float:
    """Expected calibration error with weights of the examples, 15 bins."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = np.bincount(bins, weights * confidence, 15) - np.bincount(bins, weights * right, 15)
    return float(np.abs(gaps).sum() / weights.sum())


def in_words(found: Sequence[Examples]) -> str:
    """Shares of the doubts of at least 0.05."""
    every = [reason for each in found for doubts in each.doubts for reason in doubts.reasons]
    count = sum(len(each.doubts) for each in found)
    shares = {reason: every.count(reason) / count for reason in sorted(set(every))}
    return ", ".join(f"{reason} {share:.2f}" for reason, share in shares.items() if share >= 0.05) or "–"


def face_rows(found: dict[str, Examples]) -> Iterator[str]:
    """Yield a row of the table of faces for each condition."""
    yield "| condition | accuracy | ECE | with doubt | ECE, every emotion alike | with doubt | in words |"
    for name, each in found.items():
        alike = 1 / np.bincount(each.true, minlength=7)[each.true]
        figures = [
            float(np.mean(each.plain.argmax(axis=1) == each.true)),
            *(expected_calibration_error(each.true, one) for one in (each.plain, each.doubted)),
            *(calibration(each.true, one, alike) for one in (each.plain, each.doubted)),
        ]
        yield f"| {name} | {' | '.join(f'{value:.3f}' for value in figures)} | {in_words([each])} |"


def voice_rows(found: dict[tuple[str, str], Examples]) -> Iterator[str]:
    """Yield a row of the table of voices for each condition: means over the corpora."""
    yield "| condition | accuracy | ECE | with doubt | in words |"
    for name in HEARD:
        parts = [found[corpus, name] for corpus in CORPORA]
        figures = [
            np.mean([np.mean(each.plain.argmax(axis=1) == each.true) for each in parts]),
            np.mean([expected_calibration_error(each.true, each.plain) for each in parts]),
            np.mean([expected_calibration_error(each.true, each.doubted) for each in parts]),
        ]
        yield f"| {name} | {' | '.join(f'{value:.3f}' for value in figures)} | {in_words(parts)} |"


def joined(parts: Sequence[Examples]) -> Examples:
    """Put examples of several conditions one after another."""
    return Examples(
        np.concatenate([each.plain for each in parts]),
        np.concatenate([each.doubted for each in parts]),
        np.concatenate([each.worth for each in parts]),
        np.concatenate([each.true for each in parts]),
        np.concatenate([each.group for each in parts]),
        [],
    )


def opinions(probabilities: Table, worth: Table, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """One side of pairs, float32 [N, 8]."""
    return np.hstack([probabilities[places], worth[places, None]]).astype(np.float32)


def pair_rows(seen: dict[str, Examples], heard: dict[tuple[str, str], Examples]) -> Iterator[str]:
    """Yield accuracy and ECE of each way to fuse composed pairs, by emotion each as often, means over random halves."""
    # Half of the faces and a third of the voices are clear.
    face = joined([seen[CLEAN]] * (len(seen) - 1) + [each for name, each in seen.items() if name != CLEAN])
    voice = joined([each for (_, name), each in heard.items() for _ in range(4 if name == CLEAN else 1)])
    everyone, odd = np.unique(voice.group), face.group.astype(np.int64) % 2 == 1
    sure = np.ones(len(voice.true))
    figures: dict[str, list[tuple[float, float]]] = {}
    for half in range(HALVES):
        random = np.random.default_rng(half)
        measured = np.isin(voice.group, random.permutation(everyone)[: len(everyone) // 2])
        one = _by_emotion(face, odd, random)
        other = _by_emotion(voice, measured, random)
        true = face.true[one]
        plain = Pairs(opinions(face.plain, face.worth, one), opinions(voice.plain, sure, other), true)
        doubted = Pairs(opinions(face.doubted, face.worth, one), opinions(voice.doubted, voice.worth, other), true)
        ways: dict[str, NDArray[np.floating]] = {
            "face alone": plain.video[:, :-1],
            "voice alone": plain.speech[:, :-1],
            "average .7/.3": averaged(plain, 0.7, 0.3),
            "average .7/.3 with doubt": averaged(doubted, 0.7, 0.3),
            "worth .7/.3": by_worth(doubted, 0.7, 0.3),
            "worth .65/.35": by_worth(doubted, 0.65, 0.35),
            "worth .6/.4": by_worth(doubted, 0.6, 0.4),
        }
        for name, way in ways.items():
            right = float(np.mean(way.argmax(axis=1) == true))
            figures.setdefault(name, []).append((right, expected_calibration_error(true, way)))
    for name, rows in figures.items():
        table = np.array(rows)
        yield f"| {name} | {table[:, 0].mean():.3f} ± {table[:, 0].std():.3f}, {table[:, 1].mean():.3f} |"


def _by_emotion(found: Examples, among: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.int64]:
    """Draw places of examples, every emotion as often."""
    return np.concatenate(
        [random.choice(np.flatnonzero(among & (found.true == emotion)), PAIRS // 7) for emotion in range(7)]
    )


def main() -> None:
    """Print the tables of docs/fusion.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with fer2013, emodb, urdu and ravdess")
    parser.add_argument("--speech", type=Path, required=True, help=f"the file of {SPEECH}")
    given = parser.parse_args()
    data = given.data
    torch.set_num_threads(1)
    clips = voices(data, given.speech)
    seen = faces(data)
    print(*face_rows(seen), sep="\n", flush=True)
    for whole_corpus in (False, True):
        heard = left_out(clips, whole_corpus)
        print(f"\nvoices of {'corpora' if whole_corpus else 'speakers'} left out")
        print(*voice_rows(heard), *pair_rows(seen, heard), sep="\n", flush=True)


if __name__ == "__main__":
    main()
