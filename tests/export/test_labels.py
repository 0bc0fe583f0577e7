"""Names of classes: carried by a file or given, and what each means."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bimodal.export.errors import SourceModelError
from bimodal.export.labels import Carried, carried_by, label_sums, settle_classes

FILE = Path("mine.onnx")


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ({"names": "{0: 'angry', 1: 'happy'}"}, ("angry", "happy")),  # Ultralytics
        ({"id2label": '{"1": "sad", "0": "hap"}'}, ("hap", "sad")),  # Hugging Face
        ({"label2id": "x", "classes": "neutral, joy,fear"}, ("neutral", "joy", "fear")),
        ({"labels": '["a", "b"]'}, ("a", "b")),
        ({"names": "neutral\nhappy"}, ("neutral", "happy")),
        ({"id2label": '{"0": "LABEL_0", "1": "LABEL_1"}'}, None),
        ({"names": "{0: 'a', 2: 'b'}"}, None),
        ({"names": "[" * 3000}, None),
        ({"names": "happy"}, None),
        ({}, None),
    ],
)
def test_names_in_metadata_are_read_in_every_form(properties: dict[str, str], names: tuple[str, ...] | None) -> None:
    found = carried_by(properties, (), FILE)
    assert (found.names if found else None) == names


def test_names_in_the_graph_and_beside_the_file(tmp_path: Path) -> None:
    assert carried_by({}, ("hap", "sad"), FILE) == Carried(("hap", "sad"), "its 'classlabels'")
    assert carried_by({}, ("0", "1"), FILE) is None
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "ang", "1": "neu"}}))
    found = carried_by({}, (), tmp_path / "model.onnx")
    assert found is not None
    assert found.names == ("ang", "neu")
    (tmp_path / "config.json").write_text("{")
    assert carried_by({}, (), tmp_path / "model.onnx") is None


def test_abbreviations_other_languages_and_classes_of_ones_own() -> None:
    words = ("neu", "hap", "sad", "ang", "fea", "dis", "sur", "ps", "oth", "Freude=happy", "boredom", "Wut")
    found = settle_classes(words, None, FILE, aliases={"wut": "anger"}, categories=("boredom",))
    assert found.named == (*words[:9], "happy", "boredom", "anger")
    assert found.categories == ("boredom",)
    assert settle_classes(("happy=sad",), None, FILE).named == ("sad",)
    np.testing.assert_array_equal(label_sums(("happy", "sad", "happy")), [[1, 0], [0, 1], [1, 0]])


CARRIED = Carried(("angry", "happy", "sad"), "its 'names'")


@pytest.mark.parametrize(
    ("given", "carried", "words"),
    [
        (None, None, "--labels"),
        (("happy", "bored"), None, "write other .* 'bored=happy' .* --categories 'bored'"),
        (("happy", "x=bored"), None, "none of neutral"),
        (("other", "contempt"), None, "none of its classes"),
        (("happy", "sad"), CARRIED, "3 classes by its 'names' .* leave --labels out"),
        (("happy", "angry", "sad"), CARRIED, "class 0 is 'angry' by its 'names', but 'happy'"),
        (None, Carried(("zorn", "freude"), "its 'names'"), "'zorn=happy'"),
    ],
)
def test_every_refusal_says_the_way_out(given: tuple[str, ...] | None, carried: Carried | None, words: str) -> None:
    with pytest.raises(SourceModelError, match=words):
        settle_classes(given, carried, FILE)


def test_names_of_a_file_are_used_and_agree_with_words_that_mean_the_same() -> None:
    assert settle_classes(None, CARRIED, FILE).named == CARRIED.names
    assert settle_classes(("anger", "joy", "sadness"), CARRIED, FILE).notes == ()
    german = Carried(("Zorn", "Freude"), "its 'names'")
    assert settle_classes(("anger", "happy"), german, FILE).labels == ("anger", "happy")
    with pytest.raises(SourceModelError, match="--categories names 'pain'"):
        settle_classes(None, CARRIED, FILE, categories=("pain",))


def test_classes_that_are_all_its_own_serve_a_set_of_ones_own() -> None:
    found = settle_classes(("bored", "engaged"), None, FILE, categories=("bored", "engaged"))
    assert found.labels == found.categories == ("bored", "engaged")
