"""Packages that a plain install lacks: commands that need one name the extra that brings it before they start."""

from __future__ import annotations

import importlib.util

from bimodal.errors import BimodalError


class MissingPackageError(BimodalError):
    """A command needs a package of an extra that is not installed."""


def require(command: str, extra: str, *packages: str) -> None:
    """Check that a command ("train face") has all of its packages, without importing them.

    Raises MissingPackageError for the first that is missing, naming the extra (or extras, as in "training,convert").
    """
    for package in packages:
        if not installed(package):
            raise MissingPackageError(
                f"{command} needs the package '{package}': pip install 'bimodal-emotion[{extra}]'"
            )


def installed(package: str) -> bool:
    """True where a package is there, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the folder above a submodule is missing, or an import hook refuses the name
        return False
