"""`bimodal data prepare`: what is missing, parts, videos cut as live workers cut them, and going on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.training.commands import app
from bimodal.training.datasets.loading import find_recordings, load_faces, load_recordings, tracks
from bimodal.training.datasets.manifest import read_manifest
from bimodal.training.datasets.readers import READERS, reader_named
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import parts_of
from tests.media import face_clip
from tests.training.trees import tone, write_fer2013, write_picture, write_ravdess, write_sound

runner = CliRunner()
REPOSITORY = Path(__file__).parents[3]


def test_every_data_set_is_listed() -> None:
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == len(READERS)
    with pytest.raises(DatasetError, match="there are manifest"):
        reader_named("imagenet")


def test_preparing_says_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "dst"
    write_ravdess(source, [1, 2, 3])
    (source / "Actor_02" / "03-01-03-01-01-01-02.wav").write_bytes(b"broken")
    result = runner.invoke(app, ["prepare", "ravdess", str(source), str(target)])
    assert result.exit_code == 0, result.output
    assert "24 of the original's 1440 items are here of 3 of its 24 speakers" in result.stderr
    assert "03-01-03-01-01-01-02.wav" in (target / "problems.txt").read_text()
    recordings = load_recordings(target, split="train")
    assert len(load_recordings(target)) == 23
    assert len({recording.clip.actor for recording in recordings}) == 2


def test_labels_of_ones_own_are_written_as_they_are_asked_for(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "src", [1, 2], seconds=0.3)
    arguments = ["prepare", "ravdess", str(tmp_path / "src"), str(tmp_path / "dst"), "--emotions", "calm, anger"]
    for _ in range(2):  # the second time from its journal
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "2 speakers: calm 2, anger 2, outside the set 12" in result.output
    found = read_manifest(tmp_path / "dst", EmotionSet(("anger", "calm")))
    assert sorted(item.label for item in found if item.label is not None) == [0, 0, 1, 1]
    refused = runner.invoke(app, arguments[:-2])
    assert "begun with another data set, interval or set of emotions" in refused.stderr
    wrong = runner.invoke(app, [*arguments[:-1], "happy,joy"])
    assert wrong.exit_code == 1
    assert "--emotions: 'happy' and 'joy' mean the same" in wrong.stderr


def test_a_random_split_must_be_asked_for_and_warns(tmp_path: Path) -> None:
    for number in range(10):
        write_picture(tmp_path / "src" / ("happy" if number % 2 else "sad") / f"{number}.png")
    arguments = ["prepare", "fer2013-folders", str(tmp_path / "src"), str(tmp_path / "dst")]
    refused = runner.invoke(app, arguments)
    assert refused.exit_code == 1
    assert "--split random" in refused.stderr
    result = runner.invoke(app, [*arguments, "--split", "random"])
    assert result.exit_code == 0, result.output
    assert "warning: a random split" in result.stderr
    assert len(load_faces(tmp_path / "dst", "valid")) == 2


def test_prepared_data_are_of_the_parts_of_the_original(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "ravdess", [1, 2], seconds=0.3)
    (tmp_path / "emo-db").mkdir()
    for name in ("03a01Fa.wav", "16b02Wa.wav"):
        write_sound(tmp_path / "emo-db" / name, tone(200, 0.3))
    for name, split in (("ravdess", "auto"), ("emo-db", "random")):
        target = tmp_path / f"{name}-prepared"
        result = runner.invoke(app, ["prepare", name, str(tmp_path / name), str(target), "--split", split])
        assert result.exit_code == 0, result.output
        parts = {clip.part for clip in find_recordings(target)}
        assert parts == {clip.part for clip in find_recordings(tmp_path / name)}
        assert all(part.startswith(f"{name}/") for part in parts)


def test_a_tree_that_an_earlier_version_prepared_gets_its_corpus_by_the_same_command(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "src", [1, 2], seconds=0.3)
    arguments = ["prepare", "ravdess", str(tmp_path / "src"), str(tmp_path / "dst")]
    for _ in range(2):
        assert runner.invoke(app, arguments).exit_code == 0
        assert {item.corpus for item in read_manifest(tmp_path / "dst")} == {"ravdess"}
        for name in (".prepared.jsonl", "manifest.csv"):
            path = tmp_path / "dst" / name
            path.write_text(
                path.read_text().replace(', "corpus": "ravdess", "own_split": ""', "").replace(",ravdess,", ",,")
            )
        assert {item.corpus for item in read_manifest(tmp_path / "dst")} == {""}


def test_pictures_keep_the_split_that_they_had(tmp_path: Path) -> None:
    votes = (np.eye(10, dtype=int)[np.arange(20) % 7] * 10).tolist()
    for place, split in enumerate(("train", "valid")):
        write_fer2013(tmp_path / "src", split, votes, seed=place)
    for name, parts in (("auto", {"fer2013/valid"}), ("random", {"fer2013/train", "fer2013/valid"})):
        result = runner.invoke(
            app, ["prepare", "fer2013", str(tmp_path / "src"), str(tmp_path / name), "--split", name]
        )
        assert result.exit_code == 0, result.output
        assert parts_of(tmp_path / name, "valid") == parts


def test_videos_become_faces_and_sound_as_live_workers_cut_them(tmp_path: Path) -> None:
    source = tmp_path / "src" / "Actor_05"
    source.mkdir(parents=True)
    face_clip(source / "01-01-03-01-01-01-05.mp4", 1.0)
    other = tmp_path / "src" / "Actor_06"
    other.mkdir()
    face_clip(other / "01-01-04-01-01-01-06.mp4", 1.0, faces=0)
    target = tmp_path / "dst"
    result = runner.invoke(app, ["prepare", "ravdess-video", str(tmp_path / "src"), str(target), "--interval", "0.25"])
    assert result.exit_code == 0, result.output
    assert "no face was found" in (target / "problems.txt").read_text()
    items = read_manifest(target)
    assert {item.label for item in items if item.medium == "picture"} == {EMOTIONS.index("happy")}
    (track,) = [*tracks(target, items[0].split)]
    assert [item.time_s for item in track] == [0.0, 0.25, 0.5, 0.75, 1.0][: len(track)]
    assert len(track) >= 4
    assert cv2.imread(str(track[0].path)).shape == (48, 48, 3)
    assert len(load_recordings(target)) == 2
    assert {clip.part for clip in find_recordings(target)} == {"ravdess/Actor_05", "ravdess/Actor_06"}
    assert parts_of(target, items[0].split) == {f"ravdess/{items[0].split}", "ravdess/Actor_05"}


def test_preparing_goes_on_after_a_kill(tmp_path: Path) -> None:
    source, killed, whole = tmp_path / "src", tmp_path / "killed", tmp_path / "whole"
    write_fer2013(source, "train", (np.eye(10, dtype=int)[np.arange(400) % 7] * 10).tolist())
    command = [sys.executable, "-m", "bimodal", "data", "prepare", "fer2013", str(source)]
    process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = killed / ".prepared.jsonl"
    while process.poll() is None and not (journal.is_file() and journal.read_bytes().count(b"\n") > 20):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = journal.read_bytes()
    assert not (killed / "manifest.csv").is_file()
    journal.write_bytes(done + b'{"key": "cut off in the mid')
    first = min(killed.glob("data/train/*.png"))
    before = first.stat().st_mtime_ns
    for target in (killed, whole):
        result = runner.invoke(app, ["prepare", "fer2013", str(source), str(target)])
        assert result.exit_code == 0, result.output
    assert (killed / "manifest.csv").read_bytes() == (whole / "manifest.csv").read_bytes()
    assert first.stat().st_mtime_ns == before  # what was done is not done again
    assert np.array_equal(load_faces(killed, "train").pictures, load_faces(source, "train").pictures)
    assert not list(killed.rglob(".*.new"))


def test_a_folder_that_was_begun_with_other_data_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_ravdess(tmp_path / name, [1, 2])
    assert runner.invoke(app, ["prepare", "ravdess", str(tmp_path / "one"), str(tmp_path / "dst")]).exit_code == 0
    result = runner.invoke(app, ["prepare", "ravdess", str(tmp_path / "two"), str(tmp_path / "dst")])
    assert result.exit_code == 1
    assert "begun with another data set" in result.stderr
