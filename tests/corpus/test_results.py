"""Results in a folder, as a run looks at them."""

from __future__ import annotations

from pathlib import Path

from bimodal.corpus.results import Folder


def test_a_folder_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.summary.json").write_bytes(b"{}")
    results = Folder(tmp_path)
    assert results.name == str(tmp_path)
    assert results.exists("p/a.summary.json")
    assert results.read("p/a.summary.json") == b"{}"
    assert not results.exists("p")
    assert results.read("p/b.summary.json") is None
