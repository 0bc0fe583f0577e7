"""Every reader on a small tree in the original's naming; parts by speaker; manifests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal.models.emotions import EMOTIONS
from bimodal.training.commands import app
from bimodal.training.datasets.items import Item, divided
from bimodal.training.datasets.loading import find_recordings, load_faces, load_recordings, picture_items
from bimodal.training.datasets.manifest import read_manifest, write_manifest
from bimodal.training.datasets.names import CORPORA, corpus_named
from bimodal.training.datasets.readers import READERS, reader_of
from bimodal.training.errors import DatasetError
from tests.training.trees import VOTES, tone, write_picture, write_ravdess, write_sound

runner = CliRunner()
REPOSITORY = Path(__file__).parents[3]
Maker = Callable[[Path], None]


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
            write_picture(folder / part / "images" / f"{name}.jpg", side=96)
            note = folder / part / "annotations" / f"{name}_exp.npy"
            note.parent.mkdir(exist_ok=True)
            np.save(note, number)


def affectnet_folders(folder: Path) -> None:
    for number in range(8):
        write_picture(folder / "train" / str(number) / "1.jpg", side=64)
        write_picture(folder / "val" / str(number) / "2.jpg", side=64)


def class_folders(folder: Path) -> None:
    for split in ("train", "test"):
        for word in ("angry", "happy", "neutral"):
            write_picture(folder / split / word / "Training_1.jpg")


def crema_d(folder: Path) -> None:
    for name in ("1001_DFA_ANG_XX", "1001_IEO_HAP_HI", "1040_ITH_SAD_X", "1091_WSI_NEU_XX"):
        sound(folder / "AudioWAV" / f"{name}.wav")


def emo_db(folder: Path) -> None:
    for name in ("03a01Fa", "03a01Wa", "08b10Lb", "16b03Td", "16a02Nc"):
        sound(folder / "wav" / f"{name}.wav")


def urdu(folder: Path) -> None:
    for name in ("Angry/SM1_F10_A010", "Happy/SF2_F3_H003", "Neutral/SM1_F1_N001", "Sad/SM27_F9_S09"):
        sound(folder / f"{name}.wav")


def nemo(folder: Path) -> None:
    for name in ("EB0_anger_1", "KS0_happiness_14", "KS0_surprised_3", "MP0_surprise_3"):
        sound(folder / "samples" / f"{name}.wav")


def tess(folder: Path) -> None:
    for name in ("OAF_angry/OAF_back_angry", "OAF_neutral/OA_bite_neutral", "YAF_pleasant_surprised/YAF_dog_ps"):
        sound(folder / f"{name}.wav")


def savee(folder: Path) -> None:
    for name in ("DC/a01", "JK/sa02", "ALL/KL_su15", "Info/n01"):
        sound(folder / "AudioData" / f"{name}.wav")


def jaffe(folder: Path) -> None:
    for name in ("KA.AN1.39", "KL.NE2.156", "TM.SU3.192"):
        write_picture(folder / f"{name}.tiff", side=64)


def kdef(folder: Path) -> None:
    for name in ("AF01/AF01AFS", "BM35/BM35NEHL", "AM07/am07dis"):
        write_picture(folder / "KDEF" / f"{name}.JPG", side=64)


def cfee(folder: Path) -> None:
    for name in ("01-04/Images1/02_339_3470", "01-04/Images1/04_126_3963", "05-08/Images2/08_126_4001"):
        write_picture(folder / f"{name}.jpg", side=64)


def raf_db(folder: Path) -> None:
    for name in ("train_00001_aligned", "train_00002_aligned", "test_0001_aligned"):
        write_picture(folder / "Image" / "aligned" / f"{name}.jpg", side=64)
    write_picture(folder / "Image" / "original" / "train_00001.jpg", side=64)
    (folder / "EmoLabel").mkdir()
    (folder / "EmoLabel" / "list_patition_label.txt").write_text(
        "train_00001.jpg 5\ntrain_00002.jpg 1\ntest_0001.jpg 7\ntest_0002.jpg 4\n"
    )


def raf_db_folders(folder: Path) -> None:
    write_picture(folder / "DATASET" / "train" / "6" / "train_00003_aligned.jpg", side=64)
    write_picture(folder / "DATASET" / "test" / "3" / "test_0009_aligned.jpg", side=64)


def anyone(folder: Path) -> None:
    write_picture(folder / "a.png")
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
    ("urdu", urdu, [("anger", "", "SM1"), ("happy", "", "SF2"), ("neutral", "", "SM1"), ("sad", "", "SM27")]),
    ("nemo", nemo, [("anger", "", "EB0"), ("happy", "", "KS0"), ("surprise", "", "KS0"), ("surprise", "", "MP0")]),
    ("tess", tess, [("anger", "", "OAF"), ("neutral", "", "OAF"), ("surprise", "", "YAF")]),
    ("savee", savee, [("anger", "", "DC"), ("sad", "", "JK"), ("surprise", "", "KL")]),
    ("jaffe", jaffe, [("anger", "", "KA"), ("neutral", "", "KL"), ("surprise", "", "TM")]),
    ("kdef", kdef, [("fear", "", "F01"), ("neutral", "", "M35"), ("disgust", "", "M07")]),
    ("cfee", cfee, [("happy", "", "339"), ("fear", "", "126"), (None, "", "126")]),
    ("raf-db", raf_db, [("sad", "train", ""), ("surprise", "train", ""), ("neutral", "test", "")]),
    ("raf-db", raf_db_folders, [("anger", "train", ""), ("disgust", "test", "")]),
    ("manifest", anyone, [("happy", "train", "me")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "expected"), FORMS, ids=[form[1].__name__ for form in FORMS])
def test_a_tree_in_the_original_naming_is_recognised_and_read(
    tmp_path: Path, name: str, make: Maker, expected: list[tuple[str | None, str, str]]
) -> None:
    make(tmp_path)
    reader = reader_of(tmp_path)
    assert reader.name == name
    words = [(None if item.label is None else EMOTIONS[item.label], item.split, item.speaker)
             for item in reader.read(tmp_path)]  # fmt: skip
    assert sorted(words, key=str) == sorted(expected, key=str)


def test_a_number_that_rafdb_does_not_have_is_named(tmp_path: Path) -> None:
    raf_db(tmp_path)
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 8\n")
    with pytest.raises(DatasetError, match=r"line 1: the emotion must be a number from 1 to 7, but is '8'"):
        reader_of(tmp_path).read(tmp_path)


@pytest.mark.parametrize(("make", "count"), [(nemo, 4), (jaffe, 3)])
def test_a_corpus_is_prepared_under_its_own_name(tmp_path: Path, make: Maker, count: int) -> None:
    make(tmp_path / "source")
    result = runner.invoke(app, ["prepare", make.__name__, str(tmp_path / "source"), str(tmp_path / "prepared")])
    assert result.exit_code == 0, result.output
    assert "incomplete" in result.output
    items = read_manifest(tmp_path / "prepared")
    assert len(items) == count
    assert all(item.speaker and item.path.is_file() for item in items)
    train, valid = ({item.speaker for item in items if item.split == split} for split in ("train", "valid"))
    assert train
    assert valid
    assert not train & valid


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
    assert {item.own_split for item in mixed} == {""}
    again = divided([Item(Path(str(place)), 0, "test", corpus="fer2013") for place in range(5)], "random", 1)
    assert {item.own_split for item in divided(again, "random", 2)} == {"test"}


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    items = [
        Item(tmp_path / "a.png", 3, "train", "me", votes={"happy": 7.0, "NF": 3.0}, clip="c", time_s=0.4, given=2),
        Item(tmp_path / "sub" / "b.wav", None, "valid", "ü"),
        Item(tmp_path / "c.wav", 1, "valid", "03", corpus="emo-db", own_split="train"),
    ]
    write_manifest(tmp_path, items)
    assert read_manifest(tmp_path) == items


def test_a_manifest_names_published_data_sets_and_other_text_is_ignored(tmp_path: Path) -> None:
    words = ["RAVDESS", "emo_db", "crema-d-video", "fer2013-table", "a story that was read", ""]
    rows = [f"{place}.wav,happy,s{place},{word}" for place, word in enumerate(words)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,speaker,corpus", *rows]))
    assert [item.corpus for item in read_manifest(tmp_path)] == ["ravdess", "emo-db", "crema-d", "fer2013", "", ""]
    assert [clip.part.partition("/")[2] for clip in find_recordings(tmp_path)] == [f"s{place}" for place in range(6)]
    assert {clip.part for clip in find_recordings(tmp_path)} >= {"ravdess/s0", f"{tmp_path.name}/s4"}


def test_every_reader_but_the_manifest_is_of_a_corpus() -> None:
    assert {corpus_named(reader.name) for reader in READERS} == {None, *CORPORA}
    assert corpus_named("manifest") is None


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


def test_a_data_set_of_sounds_has_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,label\na.wav,happy\n")
    (tmp_path / "a.wav").touch()
    with pytest.raises(DatasetError, match=r"holds no labelled picture: it is a data set of other media \(manifest\)"):
        picture_items(tmp_path, "valid")
