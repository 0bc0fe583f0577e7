"""Data that an artifact learnt from is told under every name of a data set."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bimodal.models.session import Artifact, open_artifact
from bimodal.training.datasets.items import Item
from bimodal.training.datasets.manifest import write_manifest
from bimodal.training.evaluate.evaluate import parts_of, seen_by
from bimodal.training.evaluate.speech import evaluate_speech
from bimodal.training.to_artifact import set_metadata
from tests.artifacts import make_speech
from tests.training.trees import tone, write_picture, write_sound


def trained(folder: Path, *parts: str) -> Artifact:
    path = make_speech(folder / "model.onnx", minimum_window_s=1.0)
    known = open_artifact(path, provider="cpu").metadata
    set_metadata(path, msgspec.structs.replace(known, metrics={"trained_on": list(parts)}))
    return open_artifact(path, provider="cpu")


def test_parts_are_the_same_under_every_name_of_a_data_set(tmp_path: Path) -> None:
    artifact = trained(tmp_path, "emodb/03", "fer2013/train", "own data/ann", "ravdess, speakers of the folds")
    for part in ("emo-db/03", "EmoDB/03", "FER2013/train", "own data/ann", "ravdess/Actor_01"):
        assert seen_by([artifact], {part}), part
    for part in ("emo-db/08", "fer2013/valid", "own data/ben", "Own data/ann", "nemo/EB0"):
        assert not seen_by([artifact], {part}), part
    assert not seen_by([], {"emo-db/03"})


@pytest.mark.parametrize("corpus", ["emo-db", "EMODB", ""])
def test_a_manifest_says_the_corpus_that_a_model_learnt_from(tmp_path: Path, corpus: str) -> None:
    artifact = trained(tmp_path, "emodb/03")
    data = tmp_path / "prepared"
    data.mkdir()
    rows = ["path,label,speaker,corpus"]
    for place, speaker in enumerate(("03", "08")):
        write_sound(data / f"{place}.wav", tone(200, 1.2))
        rows.append(f"{place}.wav,happy,{speaker},{corpus}")
    (data / "manifest.csv").write_text("\n".join(rows))
    found = evaluate_speech(artifact.path, data)
    assert found.seen_in_training == bool(corpus)
    assert set(found.groups) == ({"male", "female"} if corpus else set())


def test_parts_of_pictures_are_their_splits_and_speakers(tmp_path: Path) -> None:
    items = []
    for place, (split, own, corpus) in enumerate(
        [("train", "", "jaffe"), ("valid", "test", "fer2013"), ("valid", "", "")]
    ):
        path = tmp_path / f"{place}.png"
        write_picture(path)
        items.append(Item(path, 0, split, "" if corpus == "fer2013" else "KA", corpus=corpus, own_split=own))
    write_manifest(tmp_path, items)
    assert parts_of(tmp_path, "train") == {"jaffe/train", "jaffe/KA"}
    valid = {"fer2013/test", f"{tmp_path.name}/valid", f"{tmp_path.name}/KA"}
    assert parts_of(tmp_path, "valid") == valid
    assert parts_of(tmp_path, "all") == valid | {"jaffe/train", "jaffe/KA"}
