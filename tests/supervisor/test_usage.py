"""What a process and the machine have of processors: waiting, pressure, quotas."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bimodal.supervisor.usage import PressureMonitor, cores, cpu_quota, memory_limit, waited_s

SPIN = "while True: pass"
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_who_has_no_processor_waits_and_who_is_stopped_does_not() -> None:
    core = min(os.sched_getaffinity(0))
    spinning = [subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", SPIN]) for _ in range(3)]
    try:
        one = spinning[0]
        end = time.monotonic() + PATIENCE_S
        while waited_s(one.pid) < 1.0:
            assert time.monotonic() < end, "it never waited for the processor that three share"
            time.sleep(0.1)
        one.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{one.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
            time.sleep(0.01)
        before = waited_s(one.pid)
        time.sleep(0.5)
        assert waited_s(one.pid) == before
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert waited_s(one.pid) == 0


def test_pressure_and_steal_are_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=87.50 avg60=35.87 avg300=19.02 total=1\nfull avg10=0.00\n")
    (tmp_path / "stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1\n")
    monitor = PressureMonitor(tmp_path)
    (tmp_path / "stat").write_text("cpu  130 0 120 820 0 0 0 30 0 0\ncpu0 1 1 1\n")
    assert monitor.read() == (87.5, 30.0)
    assert PressureMonitor(tmp_path / "none").read() == (0.0, 0.0)


def test_a_quota_of_the_cgroup_counts(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/system.slice/bimodal.service\n")
    service = tmp_path / "system.slice" / "bimodal.service"
    service.mkdir(parents=True)
    (service / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path, own) is None
    (service.parent / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path, own) == 1.5, "that of a slice above counts, too"
    (service / "cpu.max").write_text("100000 100000\n")
    assert cpu_quota(tmp_path, own) == 1.0
    own.write_text("4:cpu,cpuacct:/docker/abc\n")
    old = tmp_path / "cpu,cpuacct" / "docker" / "abc"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("200000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path, own) == 2.0


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("4:cpuacct,cpu:/docker/x", {"cpu,cpuacct/docker/x": "200000"}, 2.0),
        ("4:cpuacct,cpu:/docker/x", {"cpuacct,cpu/docker/x": "200000"}, 2.0),
        ("4:cpuacct,cpu:/docker/x", {"cpu/docker/x": "200000"}, 2.0),
        ("9:name=systemd:/a\n4:cpu,cpuacct:/a/b", {"cpu,cpuacct/a": "150000", "cpu,cpuacct/a/b": "-1"}, 1.5),
        ("4:cpu,cpuacct:/docker/x", {"cpu,cpuacct": "50000"}, 0.5),
        ("no line of a cgroup\n\n4:cpu:/a:b", {"cpu/a:b": "250000"}, 2.5),
        ("4:cpu:/a", {"cpu/a": "not a number"}, None),
    ],
)
def test_the_first_version_of_cgroups_counts_too(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    (tmp_path / "own").write_text(f"{own}\n")
    for folder, quota_us in files.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
        (tmp_path / folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path, tmp_path / "own") == quota


def test_a_period_of_nothing_is_no_quota(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 0\n")
    assert cpu_quota(tmp_path, tmp_path / "none") is None


def test_a_limit_of_memory_counts_wherever_it_is_set(tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert memory_limit(tmp_path, own) is None
    own.write_text("0::/system.slice/bimodal.service\n")
    service = tmp_path / "system.slice" / "bimodal.service"
    service.mkdir(parents=True)
    (service / "memory.max").write_text("max\n")
    (service.parent / "memory.max").write_text("1073741824\n")
    assert memory_limit(tmp_path, own) == 2**30
    own.write_text("6:memory:/docker/x\n")
    old = tmp_path / "memory" / "docker" / "x"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("536870912\n")
    assert memory_limit(tmp_path, own) == 2**29


@pytest.mark.parametrize(
    ("quota", "counted"), [(0.5, 1), (1.0, 1), (1.5, 1), (2.5, 2), (3.9, 3), (100.0, 8), (None, 8)]
)
def test_parts_of_a_core_are_none(monkeypatch: pytest.MonkeyPatch, quota: float | None, counted: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("bimodal.supervisor.usage.cpu_quota", lambda: quota)
    assert cores() == counted


def test_cores_are_no_more_than_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimodal.supervisor.usage.cpu_quota", lambda: 0.5)
    assert cores() == 1
    monkeypatch.setattr("bimodal.supervisor.usage.cpu_quota", lambda: None)
    assert cores() == len(os.sched_getaffinity(0))
