"""The process table, and the names of results."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.config import Config, check_config
from bimodal.models.errors import CatalogError
from bimodal.supervisor.processes import TABLE, ProcessSpec, Wanted, limited, processes
from bimodal.supervisor.usage import cores, machine_memory_mb
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import FilmActorSettings, RecordActorSettings, RecordSettings, ReplaySettings
from tests.artifacts import make_face_static

stems = st.sampled_from(["a", "b", "a-2", "a.mp4", "talk"])
suffixes = st.sampled_from([".mp4", ".mkv", "", ".wav"])
paths = st.builds(lambda folder, stem, suffix: Path(folder) / (stem + suffix), st.sampled_from("xyz"), stems, suffixes)


def config(**values: object) -> Config:
    return check_config(values, "test")


def rows_of(wanted: Config, *roles: str, record: RecordActorSettings | None = None) -> list[ProcessSpec]:
    return processes(Wanted(wanted, record=record), roles or None)


def test_the_table_is_whole_and_points_at_modules_that_exist() -> None:
    senders = {"lsl": True, "osc": True, "mqtt": True, "webhook": "http://127.0.0.1:1/", "api": True}
    wanted = config(outputs={**senders, "window": True, "record": {"folder": "x", "video": True}})
    record = RecordActorSettings(record=RecordSettings(folder="x", video=True))
    rows = processes(Wanted(wanted, record=record, replay=ReplaySettings(recording="x")), TABLE)
    assert list(dict.fromkeys(row.role for row in rows)) == list(TABLE)
    for row in rows:
        module, _, name = row.kind.entry.partition(":")
        assert hasattr(importlib.import_module(f"bimodal.workers.{module}"), name)
        assert set(row.kind.needs) <= set(TABLE)


def test_what_is_for_live_streams_is_not_there_for_files() -> None:
    wanted = config(outputs={"lsl": True, "window": True})
    assert {row.role for row in rows_of(wanted)} == {"broker", "face", "audio", "fusion"}
    assert {row.role for row in rows_of(wanted, *TABLE) if row.kind.live} == {"lsl", "view", "window", "capture"}


def test_window_and_films_are_there_only_where_they_are_wanted() -> None:
    outputs = ("window", "film")
    record = RecordActorSettings(record=RecordSettings(folder="x", video=True))
    assert rows_of(config(), *outputs) == []
    silent = RecordActorSettings(record=RecordSettings(folder="x"))
    assert rows_of(config(outputs={"record": "x"}), *outputs, record=silent) == []
    both = config(outputs={"window": True, "record": {"folder": "x", "video": True}})
    window, film = rows_of(both, *outputs, record=record)
    assert window.ends
    assert not film.ends
    assert film.settings == FilmActorSettings(folder="x", video=True)
    drawing = RecordActorSettings(record=RecordSettings(folder="x", video=True, draw=("mesh",)))
    _, film = rows_of(both, *outputs, record=drawing)
    assert Path(film.settings.landmarks).parent.name == "facemesh-468"  # type: ignore[attr-defined]
    (hidden,) = rows_of(config(outputs={"window": {"faces": "hide"}}), *outputs)
    assert hidden.settings.faces == "hide"  # type: ignore[attr-defined]


@given(st.integers(1, 8), st.integers(1, 4), st.booleans())
def test_names_are_unique_and_counts_are_kept(faces: int, voices: int, record: bool) -> None:
    wanted = config(workers={"face": {"count": faces}, "audio": {"count": voices}})
    rows = rows_of(wanted, record=RecordActorSettings(record=RecordSettings(folder="x")) if record else None)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    assert [row.role for row in rows].count("face") == faces
    assert [row.role for row in rows].count("audio") == voices
    assert [row.role for row in rows].count("record") == record


def test_auto_means_a_face_worker_for_each_core() -> None:
    assert [row.role for row in rows_of(config())].count("face") == cores()


def test_without_a_speech_model_nobody_listens() -> None:
    silent = config(models={"speech": "none"})
    assert "audio" not in [row.role for row in rows_of(silent)]
    assert all(not row.settings.speech for row in rows_of(silent, "capture"))  # type: ignore[attr-defined]


def test_each_stream_has_a_source_of_its_own() -> None:
    rows = rows_of(config(streams={"a": {"camera": 0}, "b": {"url": "rtsp://x"}, "c": {"file": "x.mp4"}}), "capture")
    assert [(row.name, row.ends) for row in rows] == [("capture a", False), ("capture b", False), ("capture c", True)]


def test_a_model_that_does_not_exist_is_named() -> None:
    with pytest.raises(CatalogError, match="face-compact"):
        rows_of(config(models={"face-static": "face-compat"}))


def test_cores_are_kept_and_those_that_are_not_there_are_named() -> None:
    here = min(os.sched_getaffinity(0))
    rows = rows_of(config(workers={"face": {"count": 2, "cores": [here]}}))
    assert {row.cores for row in rows if row.role == "face"} == {(here,)}
    assert {row.cores for row in rows if row.role != "face"} == {()}
    with pytest.raises(ConfigError, match=r"workers\.audio\.cores names core 9999"):
        rows_of(config(workers={"audio": {"cores": [9999]}}))


def test_a_file_replaced_under_its_name_makes_another_row(tmp_path: Path) -> None:
    artifact = make_face_static(tmp_path / "model.onnx")
    wanted = config(models={"face-static": str(artifact)})
    before = rows_of(wanted)
    assert rows_of(wanted) == before
    os.utime(make_face_static(artifact, version="2"), ns=(1, 1))
    changed = {row.role for row, old in zip(rows_of(wanted), before, strict=True) if row != old}
    assert changed == {"face", "fusion"}


def test_numbers_given_by_hand_go_before_the_configs() -> None:
    rows = processes(Wanted(config(workers={"face": {"count": {"min": 1, "max": 4}}}), {"face": 3}))
    assert [row.name for row in rows if row.role == "face"] == ["face 1", "face 2", "face 3"]


@pytest.mark.parametrize("limit", ["auto", 300, None])
def test_every_row_has_the_memory_limit(limit: int | str | None) -> None:
    rows = limited(rows_of(config()), limit)
    found = {row.max_memory_mb for row in rows}
    assert found == {machine_memory_mb() // 2 if limit == "auto" else limit}


def test_a_section_of_the_config_reaches_its_process_whole() -> None:
    wanted = config(
        runtime={"threads": "auto", "max_batch": 4, "gpu_memory_mb": 512},
        capture={"max_height": 480},
        outputs={
            "view": {"port": 1, "faces": "hide"},
            "window": {"latency": False},
            "lsl": "machine",
            "osc": "10.0.0.7:7000",
            "mqtt": {"host": "broker", "send": "all"},
            "webhook": "https://x/y",
        },
        network={"workers": ["tcp://127.0.0.1:1"]},
    )
    rows = rows_of(wanted, *TABLE)
    told: dict[str, Any] = {row.role: row.settings for row in rows}
    assert told["broker"].network is wanted.network
    assert told["window"] is wanted.outputs.window
    assert told["capture"].capture is wanted.capture
    assert told["capture"].source is wanted.streams["desk"]
    assert told["lsl"].lsl == "machine"
    assert told["webhook"] is wanted.outputs.webhook
    assert told["osc"].streams == told["mqtt"].streams == tuple(wanted.streams)
    for section, mine, but in (
        (wanted.outputs.view, told["view"], set()),
        (wanted.outputs.osc, told["osc"], set()),
        (wanted.outputs.mqtt, told["mqtt"], set()),
        *((wanted.runtime, told[role].runtime, {"threads"}) for role in ("face", "audio", "fusion")),
    ):
        kept = set(type(section).__struct_fields__) - but
        assert {name: getattr(mine, name) for name in kept} == {name: getattr(section, name) for name in kept}
    assert told["face"].runtime.threads >= 1
