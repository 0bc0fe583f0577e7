"""Everything that the default config runs, on every data set of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.models.emotions import EmotionSet
from bimodal.models.session import open_artifact
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.command import evaluate
from bimodal.training.evaluate.everything import evaluate_everything, find_data_sets, table_rows
from bimodal.training.to_artifact import set_metadata
from tests.artifacts import make_face_static, make_speech
from tests.training.trees import tone, write_films, write_picture, write_sound


def faces(folder: Path, splits: tuple[str, ...] = ("train", "valid")) -> Path:
    random = np.random.default_rng(0)
    for split in splits:
        for emotion in ("happy", "anger"):
            (folder / split / emotion).mkdir(parents=True)
            for number in range(2):
                cv2.imwrite(
                    str(folder / split / emotion / f"{number}.png"),
                    random.integers(0, 256, (48, 48, 3), dtype=np.uint8),
                )
    return folder


def photographs(folder: Path) -> Path:
    """Pictures of people without splits, as a manifest names them."""
    folder.mkdir(parents=True)
    rows = ["path,label,speaker"]
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((60, 60, 3), 40 * number, np.uint8))
        rows.append(f"{number}.png,{'happy' if number % 2 else 'sad'},p{number}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def voices(folder: Path) -> Path:
    for actor, emotion in ((1, 3), (2, 5)):
        place = folder / f"Actor_{actor:02}"
        place.mkdir(parents=True)
        write_sound(place / f"03-01-{emotion:02}-01-01-01-{actor:02}.wav", tone(220, 2.0))
    return folder


def test_data_sets_are_measured_each_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    faces(data / "b_faces"), photographs(data / "c_photos"), voices(data / "a_voices")
    (data / "notes").mkdir()
    assert [(found.folder.name, found.medium) for found in find_data_sets(data)] == [
        ("a_voices", "sound"), ("b_faces", "picture"), ("c_photos", "picture")
    ]  # fmt: skip
    result = CliRunner().invoke(
        evaluate,
        ["everything", "--data", str(data), "--out", str(tmp_path / "out"), "--json", str(tmp_path / "all.json")],
    )
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "all.json").read_text())
    assert [(entry["data"], entry["n"]) for entry in written] == [
        ("a_voices, 2 actors", 2), ("b_faces/valid", 4), ("c_photos/all", 5)
    ]  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in ("a_voices", "b_faces/valid", "c_photos/all", "All figures"):
        assert words in page
    assert "| c_photos/all | " in result.output
    assert len(list((tmp_path / "out").glob("*confusion.png"))) == 3


def test_faces_speech_and_fusion_of_prepared_videos_are_measured(tmp_path: Path) -> None:
    films = write_films(tmp_path / "data" / "films")
    table = films / "manifest.csv"
    face, voice = make_face_static(tmp_path / "face.onnx"), make_speech(tmp_path / "voice.onnx")
    known = open_artifact(voice, provider="cpu").metadata
    set_metadata(voice, msgspec.structs.replace(known, metrics={"trained_on": ["films/s3"]}))
    config = tmp_path / "run.yaml"
    config.write_text(f"models: {{face-static: {face}, speech: {voice}}}\nfusion: {{strategy: average}}\n")
    said: list[str] = []
    measured = evaluate_everything(tmp_path / "data", False, said.append, config)
    assert [each.data for each in measured] == ["films/valid", "films, 1 actors", "films/valid"]
    assert [each.seen_in_training for each in measured] == [False, True, True]
    assert measured[2].model == "average"
    table.write_text(table.read_text().replace(",s3,", ",,"))  # who speaks is not known
    measured = evaluate_everything(tmp_path / "data", False, said.append, config)
    assert [each.data for each in measured] == ["films/valid", "films/valid"]
    assert any(line.startswith("speech of films is left out") for line in said)


def test_a_data_set_alone_and_what_can_not_be_measured(tmp_path: Path) -> None:
    (only,) = find_data_sets(faces(tmp_path / "faces"))
    assert only.medium == "picture"
    with pytest.raises(DatasetError, match="holds no data set"):
        find_data_sets(tmp_path / "nowhere")
    said: list[str] = []
    broken = voices(tmp_path / "two" / "a_voices")
    for path in broken.rglob("*.wav"):
        path.write_bytes(b"no sound")
    faces(tmp_path / "two" / "b_faces")
    found = evaluate_everything(tmp_path / "two", False, said.append)
    assert [each.data for each in found] == ["b_faces/valid"]
    assert any("a_voices is left out" in line for line in said)
    assert {row["data"] for row in table_rows(found)} == {"b_faces/valid"}


def test_emotions_of_ones_own_are_found_and_models_that_know_none_left_out(tmp_path: Path) -> None:
    for place, name in enumerate(("neutral", "bored")):
        write_picture(tmp_path / "data" / "b_faces" / "valid" / name / "1.png", 60 + 100 * place)
    (tmp_path / "data" / "a_voices").mkdir()
    write_sound(tmp_path / "data" / "a_voices" / "1.wav", tone(220, 2.0))
    (tmp_path / "data" / "a_voices" / "manifest.csv").write_text("path,label,speaker\n1.wav,bored,a\n")
    own = EmotionSet(("bored", "engaged"))
    assert [found.folder.name for found in find_data_sets(tmp_path / "data", own)] == ["a_voices", "b_faces"]
    face = make_face_static(tmp_path / "face.onnx", labels=("neutral", "bored"), categories=("bored",))
    (tmp_path / "own.yaml").write_text(f"emotions: [bored, engaged]\nmodels: {{face-static: {face}}}\n")
    said: list[str] = []
    (found,) = evaluate_everything(tmp_path / "data", False, said.append, tmp_path / "own.yaml")
    assert (found.data, found.figures.labels, found.figures.n) == ("b_faces/valid", own.emotions, 1)
    assert any("speech-whisper@2 knows none of the emotions bored, engaged: its classes are" in line for line in said)
