"""The folders of a user: where each lies, with and without the variables of the XDG base directory specification."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bimodal.broker.keys import keys_folder
from bimodal.broker.sockets import session_directory
from bimodal.commands.keys import tls_folder
from bimodal.console import state_directory
from bimodal.models.catalog import download_cache, user_models

FOLDERS: list[tuple[Callable[[], Path], str, str, str]] = [
    (user_models, "XDG_DATA_HOME", ".local/share", "bimodal/models"),
    (download_cache, "XDG_CACHE_HOME", ".cache", "bimodal/downloads"),
    (keys_folder, "XDG_CONFIG_HOME", ".config", "bimodal/keys"),
    (tls_folder, "XDG_CONFIG_HOME", ".config", "bimodal/tls"),
    (state_directory, "XDG_STATE_HOME", ".local/state", "bimodal"),
]
each = pytest.mark.parametrize(("folder", "variable", "default", "below"), FOLDERS)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", "/somewhere")


@each
def test_by_default_it_lies_in_the_home_folder(
    folder: Callable[[], Path], variable: str, default: str, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder() == Path("/somewhere", default, below)
    monkeypatch.setenv(variable, "")
    assert folder() == Path("/somewhere", default, below)
    monkeypatch.delenv("HOME")
    assert folder() == Path(pwd.getpwuid(os.getuid()).pw_dir, default, below)
    assert not Path("/somewhere").exists()


@each
def test_the_variable_says_where(
    folder: Callable[[], Path], variable: str, default: str, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/elsewhere")
    assert folder() == Path("/elsewhere", below)
    monkeypatch.setenv(variable, "relative")
    assert folder() == (Path("relative") if folder is state_directory else Path("/somewhere", default)) / below


def test_a_user_whom_the_machine_does_not_know_has_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert state_directory() == Path("~/.local/state/bimodal")


def test_sockets_lie_in_the_runtime_folder_else_in_the_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for unset in (None, ""):
        if unset is not None:
            monkeypatch.setenv("XDG_RUNTIME_DIR", unset)
        assert session_directory("a") == Path(tempfile.gettempdir(), f"bimodal-{os.getuid()}", "a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert session_directory("a") == Path("/run/user/7/bimodal/a")
