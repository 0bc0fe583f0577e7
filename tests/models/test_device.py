"""Every model that ships says on the device what it says on the CPU.

The device is BIMODAL_DEVICE ("cuda" where there is a GPU, as scripts/measure/gpu.sh sets it), by default the CPU.
"""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.models.catalog import DEFAULTS, entries, path_of
from bimodal.models.cuda import Gpu
from bimodal.models.session import Artifact, Provider, open_artifact
from bimodal.models.session import _zeros as zeros

pytestmark = pytest.mark.device

DEVICE = cast("Provider", os.environ.get("BIMODAL_DEVICE", "cpu"))
# TF32 is off there; what is left is the order of sums.
CLOSE = 2e-3
NAMES = sorted({"yunet-n", "facemesh-478", "face-blendshapes", *DEFAULTS["face-static"]})


def inputs_of(artifact: Artifact, seed: int) -> dict[str, NDArray[Any]]:
    """Random values of the shapes and types that a model takes."""
    random = np.random.default_rng(seed)
    found = {}
    for tensor in artifact.inputs:
        empty = zeros(artifact, tensor)
        if empty.dtype == np.uint8:
            found[tensor.name] = random.integers(0, 256, empty.shape, dtype=np.uint8)
        else:
            found[tensor.name] = random.uniform(0, 192, empty.shape).astype(np.float32)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_the_same_on_the_device(name: str) -> None:
    (entry,) = [entry for entry in entries() if entry.name == name]
    here = open_artifact(path_of(entry), entry.kind, provider="cpu")
    there = open_artifact(path_of(entry), entry.kind, provider=DEVICE, gpu=Gpu())
    assert there.provider == DEVICE
    for seed in range(3):
        given = inputs_of(here, seed)
        expected, found = here.run(**given), there.run(**given)
        assert expected.keys() == found.keys()
        for output, values in expected.items():
            span = max(1.0, float(np.abs(values).max()))
            assert np.abs(values - found[output]).max() <= CLOSE * span, output
