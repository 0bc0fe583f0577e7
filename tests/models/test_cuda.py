"""CUDA without a GPU: options, devices as files, and libraries by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.cuda import (
    CUDNN,
    DRIVER,
    Gpu,
    cuda_libraries,
    cuda_version_of,
    gpu_count,
    has_driver,
    missing,
    needed_by,
    package_of,
    provider_library,
)
from bimodal.models.session import Provider, attempts

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="devices and ELF files of Linux")


@given(st.builds(Gpu, st.integers(0, 7), st.none() | st.integers(1, 1 << 17), st.booleans()))
def test_options_are_words_that_onnx_runtime_reads(gpu: Gpu) -> None:
    options = gpu.options()
    assert all(isinstance(value, str) for value in options.values())
    assert options["device_id"] == str(gpu.device)
    assert options["enable_cuda_graph"] == str(int(gpu.graph))
    assert ("gpu_mem_limit" in options) == (gpu.memory_mb is not None)
    if gpu.memory_mb is not None:
        assert int(options["gpu_mem_limit"]) == gpu.memory_mb * 1024 * 1024


@linux
def test_gpus_are_counted_by_their_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not has_driver(tmp_path)
    assert gpu_count(tmp_path) == 0
    for node in ("nvidiactl", "nvidia0", "nvidia1", "nvidia-uvm", "nvidia-modeset"):
        (tmp_path / node).touch()
    assert gpu_count(tmp_path) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_count(tmp_path) == 1


@linux
@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0,2", 2), ("0,-1,2", 1), ("GPU-8932f937", 1)])
def test_devices_that_are_hidden_do_not_count(tmp_path: Path, visible: str, count: int) -> None:
    (tmp_path / "nvidiactl").touch()
    assert gpu_count(tmp_path, visible) == count
    (tmp_path / "nvidia0").touch()
    assert gpu_count(tmp_path, visible) == min(count, 1), "no more than there are"


@linux
def test_a_card_without_a_node_of_its_own_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "dxg").touch()
    assert gpu_count(tmp_path) == 1


@linux
def test_libraries_are_read_from_a_file_and_looked_for(tmp_path: Path) -> None:
    assert any(name.startswith("libc.so") for name in needed_by(Path(sys.executable).resolve()))
    assert missing(["libc.so.6", "libnothing-of-that-name.so.1"]) == ["libnothing-of-that-name.so.1"]
    text = tmp_path / "notes.so"
    text.write_text("no library")
    assert needed_by(text) == []


@linux
def test_the_cuda_provider_names_what_it_needs() -> None:
    path = provider_library()
    if path is None:
        pytest.skip("this ONNX Runtime is built without CUDA")
    names = cuda_libraries(path)
    assert {DRIVER, CUDNN} <= set(names)
    assert cuda_version_of(names) in (12, 13, 14)
    assert all(package_of(name) is not None for name in names if name != DRIVER)


def test_every_library_has_its_package() -> None:
    assert package_of("libcublasLt.so.13") == package_of("libcublas.so.12") == "nvidia-cublas"
    assert package_of("libcudnn.so.9") == "nvidia-cudnn"
    assert package_of("libcuda.so.1") is None
    assert cuda_version_of(["libcudart.so.12", "libcudnn.so.9"]) == 12
    assert cuda_version_of(["libcudart.so", "libm.so.6"]) is None


@given(st.sampled_from(("auto", "cpu", "cuda")), st.booleans(), st.booleans())
def test_ways_to_open_end_with_what_must_work(provider: Provider, cuda: bool, graph: bool) -> None:
    ways = attempts(provider, Gpu(graph=graph), cuda=cuda)
    assert not ways[-1].gpu.graph
    assert ways[0].gpu.graph == (cuda and graph)
    assert (ways[-1].provider == "cpu") == (provider == "cpu" or (cuda and provider == "auto"))
    assert all(way.provider == "cuda" for way in ways) or provider != "cuda", "never a silent fallback"
    assert len(ways) == len(set(ways))
