"""Provenance of results: config without passwords, models with checksums, the session folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.config import check_config
from bimodal.models.catalog import entries, path_of
from bimodal.models.scan import onnx_properties
from bimodal.supervisor.provenance import (
    HIDDEN,
    begin_session,
    config_record,
    describe_session,
    end_session,
    without_secrets,
)
from bimodal.workers.errors import ConfigError
from tests.artifacts import make_face_static

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_passwords_are_not_kept() -> None:
    config = check_config(
        {
            "streams": {"door": {"url": "rtsp://user:hush@camera/1?token=hush"}},
            "outputs": {"view": {"token": "hush" * 8}},
        },
        "c",
    )
    text = json.dumps(config_record(config))
    assert "hush" not in text
    assert "rtsp://***@camera/1" in text


@given(st.text(min_size=1).filter(lambda word: word not in HIDDEN))
def test_whatever_the_secret_is_it_is_hidden(secret: str) -> None:
    found = without_secrets({"a": [{"password": secret, "api_token": secret}], "tls_key": secret, "n": 3})
    assert found == {"a": [{"password": HIDDEN, "api_token": HIDDEN}], "tls_key": HIDDEN, "n": 3}


def test_a_session_names_every_model_with_the_checksum_of_the_catalog() -> None:
    record = describe_session(check_config({}, "c"), "live", "desk", NOW)
    sums = {entry.name: entry.sha256 for entry in entries()}
    assert {model.kind for model in record.models} >= {"face-detector", "face-landmarks", "face-static", "speech"}
    assert all(model.sha256 == sums[model.given] and model.version for model in record.models)
    assert record.started == "2026-01-02T03:04:05.000+00:00"
    assert record.host.cores >= 1
    assert "numpy" in record.libraries


def test_properties_are_read_without_opening_the_network(tmp_path: Path) -> None:
    for path in [*(path_of(entry) for entry in entries()), make_face_static(tmp_path / "tiny.onnx")]:
        model = onnx.load_model(str(path), load_external_data=False)
        assert onnx_properties(path) == {entry.key: entry.value for entry in model.metadata_props}


@given(st.binary(max_size=200))
def test_what_is_no_onnx_file_has_no_properties(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        assert isinstance(onnx_properties(Path(file.name)), dict)


def test_a_session_folder_is_made_and_its_files_are_listed(tmp_path: Path) -> None:
    config = check_config({"outputs": {"record": {"folder": str(tmp_path), "split_minutes": 2}}}, "c")
    first, second = (begin_session(config, "desk", NOW) for _ in range(2))
    assert first is not None
    assert second is not None
    assert Path(first.record.folder).name == "desk-2026-01-02T03-04-05"
    assert Path(second.record.folder).name == "desk-2026-01-02T03-04-05-2"
    assert first.record.split_minutes == 2.0
    folder = Path(first.record.folder)
    (folder / "cam").mkdir()
    (folder / "cam" / "1000-0001.jsonl").write_bytes(b"12345")
    assert end_session(folder, NOW)
    record = json.loads((folder / "session.json").read_bytes())
    assert record["files"] == [{"path": "cam/1000-0001.jsonl", "bytes": 5}]
    assert record["ended"] == "2026-01-02T03:04:05.000+00:00"
    assert not end_session(Path(second.record.folder), NOW), "where nothing was recorded, nothing is left"
    assert not Path(second.record.folder).exists()
    assert begin_session(check_config({}, "c"), "desk", NOW) is None


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for place in (tmp_path / "taken", tmp_path / "taken" / "deeper"):
        config = check_config({"outputs": {"record": str(place)}}, "c")
        with pytest.raises(ConfigError, match="taken"):
            begin_session(config, "desk", NOW)
