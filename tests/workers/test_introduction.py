"""A worker's introduction equals the one expected of a worker elsewhere, where this machine has none."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bimodal.broker.messages import ExpectedWorker, ModelFile
from bimodal.config import Config, check_config
from bimodal.models.errors import CatalogError
from bimodal.supervisor.processes import Wanted, processes
from bimodal.workers.actor import ActorSettings
from bimodal.workers.settings import BrokerSettings
from tests.artifacts import make_face_static

ELSEWHERE = {"face": {"count": 0}, "audio": {"count": 0}}
NETWORK = {"workers": ["tcp://127.0.0.1:5656"]}


class Listener:
    """A mailbox that keeps what a worker says of itself."""

    def introduce(self, *said: Any) -> None:
        self.said = said

    def waiting(self) -> bool:
        return False

    def flush(self) -> None: ...


def expected(config: Config, **counts: int) -> tuple[ExpectedWorker, ...]:
    (broker,) = processes(Wanted(config, counts), ["broker"])
    assert isinstance(broker.settings, BrokerSettings)
    return broker.settings.expected


def test_it_is_what_the_workers_of_this_machine_would_say() -> None:
    values: dict[str, object] = {"models": {"face-details": "on"}, "face": {"min_size": 30}, "network": NETWORK}
    here = processes(Wanted(check_config(values, "test"), {"face": 1, "audio": 1}), ["face", "audio"])
    found = expected(check_config({**values, "workers": ELSEWHERE}, "test"))
    assert [one.modality for one in found] == [row.kind.modality for row in here] == ["face", "speech"]
    for row, wanted in zip(here, found, strict=True):
        own = msgspec.json.decode(msgspec.json.encode(row.settings))
        settings = ActorSettings(name="x 1", incarnation=1, role="worker", directory="", slots="", own=own)
        module, _, name = row.kind.entry.partition(":")
        listener = Listener()
        actor = getattr(importlib.import_module(f"bimodal.workers.{module}"), name)(settings, listener)
        actor.introduce(wanted.product)
        assert listener.said == (wanted.product, wanted.models, own, wanted.files)
        assert msgspec.json.decode(msgspec.json.encode(wanted.settings)) == own
        actor.close()


def test_nothing_is_expected_where_workers_are_here_or_none_may_come() -> None:
    assert expected(check_config({"network": NETWORK}, "test")) == ()
    assert expected(check_config({"workers": {"face": {"count": 1}}}, "test")) == ()
    away = check_config({"network": NETWORK, "workers": ELSEWHERE, "models": {"speech": "none"}}, "test")
    assert [one.modality for one in expected(away)] == ["face"]
    assert expected(away, face=2) == (), "the number was set by hand"


def test_another_file_under_the_same_name_is_another_one_and_a_missing_one_is_named(tmp_path: Path) -> None:
    model = make_face_static(tmp_path / "mine.onnx", name="first")
    values = {"models": {"face-static": str(model), "speech": "none"}, "network": NETWORK, "workers": ELSEWHERE}
    config = check_config(values, "test")

    def file() -> ModelFile:
        (one,) = expected(config)
        (found,) = (file for file in one.files if file.path == str(model))
        return found

    before = file()
    assert before == file()
    make_face_static(model, name="second")
    assert file().sha256 != before.sha256
    model.unlink()
    with pytest.raises(CatalogError, match=r"mine\.onnx"):
        processes(Wanted(config), ["broker"])
