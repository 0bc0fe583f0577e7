"""Four emotions of one's own from pictures to tables: trained, named in config.yaml, analysed, reported, compared."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bimodal.models.session import open_artifact
from bimodal.recordings.reading import clips
from tests.end_to_end.driving import run
from tests.media import scene, write_clip
from tests.training.trees import write_picture

FOUR = ("neutral", "bored", "engaged", "confused")
CONFIG = """
name: four
version: "1"
data: pictures
output: four
emotions: [neutral, bored, engaged, confused]
sizes: [24, 24, 24, 24]
curve: [[0, 1], [4, 0]]
widths: [8, 8, 8]
depth: 1
dropout: 0
batch: 8
learning_rate: 0.05
weight_decay: 0
calibration_every: 4
augmentation: moves
"""
RUN = """
models: {{face-static: {model}, speech: none, face-details: none}}
emotions: [neutral, bored, engaged, confused]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model in four/, and results of one clip in results/."""
    folder = tmp_path_factory.mktemp("own")
    for split, count in (("train", 12), ("valid", 3)):
        for place, name in enumerate(("neutral", "boredom", "engaged", "confused")):
            for number in range(count):
                write_picture(folder / "pictures" / split / name / f"{number}.png", 30 + 60 * place + number)
    (folder / "four.yaml").write_text(CONFIG)
    code, out, err = run("train", "face", "--config", folder / "four.yaml", "--data", folder / "pictures",
                         "--output", folder / "four", cwd=folder)  # fmt: skip
    assert code == 0, out + err
    (folder / "study").mkdir()
    write_clip(folder / "study" / "talk.mp4", [scene(1, number / 25) for number in range(12)])
    (folder / "own.yaml").write_text(RUN.format(model=folder / "four" / "model.onnx"))
    code, out, err = run("analyze", folder / "study", "--out", folder / "results", "--config", folder / "own.yaml",
                         "--report", "--workers", 1)  # fmt: skip
    assert code == 0, out + err
    return folder


def test_the_artifact_says_what_it_knows(folder: Path) -> None:
    artifact = open_artifact(folder / "four" / "model.onnx", "face-static", provider="cpu")
    assert artifact.metadata.labels == FOUR
    assert artifact.metadata.categories == FOUR[1:], "none of the seven, and kept by name"
    recall = (artifact.metadata.metrics or {})["recall"]
    assert isinstance(recall, dict)
    assert set(recall) == set(FOUR)


def test_the_tables_have_the_four_and_no_other(folder: Path) -> None:
    table = pq.read_table(folder / "results" / "talk.parquet")
    fused = [name for name in table.column_names if name.startswith("fused_")]
    assert fused == [f"fused_{name}" for name in FOUR]
    assert not [name for name in table.column_names if name.endswith(("_happy", "_anger"))]
    rows = table.to_pylist()
    faces = [row for row in rows if row["track"] is not None]
    assert faces
    assert {row["label"] for row in faces} <= set(FOUR)
    for row in faces:
        assert sum(row[name] for name in fused) == pytest.approx(1.0, abs=1e-3)
    with (folder / "results" / "talk.csv").open() as file:
        assert next(csv.reader(file))[: len(rows[0])][10:14] == [f"static_{name}" for name in FOUR]
    joint = pq.read_table(folder / "results" / "corpus" / "clips.parquet")
    assert [name for name in joint.column_names if name.startswith("share_")] == [f"share_{name}" for name in FOUR]
    page = (folder / "results" / "talk.html").read_text()
    assert all(name in page for name in FOUR)
    assert "surprise</span>" not in page


def test_a_recording_keeps_its_set_whatever_the_config_says_now(folder: Path) -> None:
    record = json.loads((folder / "results" / "talk.session.json").read_text())
    assert record["stream"]["emotions"] == list(FOUR)
    assert record["session"]["config"]["emotions"] == list(FOUR)
    (clip,) = clips(folder / "results" / "talk.jsonl")
    assert clip.emotions.emotions == FOUR
    code, out, err = run("convert", folder / "results" / "talk.jsonl", "--to", "csv-long")
    assert code == 0, out + err
    long = (folder / "results" / "talk.long.csv").read_text()
    assert "fused_bored" in long
    (folder / "other.yaml").write_text(
        RUN.format(model=folder / "four" / "model.onnx").replace("[neutral, bored, engaged", "[engaged, neutral, bored")
    )
    for config, said in (("own.yaml", "0 to do, 1 done before"), ("other.yaml", "1 to do, 0 done before")):
        code, out, err = run("analyze", folder / "study", "--out", folder / "results", "--config", folder / config,
                             "--dry-run")  # fmt: skip
        assert said in out + err, "the set is part of what a result is"


def test_clips_and_pictures_are_measured_in_the_words_of_the_set(folder: Path) -> None:
    (folder / "study" / "manifest.csv").write_text("path,label\ntalk.mp4,boredom\n")
    code, out, err = run("evaluate", "clips", folder / "study", "--config", folder / "own.yaml",
                         "--json", folder / "clips.json")  # fmt: skip
    (folder / "study" / "manifest.csv").unlink()
    assert code == 0, out + err
    assert "true bored" in out
    found = json.loads((folder / "clips.json").read_text())
    assert [(found[way]["labels"], found[way]["n"]) for way in ("video", "fused")] == [(list(FOUR), 1)] * 2


def test_people_are_compared_in_the_words_of_the_set(folder: Path) -> None:
    labels = folder / "labels.csv"
    labels.write_text("clip,label\ntalk,boredom\n")
    code, out, err = run("agree", folder / "results", labels, "--json")
    assert code == 0, out + err
    assert "bored" in json.loads(out)["labels"]


def test_a_model_that_knows_none_of_them_is_refused_with_a_true_sentence(folder: Path) -> None:
    config = folder / "wrong.yaml"
    config.write_text("emotions: [pain, interest]\nmodels: {speech: none}\n")
    code, _, err = run("analyze", folder / "study" / "talk.mp4", "--out", folder / "wrong", "--config", config)
    assert code == 1
    assert "knows none of the emotions pain, interest: its classes are neutral, happy" in err
    assert "Traceback" not in err
    assert not [*folder.glob("wrong/*")]
