"""Commands that need packages of an extra."""

from __future__ import annotations

import pytest

from bimodal.extras import MissingPackageError, require


def test_the_first_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(
        MissingPackageError,
        match=r"^train face needs the package 'no_such': pip install 'bimodal-emotion\[training\]'$",
    ):
        require("train face", "training", "numpy", "no_such", "nor_this")


def test_a_submodule_of_a_missing_package_is_missing() -> None:
    with pytest.raises(MissingPackageError, match=r"'no_such\.inside'"):
        require("train face", "training", "no_such.inside")


def test_what_is_installed_is_enough() -> None:
    require("train face", "training", "numpy", "cv2")
