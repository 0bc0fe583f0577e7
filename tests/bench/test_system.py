"""A real `bimodal up` of the bench: its config, its end, and that nothing of it outlives the bench."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals

import msgspec
import psutil
import pytest

from bimodal.bench.figures import BenchError
from bimodal.bench.pipeline import alone, most_face_workers, sizes_alone
from bimodal.bench.plan import Plan
from bimodal.bench.system import live, measured, write_config
from bimodal.broker.sockets import session_directory, slots_directory
from bimodal.config import Between, Config, check_config, load_config
from bimodal.workers.capture.settings import StreamSettings
from tests.bench.planning import short_plan
from tests.end_to_end.driving import PATIENCE_S, REPOSITORY

MANY_KEYS = {
    "streams": {"desk": {"auto": True}, "film": {"file": "a b.mp4", "loop": True}},
    "models": {"face-static": ["face-compact", "fer-plus"], "face-dynamic": "none"},
    "runtime": {"threads": "auto", "spinning": True},
    "workers": {"face": {"count": {"min": 1, "max": 3}, "cores": [0]}, "max_memory_mb": None},
    "face": {"max_faces": 3, "detect_every": 2},
    "fusion": {"smoothing_s": 0.0},
    "outputs": {
        "view": {"port": 9000, "visitors": {"max_fps": 15}},
        "record": "somewhere",
        "lsl": "machine",
        "events": ["tcp://127.0.0.1:9001"],
    },
    "network": {"workers": ["tcp://127.0.0.1:9002"]},
    "log": {"level": "DEBUG"},
}


@pytest.mark.parametrize("values", [{}, MANY_KEYS], ids=["defaults", "many keys"])
def test_a_written_config_is_the_same_when_it_is_read(tmp_path: Path, values: object) -> None:
    config = check_config(values, "test")
    write_config(config, tmp_path / "config.yaml")
    again = load_config(tmp_path / "config.yaml")
    assert _settings(again) == _settings(config)
    assert again.streams.keys() == config.streams.keys()
    assert again.outputs.view == config.outputs.view


def _settings(config: Config) -> dict[str, object]:
    """All but what holds paths, which become absolute."""
    return {name: value for name, value in msgspec.structs.asdict(config).items() if name not in ("streams", "outputs")}


def test_what_is_measured_has_the_models_of_the_config_and_no_output(tmp_path: Path) -> None:
    plan = short_plan(tmp_path, check_config(MANY_KEYS, "test"))
    config = measured(plan, {"clip": StreamSettings(file=str(tmp_path / "clip.mp4"))})
    assert config.models == plan.config.models
    assert config.face == plan.config.face
    assert list(config.streams) == ["clip"]
    assert not config.outputs.view.enabled
    assert config.outputs.record is None
    assert config.outputs.events == alone(Config()).outputs.events
    assert config.network.workers == ()
    assert config.workers.face.count == 3, "the most that it may have"
    assert measured(plan, config.streams, faces=5).workers.face.count == 5
    assert isinstance(plan.config.workers.face.count, Between)


def test_sizes_are_those_that_a_measured_system_has(monkeypatch: pytest.MonkeyPatch) -> None:
    growing = check_config(MANY_KEYS, "test")
    for gpus, auto, most in ((0, 8, 8), (2, 2, 2)):
        monkeypatch.setattr("bimodal.bench.pipeline.usable_gpus", lambda _provider, gpus=gpus: gpus)
        assert sizes_alone(Config(), cores=8).face == auto
        assert most_face_workers(Config(), cores=8) == most
        assert sizes_alone(growing, cores=8).face == 3
    assert most_face_workers(growing, cores=8) == 3, "on GPUs as many as the config asks for"


def test_a_system_that_ends_by_itself_is_one_sentence(tmp_path: Path) -> None:
    plan = short_plan(tmp_path)
    config = measured(plan, {"clip": StreamSettings(file=str(tmp_path / "none.mp4"), loop=True)})
    with live(plan, config) as system, pytest.raises(BenchError, match=r"none\.mp4"), system.bus([""]) as bus:
        list(system.messages(bus, PATIENCE_S))


def begin(folder: Path) -> None:
    """The other process of the test below: a system that is up, until something ends us."""
    from bimodal.bench.media import at_pace

    plan: Plan = short_plan(folder)
    clip = at_pace(folder / "clip.mp4", 30, sound=False)
    with live(plan, measured(plan, {"clip": StreamSettings(file=str(clip), loop=True)})) as system, system.bus([""]):
        print(system.session, system.process.pid, flush=True)
        sys.stdin.read()


def _alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended may wait long to be buried by its heir."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [SIGINT, SIGKILL])
def test_nothing_outlives_a_bench_that_is_interrupted_or_killed(tmp_path: Path, number: Signals) -> None:
    code = f"from pathlib import Path; from tests.bench.test_system import begin; begin(Path({str(tmp_path)!r}))"
    bench = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert bench.stdout is not None
    session, pid = bench.stdout.readline().split()
    system = psutil.Process(int(pid))
    whole = [system, *system.children(recursive=True)]
    bench.send_signal(number)
    bench.communicate(timeout=PATIENCE_S)
    end = time.monotonic() + PATIENCE_S
    while any(map(_alive, whole)):
        assert time.monotonic() < end, "something of it still runs"
        time.sleep(0.02)
    assert not session_directory(session).exists()
    assert not slots_directory(session).exists()
