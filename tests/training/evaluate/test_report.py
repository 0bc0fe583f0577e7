"""Figures, intervals and the files of a report; clips told by their names, through the real pipeline."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal.models.contract import Metadata
from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.clips import find_videos, read_events
from bimodal.training.evaluate.command import evaluate, lines_of
from bimodal.training.evaluate.evaluate import Cost, Evaluation
from bimodal.training.evaluate.metrics import mean_recall, measure, reliability, wilson
from bimodal.training.evaluate.report import figures_json, write_report
from bimodal.training.to_artifact import card_of
from tests.media import face_clip, scene, write_clip

runner = CliRunner()


def evaluation(seed: int = 0, examples: int = 40, **fields: object) -> Evaluation:
    random = np.random.default_rng(seed)
    true = random.integers(0, 7, examples)
    table = random.dirichlet(np.ones(7), examples)
    values = {"model": "tiny@1", "data": "none", "protocol": "dice", "seen_in_training": False, **fields}
    return Evaluation(
        **values,  # type: ignore[arg-type]
        figures=measure(true, table, EMOTIONS),
        seconds=1.25,
        true=true.tolist(),
        probabilities=table.tolist(),
    )


@given(st.integers(0, 500), st.integers(1, 500))
def test_an_interval_holds_its_share_and_narrows_with_examples(right: int, n: int) -> None:
    right = min(right, n)
    low, high = wilson(right, n)
    assert 0 <= low <= right / n + 1e-12
    assert right / n - 1e-12 <= high <= 1
    narrow_low, narrow_high = wilson(right * 10, n * 10)
    assert narrow_high - narrow_low < high - low


def test_known_intervals() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # R: prop.test(5, 10, correct = FALSE)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@given(st.integers(0, 1000), st.integers(1, 60))
def test_every_example_lies_in_one_bin_of_the_diagram(seed: int, examples: int) -> None:
    random = np.random.default_rng(seed)
    table = random.dirichlet(np.ones(7), examples)
    confidence, right, counts = reliability(random.integers(0, 7, examples), table)
    assert counts.sum() == examples
    assert (right <= counts).all()
    assert confidence.sum() == pytest.approx(table.max(axis=1).sum())


def test_a_report_is_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    found = evaluation(data="<b>mine</b>", seen_in_training=True)
    page = write_report(tmp_path / "out", "A title", [found]).read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<b>mine</b>" not in page
    assert "no figures to" in page
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert [base64.b64decode(text) for text in pictures] == [
        (tmp_path / "out" / name).read_bytes() for name in ("confusion.png", "reliability.png")
    ]
    assert min(cv2.imread(str(tmp_path / "out" / "confusion.png")).shape[:2]) > 300
    for label in EMOTIONS:
        assert label in page


def test_the_json_has_the_keys_that_are_promised() -> None:
    found = figures_json(evaluation())
    assert list(found) == [
        "accuracy", "uar", "f1", "ece", "aurc", "n", "per_class", "confusion", "labels", "model", "seconds"
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_videos_are_found_by_name_or_manifest(tmp_path: Path) -> None:
    for name in ("mead_M003_happy.mp4", "holiday.mp4", "1001_DFA_ANG_XX.flv"):
        (tmp_path / name).write_bytes(b"not looked at")
    assert [(item.path.name, EMOTIONS[item.label or 0]) for item in find_videos(tmp_path)] == [
        ("1001_DFA_ANG_XX.flv", "anger"),
        ("mead_M003_happy.mp4", "happy"),
    ]
    (tmp_path / "manifest.csv").write_text("path,label\nholiday.mp4,joy\n")
    assert [item.path.name for item in find_videos(tmp_path)] == ["holiday.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="whose name says its emotion"):
        find_videos(tmp_path / "empty")


def test_videos_and_events_of_emotions_of_ones_own(tmp_path: Path) -> None:
    among = EmotionSet(("calm", "bored", "happy"))
    for name in ("mead_M003_bored.mp4", "01-01-02-01-01-01-05.mp4", "mead_M003_sad.mp4"):
        (tmp_path / name).write_bytes(b"not looked at")
    found = {item.path.name: item.label for item in find_videos(tmp_path, among)}
    assert found == {"mead_M003_bored.mp4": 1, "01-01-02-01-01-01-05.mp4": 0}
    (tmp_path / "manifest.csv").write_text("path,label\nholiday.mp4,boredom\ndoor.mp4,other\n")
    assert [(item.path.name, item.label) for item in find_videos(tmp_path, among)] == [("holiday.mp4", 1)]
    said = {"bored": 0.75, "happy": 0.25}
    event = {"t": 1.0, "faces": [], "models": {}, "speech": {"probabilities": said, "age_ms": 0}}
    (tmp_path / "a.jsonl").write_text(json.dumps(event))
    assert read_events(tmp_path / "a.jsonl", among).probabilities["fused"].tolist() == [0.0, 0.75, 0.25]


def test_a_speech_window_counts_once_however_many_frames_it_lasts(tmp_path: Path) -> None:
    sad, happy = ({emotion: float(emotion == word) for emotion in EMOTIONS} for word in ("sad", "happy"))
    events = []
    for frame in range(6):
        t, ended = frame * 0.1, 0.0 if frame < 5 else 0.5
        said = sad if frame < 5 else happy
        events.append({"t": t, "faces": [], "models": {"speech": "s@1"},
                       "speech": {"probabilities": said, "age_ms": (t - ended) * 1000}})  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(event) for event in events))
    heard = read_events(tmp_path / "a.jsonl")
    assert heard.probabilities["speech"][EMOTIONS.index("happy")] == pytest.approx(0.5)
    assert "video" not in heard.probabilities
    assert heard.models == {"speech": "s@1"}


def test_clips_run_through_the_whole_pipeline(tmp_path: Path) -> None:
    face_clip(tmp_path / "01-01-01-01-01-01-01.mp4", 2.6)
    write_clip(tmp_path / "mead_W002_sad.mp4", [scene(0)] * 10)
    config = tmp_path / "config.yaml"
    config.write_text(
        "models: {face-static: face-compact, "
        "face-dynamic: face-dynamic-compact, fusion: fusion-learned}\nfusion: {strategy: learned}\n"
    )
    places = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "figures.json"), "--config", str(config)]
    arguments = ["clips", str(tmp_path), *places]
    result = runner.invoke(evaluate, arguments)
    assert result.exit_code == 0, result.output
    assert "fused (face-compact@1 + face-dynamic-compact@1 + speech-whisper@2 + fusion-learned@1)" in result.output
    assert result.output.count("the model was trained on some of this data") == 2, "speech and fused heard Actor_01"
    found = json.loads((tmp_path / "figures.json").read_text())
    assert set(found) == {"video", "speech", "fused"}
    assert all(way["n"] == 2 for way in found.values())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "mead_W002_sad.mp4" in page
    assert page.count("data:image/png") == 6


def test_a_clip_that_can_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mead_M001_neutral.mp4").write_bytes(b"no video")
    result = runner.invoke(evaluate, ["clips", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("bimodal: the analysis failed")


def test_a_card_shows_named_figures_as_a_table_and_intervals_beneath_their_recalls() -> None:
    metrics: dict[str, object] = {
        "uar": 0.6,
        "recall": {"happy": 0.9, "sad": 0.5},
        "recall_95": {"happy": [0.8, 0.95], "sad": [0.3, 0.7]},
        "conditions": {"gain -20 dB": 0.59, "small room": 0.41},
        "live": {"protocol": "each window", "uar": 0.5},
    }
    card = card_of(
        Metadata(contract="1", kind="speech", name="a", version="1", license="MIT", source="b", metrics=metrics),
        "train",
    )
    assert "\n| | 0.9 | 0.5 |\n| 95 % interval (Wilson) | 0.8 – 0.95 | 0.3 – 0.7 |\n" in card
    table = "| UAR of the centre window, heard under | |\n|---|---|\n| gain -20 dB | 0.59 |\n| small room | 0.41 |\n"
    assert f"\n{table}\n" in card
    assert 'live: {"protocol": "each window", "uar": 0.5}' in card


def test_what_is_printed_of_an_evaluation() -> None:
    cost = Cost(milliseconds=1.234, answers=50, of=(48, 48, 3), megabytes=9.671)
    told = "\n".join(lines_of(evaluation(examples=330, conditions={"small room": 0.4123}, cost=cost)))
    assert "1.23 ms of one core an answer to 48×48×3 values (median of 50, one at a time); 9.67 MB" in told
    assert "centre windows under small room: UAR 0.4123" in told


def test_recalls_of_rare_classes_are_left_out_of_their_mean() -> None:
    true = np.repeat([0, 1, 2], [60, 50, 49])
    found = np.eye(7)[np.where(np.arange(159) % 2 == 0, true, 6)]
    mean, classes = mean_recall(measure(true, found, EMOTIONS), 50)
    assert (mean, classes) == (pytest.approx(0.5), ["neutral", "happy"])
