"""Folders, globs and lists become items, each with its place."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.paths import unpack
from bimodal.corpus.inputs import Inputs, is_corpus
from bimodal.corpus.plan import Plan
from bimodal.corpus.rows import Item
from bimodal.workers.errors import SourceError


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two participants, one file name in both, things that are no media."""
    folder = tmp_path / "study"
    for name in ("p01/session.mp4", "p02/session.mp4", "p02/take.wav", "p02/take.mp4", "p02/faces/a.JPG", "top.mov"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name in ("p01/notes.txt", ".hidden.mp4", "p02/.cache"):
        (folder / name).write_bytes(b"")
    (folder / "p01/session.annotated.mp4").write_bytes(b"x")
    return folder


def places(*given: str | Path, out: Path | None = None, root: Path | None = None) -> dict[str, str]:
    """Place of each source."""
    inputs = Inputs(list(map(str, given)), out or Path("/nowhere/out"), root=root)
    return {item.source: item.place for item in inputs.items()}


def test_a_folder_is_mirrored_and_names_stay_apart(study: Path) -> None:
    inputs = Inputs([str(study)], study / "out")
    found = {item.source: item for item in inputs.items()}
    assert {source: item.place for source, item in found.items()} == {
        "top.mov": "top",
        "p01/session.mp4": "p01/session",
        "p02/session.mp4": "p02/session",
        "p02/take.mp4": "p02/take.mp4",
        "p02/take.wav": "p02/take.wav",
        "p02/faces/a.JPG": "p02/faces/a",
    }
    assert inputs.skipped == (2, 2)
    assert str(inputs.skipped) == "2 hidden, 2 no media"
    assert found["p02/faces/a.JPG"].picture
    assert not found["top.mov"].picture
    assert (found["top.mov"].folder, found["p01/session.mp4"].folder, found["p01/session.mp4"].name) == (
        "",
        "p01",
        "session",
    )


def test_results_inside_the_folder_are_no_inputs_and_links_in_a_circle_end(study: Path) -> None:
    (study / "out").mkdir()
    (study / "out" / "film.mp4").write_bytes(b"x")
    (study / "p01" / "again").symlink_to(study)
    assert "out/film.mp4" not in places(study, out=study / "out")


def test_globs_are_mirrored_below_their_part_without_wildcards(study: Path) -> None:
    assert places(f"{study}/p0*/*.mp4") == {
        "p01/session.mp4": "p01/session",
        "p02/session.mp4": "p02/session",
        "p02/take.mp4": "p02/take.mp4",
    }
    assert places(f"{study}/**/session.*") == {
        "p01/session.mp4": "p01/session",
        "p02/session.mp4": "p02/session",
    }
    assert len(places(f"{study}/p0*")) == 5


def test_files_that_are_named_lie_side_by_side_or_below_a_root(study: Path) -> None:
    both = [study / "p01/session.mp4", study / "p02/session.mp4"]
    assert list(places(both[0]).values()) == ["session"]
    assert places(*both, root=study) == {"p01/session.mp4": "p01/session", "p02/session.mp4": "p02/session"}
    with pytest.raises(SourceError, match="does not lie below --root"):
        places(study / "top.mov", root=study / "p01")


def test_lists_of_paths_and_tables_with_columns(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (study / "list.txt").write_text("p01/session.mp4\n\n" + str(study / "top.mov") + "\n")
    assert places(f"@{study / 'list.txt'}") == {"session.mp4": "session", "top.mov": "top"}
    (study / "list.csv").write_text("path;participant;age\np01/session.mp4;P-1;31\np02/faces/a.JPG;P-2;\n", "utf-8-sig")
    inputs = Inputs([f"@{study / 'list.csv'}"], study / "out")
    found = list(inputs.items())
    assert [item.columns for item in found] == [{"participant": "P-1", "age": "31"}, {"participant": "P-2", "age": ""}]
    assert inputs.columns == ["participant", "age"]
    assert [item.picture for item in found] == [False, True]
    stdin = SimpleNamespace(buffer=io.BytesIO(f"{study}/top.mov\n".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert places("@-") == {"top.mov": "top"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,label\na.mp4,x\n", "'label', which the tables have already"),
        ("path,clip\na.mp4,x\n", "'clip', which the tables have already"),
        ("path,a,a\na.mp4,x,y\n", "'a' twice"),
        ("path,\na.mp4,x\n", "a column without a name"),
        ("path,a\na.mp4,x,y\n", "line 2 of the list .* has more cells"),
        ("\n", "names no file"),
    ],
)
def test_a_list_that_is_wrong_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(SourceError, match=sentence):
        places(f"@{tmp_path / 'list.csv'}")


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\0.mp4\n")
    with pytest.raises(SourceError, match="is no list of paths: it is no text"):
        places(f"@{tmp_path / 'list.txt'}")


def test_what_may_not_be_looked_at_costs_its_own_row_only(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def refused(path: Any, *given: Any, **how: Any) -> os.stat_result:
        if not isinstance(path, int) and "secret" in os.fspath(path):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, *given, **how)

    (study / "list.txt").write_text("secret/a.mp4\ntop.mov\n")
    monkeypatch.setattr(os, "stat", refused)
    assert set(places(f"@{study / 'list.txt'}")) == {"a.mp4", "top.mov"}
    assert not is_corpus(["secret/a.mp4"], 8)
    with pytest.raises(SourceError, match="matches no media file"):
        places("secret/*.mp4")


def test_a_folder_that_may_not_be_read_is_refused_alone(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shutil.copytree(study, study.with_name("other"))
    scandir = os.scandir

    def refused(path: Any = ".") -> Any:
        if not isinstance(path, int) and "p01" in os.fspath(path):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    for one in (str(study), f"{study}/p*", f"{study}/**/*.wav"):
        found = {item.source: item for item in Inputs([one], "/nowhere/out").items()}
        assert found["p01/"].refused == f"the folder {study}/p01 can't be read: Permission denied"
        assert found["p01/"].place == "p01/"
        assert {item.place for item in found.values() if item.refused is None} >= {"p02/take.wav"}
    plan = Plan()
    plan.add(Inputs([str(study / "p0*"), f"{other}/p01*", str(study)], "/nowhere/out").items())
    refused_ones = [(item.place, item.refused) for item in plan.items() if item.refused is not None]
    assert [place for place, _ in refused_ones] == ["p01/", "p01//"], "each once, and no two have one place"
    assert len({sentence for _, sentence in refused_ones}) == 2
    with pytest.raises(SourceError, match="p01 can't be read: Permission denied"):
        places(study / "p01")


def test_what_holds_nothing_is_refused(study: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for one, sentence in (
        (tmp_path / "empty", "holds no media file"),
        (f"{study}/p01/*.wav", "matches no media file"),
        (f"@{study}/none.txt", "can't be read: No such file"),
        ("rtsp://localhost/a.mp4", "is no file: watch a live address"),
        ("-", "goes with files that are named"),
        ("", "an empty name names no file and no folder"),
        ("@", "an empty name names no file and no folder"),
    ):
        with pytest.raises(SourceError, match=sentence):
            places(one)


def test_what_is_a_corpus(study: Path) -> None:
    assert is_corpus([str(study)], 8)
    assert is_corpus([f"{study}/*.mov"], 8)
    assert is_corpus(["@list"], 8)
    assert is_corpus([f"{n}.mp4" for n in range(9)], 8)
    assert not is_corpus([str(study / "top.mov"), "-", "https://example.org/a?b=*"], 8)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8), max_size=6))
def test_a_place_never_leads_out_of_the_folder(parts: list[str]) -> None:
    item = Item(place="/".join(parts) or "a", file="/x", source="x")
    assert f"{item.folder}/{item.name}".lstrip("/") == item.place.lstrip("/") or "/" not in item.place


def test_a_name_that_is_no_utf8_is_carried(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    path.write_bytes(b"x")
    (item,) = Inputs([str(tmp_path)], tmp_path / "out").items()
    assert item.place == "caf%E9"
    assert unpack(item.file) == path
