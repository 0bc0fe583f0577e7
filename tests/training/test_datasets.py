"""Every reader on a small tree in the original's naming; parts by speaker; preparing, cut off and gone on with."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.emotions import EMOTIONS
from tests.media import face_clip
from tests.training.trees import VOTES, tone, write_fer2013, write_ravdess, write_sound
from training.commands_data import app
from training.datasets import naming
from training.datasets.items import Item, divided
from training.datasets.loading import load_faces, load_recordings, tracks
from training.datasets.manifest import read_manifest, write_manifest
from training.datasets.readers import READERS, reader_named, reader_of
from training.errors import DatasetError

runner = CliRunner()
REPOSITORY = Path(__file__).parents[2]
Maker = Callable[[Path], None]


def picture(path: Path, level: int = 100, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), level, np.uint8))


def sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sound(path, tone(200, 0.5))


def fer2013_table(folder: Path) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    with (folder / "fer2013.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["emotion", "pixels", "Usage"])
        table.writerows([[0, pixels, "Training"], [3, pixels, "Training"], [6, pixels, "PublicTest"]])


def affectnet(folder: Path) -> None:
    for part, numbers in (("train_set", "0137"), ("val_set", "58")):
        for name, number in enumerate(numbers):
            picture(folder / part / "images" / f"{name}.jpg", side=96)
            note = folder / part / "annotations" / f"{name}_exp.npy"
            note.parent.mkdir(exist_ok=True)
            np.save(note, number)


def affectnet_folders(folder: Path) -> None:
    for number in range(8):
        picture(folder / "train" / str(number) / "1.jpg", side=64)
        picture(folder / "val" / str(number) / "2.jpg", side=64)


def class_folders(folder: Path) -> None:
    for split in ("train", "test"):
        for word in ("angry", "happy", "neutral"):
            picture(folder / split / word / "Training_1.jpg")


def crema_d(folder: Path) -> None:
    for name in ("1001_DFA_ANG_XX", "1001_IEO_HAP_HI", "1040_ITH_SAD_X", "1091_WSI_NEU_XX"):
        sound(folder / "AudioWAV" / f"{name}.wav")


def emo_db(folder: Path) -> None:
    for name in ("03a01Fa", "03a01Wa", "08b10Lb", "16b03Td", "16a02Nc"):
        sound(folder / "wav" / f"{name}.wav")


def anyone(folder: Path) -> None:
    picture(folder / "a.png")
    (folder / "manifest.csv").write_text("path,label,split,speaker\na.png,joy,Training,me\n")


FORMS: list[tuple[str, Maker, list[tuple[str | None, str, str]]]] = [
    ("fer2013-table", fer2013_table, [("anger", "train", ""), ("happy", "train", ""), ("neutral", "valid", "")]),
    ("fer2013-folders", class_folders, [
        ("anger", "test", ""), ("anger", "train", ""), ("happy", "test", ""), ("happy", "train", ""),
        ("neutral", "test", ""), ("neutral", "train", ""),
    ]),
    ("affectnet", affectnet, [
        (None, "train", ""), (None, "valid", ""), ("disgust", "valid", ""), ("happy", "train", ""),
        ("neutral", "train", ""), ("surprise", "train", ""),
    ]),
    ("crema-d", crema_d, [("anger", "", "1001"), ("happy", "", "1001"), ("neutral", "", "1091"), ("sad", "", "1040")]),
    ("emo-db", emo_db, [
        (None, "", "08"), ("anger", "", "03"), ("happy", "", "03"), ("neutral", "", "16"), ("sad", "", "16"),
    ]),
    ("manifest", anyone, [("happy", "train", "me")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "expected"), FORMS, ids=[form[0] for form in FORMS])
def test_a_tree_in_the_original_naming_is_recognised_and_read(
    tmp_path: Path, name: str, make: Maker, expected: list[tuple[str | None, str, str]]
) -> None:
    make(tmp_path)
    reader = reader_of(tmp_path)
    assert reader.name == name
    words = [(None if item.label is None else EMOTIONS[item.label], item.split, item.speaker)
             for item in reader.read(tmp_path)]  # fmt: skip
    assert sorted(words, key=str) == sorted(expected, key=str)


def test_affectnet_as_a_folder_a_class(tmp_path: Path) -> None:
    affectnet_folders(tmp_path)
    items = reader_of(tmp_path).read(tmp_path)
    by_number = {item.path.parent.name: item.label for item in items if item.split == "valid"}
    words = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"]
    assert by_number == {str(place): EMOTIONS.index(word) for place, word in enumerate(words)} | {"7": None}


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_ravdess_speech_is_told_from_its_videos(tmp_path: Path, suffix: str) -> None:
    write_ravdess(tmp_path, [1, 2], suffix)
    (tmp_path / "Actor_01" / "01-01-03-01-01-01-01.mp4").write_bytes(b"a video")
    (tmp_path / "Actor_01" / "02-01-03-01-01-01-01.mp4").write_bytes(b"the same without its sound")
    assert len(reader_of(tmp_path, ["sound"]).read(tmp_path)) == 16
    videos = reader_of(tmp_path, ["video"])
    assert videos.name == "ravdess-video"
    assert [(item.label, item.speaker) for item in videos.read(tmp_path)] == [(EMOTIONS.index("happy"), "Actor_01")]


def test_ferplus_votes_beside_the_table_are_taken(tmp_path: Path) -> None:
    fer2013_table(tmp_path)
    with (tmp_path / "fer2013new.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Usage", "Image name", *VOTES])
        rows = ([0, 8, 0, 0, 2, 0, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [10, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        table.writerows([["Training", "x.png", *row] for row in rows])
    assert load_faces(tmp_path, "train").majority.tolist() == [EMOTIONS.index("happy"), -1]
    assert load_faces(tmp_path, "train", "fer2013").majority.tolist() == [
        EMOTIONS.index("anger"),
        EMOTIONS.index("happy"),
    ]


def test_labels_that_are_not_there_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path)
    with pytest.raises(DatasetError, match="no FER2013 labels"):
        load_faces(tmp_path, "train", "fer2013")
    with pytest.raises(DatasetError, match=r"no FER\+ votes"):
        load_faces(tmp_path, "train", "ferplus")
    with pytest.raises(DatasetError, match="no split 'valid'"):
        load_faces(tmp_path, "valid")


@pytest.mark.parametrize(
    ("stem", "emotion", "speaker"),
    [
        ("mead_M003_happy", "happy", "M003"),
        ("01-01-08-02-01-02-24", "surprise", "Actor_24"),
        ("1012_TIE_FEA_MD", "fear", "1012"),
        ("15b09Eb", "disgust", "15"),
    ],
)
def test_the_name_of_a_clip_says_who_and_what(stem: str, emotion: str, speaker: str) -> None:
    assert naming.clip(stem) == naming.Named(emotion, speaker)


@pytest.mark.parametrize("stem", ["holiday", "mead_M003_bored", "01-01-09-01-01-01-01", "1001_DFA_XXX_XX", "01-02-03"])
def test_names_that_say_nothing(stem: str) -> None:
    assert naming.clip(stem) is None


def test_other_speech_is_loaded_with_its_speakers(tmp_path: Path) -> None:
    emo_db(tmp_path)
    recordings = load_recordings(tmp_path)
    assert [(r.clip.actor, r.clip.part) for r in recordings] == [
        (3, "emo-db/03"), (3, "emo-db/03"), (16, "emo-db/16"), (16, "emo-db/16")
    ]  # fmt: skip


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), st.integers(0, 1000))
def test_no_speaker_is_on_both_sides(speakers: list[str], seed: int) -> None:
    items = [Item(Path(f"{place}.wav"), 0, speaker=speaker) for place, speaker in enumerate(speakers)]
    if len(set(speakers)) < 2:
        with pytest.raises(DatasetError, match="--split random"):
            divided(items, "auto", seed)
        return
    parts = divided(items, "auto", seed)
    train = {item.speaker for item in parts if item.split == "train"}
    valid = {item.speaker for item in parts if item.split == "valid"}
    assert train
    assert valid
    assert not train & valid
    assert parts == divided(items, "speaker", seed)


def test_parts_of_the_data_set_come_first_and_random_is_never_chosen() -> None:
    official = [Item(Path("a"), 0, "test"), Item(Path("b"), 0, "train")]
    assert divided(official, "auto", 0) == official
    with pytest.raises(DatasetError, match="no parts of its own"):
        divided([Item(Path("a"), 0)], "official", 0)
    mixed = divided([Item(Path(str(place)), 0) for place in range(50)], "random", 1)
    assert sum(item.split == "valid" for item in mixed) == 10


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    items = [
        Item(tmp_path / "a.png", 3, "train", "me", votes={"happy": 7.0, "NF": 3.0}, clip="c", time_s=0.4, given=2),
        Item(tmp_path / "sub" / "b.wav", None, "valid", "ü"),
    ]
    write_manifest(tmp_path, items)
    assert read_manifest(tmp_path) == items


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,label\na.png,happy\n", "lacks path"),
        ("path,label\na.png,grumpy\n", "line 2"),
        ("path,label\n,happy\n", "'path' is empty"),
        ("path,label\n", "has no rows"),
    ],
)
def test_a_wrong_manifest_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        read_manifest(tmp_path)


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


def test_a_random_split_must_be_asked_for_and_warns(tmp_path: Path) -> None:
    for number in range(10):
        picture(tmp_path / "src" / ("happy" if number % 2 else "sad") / f"{number}.png")
    arguments = ["prepare", "fer2013-folders", str(tmp_path / "src"), str(tmp_path / "dst")]
    refused = runner.invoke(app, arguments)
    assert refused.exit_code == 1
    assert "--split random" in refused.stderr
    result = runner.invoke(app, [*arguments, "--split", "random"])
    assert result.exit_code == 0, result.output
    assert "warning: a random split" in result.stderr
    assert len(load_faces(tmp_path / "dst", "valid")) == 2


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


def test_preparing_goes_on_after_a_kill(tmp_path: Path) -> None:
    source, killed, whole = tmp_path / "src", tmp_path / "killed", tmp_path / "whole"
    write_fer2013(source, "train", (np.eye(10, dtype=int)[np.arange(400) % 7] * 10).tolist())
    command = [sys.executable, str(REPOSITORY / "bimodal.py"), "data", "prepare", "fer2013", str(source)]
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
