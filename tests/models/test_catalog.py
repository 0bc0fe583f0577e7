"""The catalog of what ships: names, checksums, sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bimodal.models.catalog import entries, find, path_of, pin, resolve, verify
from bimodal.models.commands import app
from bimodal.models.errors import ArtifactError, CatalogError
from bimodal.models.session import open_artifact

SHIPPED = ("blazeface-short", "facemesh-468", "silero-vad")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A catalog of one model, that may be changed."""
    (tmp_path / "silero-vad").mkdir()
    shutil.copy(resolve("silero-vad"), tmp_path / "silero-vad/model.onnx")
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(
        "# kept\nmodels:\n"
        "  silero-vad:\n    file: silero-vad/model.onnx\n    kind: voice-activity\n    license: MIT\n"
        '    source: somewhere\n    sha256: ""\n'
        "  not-there:\n    file: not-there/model.onnx\n    kind: speech\n    license: MIT\n"
        "    source: somewhere\n    sha256: unset\n"
    )
    return catalog


@pytest.mark.parametrize("entry", [entry for entry in entries() if path_of(entry).is_file()], ids=lambda e: e.name)
def test_every_file_that_is_there_is_the_one_of_the_catalog(entry: object) -> None:
    verify(entry)  # type: ignore[arg-type]


def test_what_others_made_is_there() -> None:
    assert set(SHIPPED) <= {entry.name for entry in entries() if path_of(entry).is_file()}
    # Torch's exporter notes at each node from which line of which file it is.
    noted = [
        entry.name for entry in entries() if path_of(entry).is_file() and b"stack_trace" in path_of(entry).read_bytes()
    ]
    assert noted == []


def test_a_path_is_taken_as_it_is(small: Path) -> None:
    path = small.parent / "silero-vad/model.onnx"
    assert resolve(str(path)) == path
    with pytest.raises(CatalogError, match=r"no model file .*nowhere\.onnx"):
        resolve("nowhere.onnx")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(CatalogError, match="did you mean 'blazeface-short'"):
        find("blazface")
    with pytest.raises(CatalogError, match=r"there is no model 'nothing' in the catalog\. The catalog has"):
        find("nothing")
    with pytest.raises(CatalogError, match=r"The catalog has .*silero-vad"):
        resolve("zzz")


def test_pin_writes_checksums_and_nothing_else(small: Path) -> None:
    before = small.read_text()
    with pytest.raises(CatalogError, match="is not the file that the catalog knows"):
        verify(find("silero-vad", small), small)
    assert pin(small) == ["silero-vad"]
    verify(find("silero-vad", small), small)
    assert pin(small) == []
    after = small.read_text()
    assert after.startswith("# kept\n")
    assert len(after.splitlines()) == len(before.splitlines())
    assert yaml.safe_load(after)["models"]["not-there"]["sha256"] == "unset"


def test_a_changed_file_is_found_out(small: Path) -> None:
    pin(small)
    path = small.parent / "silero-vad/model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CatalogError, match="has sha256"):
        verify(find("silero-vad", small), small)
    path.write_bytes(b"not onnx")
    pin(small)
    with pytest.raises(ArtifactError):
        verify(find("silero-vad", small), small)


def test_a_missing_file_is_named(small: Path) -> None:
    with pytest.raises(CatalogError, match="file of model 'not-there' is missing"):
        resolve("not-there", small)


@pytest.mark.parametrize("text", ["", "models: 3", "models:\n  a:\n    file: x\n", "models: {a: [}", "other: {}"])
def test_a_broken_catalog_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalog.yaml").write_text(text)
    with pytest.raises(CatalogError, match="is not a catalog of models"):
        entries(tmp_path / "catalog.yaml")


def test_voice_activity_steps_with_its_state() -> None:
    """The shipped network: silence is no voice; steps in one run are the same steps one by one, bit for bit."""
    artifact = open_artifact(resolve("silero-vad"), "voice-activity", provider="cpu")
    sounds = np.random.default_rng(0).normal(0, 0.1, (3, 576)).astype(np.float32)
    sounds[0] = 0
    state = np.zeros((2, 1, 128), np.float32)
    together = artifact.run(waveform=sounds, state=state)
    assert together["probability"].shape == (3, 1)
    assert together["probability"][0, 0] < 0.1
    for step in range(3):
        alone = artifact.run(waveform=sounds[step : step + 1], state=state)
        state = alone["next_state"]
        np.testing.assert_array_equal(alone["probability"][0], together["probability"][step])
    np.testing.assert_array_equal(state, together["next_state"])


def test_commands_list_show_and_verify() -> None:
    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["list", "--json"]).output)
    assert {row["name"] for row in listed} >= set(SHIPPED)
    assert "silero-vad" in runner.invoke(app, ["list"]).output
    shown = json.loads(runner.invoke(app, ["show", "facemesh-468", "--json"]).output)
    assert shown["geometry"]["size"] == 192
    assert shown["batches"]
    assert not json.loads(runner.invoke(app, ["show", "blazeface-short", "--json"]).output)["batches"]
    assert "Apache-2.0" in runner.invoke(app, ["show", "facemesh-468"]).output
    verdict = runner.invoke(app, ["verify", "silero-vad", "--json"])
    assert (verdict.exit_code, json.loads(verdict.output)) == (0, [{"name": "silero-vad", "ok": True, "because": None}])


@pytest.mark.parametrize("command", [["show", "silero"], ["verify", "silero"], ["show", "nowhere.onnx"]])
def test_commands_fail_with_one_sentence(command: list[str]) -> None:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
