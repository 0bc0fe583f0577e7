"""Containerfile and compose file: what they say of each other, of the package and of the config. The image itself:
tests/deploy/test_image.py."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from bimodal.config import load_config

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["bimodal"]
VARIANT = ROOT / "deploy" / "container" / "variant.py"


def dependencies(variant: str, tmp_path: Path) -> list[str]:
    """The dependencies of an image, after its pyproject.toml was rewritten."""
    copy = tmp_path / "pyproject.toml"
    copy.write_text((ROOT / "pyproject.toml").read_text())
    printed = subprocess.run(
        [sys.executable, str(VARIANT), variant, str(copy), "--requirements"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    subprocess.run([sys.executable, str(VARIANT), variant, str(copy)], check=True)
    found: list[str] = tomllib.loads(copy.read_text())["project"]["dependencies"]
    assert [line for line in printed if line] == found
    return found


@pytest.mark.parametrize(("variant", "runtime"), [("cpu", "onnxruntime"), ("cuda", "onnxruntime-gpu[cuda,cudnn]")])
def test_a_variant_has_one_runtime_and_opencv_without_windows(variant: str, runtime: str, tmp_path: Path) -> None:
    found = [re.split(r">=", one)[0] for one in dependencies(variant, tmp_path)]
    assert [name for name in found if name.startswith("onnxruntime")] == [runtime]
    assert [name for name in found if name.startswith("opencv")] == ["opencv-python-headless"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(found) == len(ours) - 1, "everything else is there"


def test_every_package_of_the_cpu_image_is_pinned(tmp_path: Path) -> None:
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").open()}
    for one in dependencies("cpu", tmp_path):
        assert re.split(r"[>\[]", one)[0].lower() in pinned, one


def test_the_image_runs_without_rights_and_says_what_it_is() -> None:
    final = CONTAINERFILE.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in final
    assert final.index("USER") < final.index("ENTRYPOINT")
    assert re.search(r"^ARG BASE=docker\.io/library/debian:trixie-slim$", CONTAINERFILE, re.MULTILINE)
    assert CONTAINERFILE.count("FROM ${BASE}") == 2
    assert "constraints.txt" in CONTAINERFILE
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}" in final
    assert "pip inspect > /opt/bimodal/parts.json" in CONTAINERFILE
    assert "ADD " not in CONTAINERFILE
    assert not re.search(r"curl|wget|http:", CONTAINERFILE)


def test_the_build_sees_every_part_of_the_package_and_no_more() -> None:
    listed = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    links = {path.resolve().relative_to(ROOT).parts[0] for path in (ROOT / "bimodal").iterdir() if path.is_symlink()}
    assert links <= listed, "the rooms are linked into the package"
    assert {"pyproject.toml", "constraints.txt", "bimodal", "config.yaml", "LICENSE", "NOTICE"} <= listed
    assert not {"tests", "docs", ".git"} & listed
    assert (ROOT / ".dockerignore").resolve() == ROOT / ".containerignore"


def test_the_compose_file_gives_what_the_config_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIMODAL_TOKEN", "0123456789abcdef0123456789abcdef")
    config = load_config(ROOT / "deploy" / "compose" / "config.yaml")
    needed_mb = 2 * config.capture.memory_mb * len(config.streams)
    assert int(COMPOSE["shm_size"].removesuffix("m")) > needed_mb
    assert config.outputs.view.host == "0.0.0.0"
    (port,) = COMPOSE["ports"]
    assert port == f"127.0.0.1:{config.outputs.view.port}:{config.outputs.view.port}", "for this machine only"
    assert "./deploy/compose:/etc/bimodal:ro" in COMPOSE["volumes"]
    assert COMPOSE["environment"]["BIMODAL_CONFIG"] == "/etc/bimodal/config.yaml"
    assert COMPOSE["read_only"]
    assert "/tmp" in COMPOSE["tmpfs"]
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["healthcheck"]["test"] == ["CMD", "bimodal", "status"]


def test_devices_are_explained() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for word in ("/dev/video0", "/dev/snd", "group_add: [video, audio]", "gpus: all"):
        assert word in text
