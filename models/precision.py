"""Which variant of a model runs: in floating point, or in 8-bit integers where the processor has instructions for them.

INT8 models multiply unsigned activations with signed weights. Processors with VNNI, AMX (x86) or the dot product (ARM)
sum these products in 32 bits; older ones sum pairs in 16 bits, which costs time and, with 8-bit weights, saturates.
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Literal, NamedTuple

from bimodal.models.cuda import usable_gpus

Precision = Literal["fp32", "int8"]

CPU_INFO = Path("/proc/cpuinfo")
X86 = ("x86_64", "amd64", "i386", "i686")
VNNI, AMX = ("avx512_vnni", "avx_vnni"), ("amx_int8",)
DOT_PRODUCT = ("i8mm", "asimddp")


class Choice(NamedTuple):
    """The variant to run.

    Attributes:
        precision: of the models that have it; the others run in floating point.
        reason: in a few words.
        fast: the instructions for 8-bit integers that this processor has, None without.
    """

    precision: Precision
    reason: str
    fast: str | None


def instructions(features: Collection[str]) -> str | None:
    """The instructions for 8-bit integers among a processor's features as /proc/cpuinfo names them; None without."""
    return next((name for name in (*AMX, *VNNI, *DOT_PRODUCT) if name in features), None)


def choose(wanted: Literal["auto"] | Precision, features: Collection[str], *, gpu: bool = False) -> Choice:
    """Choose the variant for a processor. Pure.

    Args:
        wanted: `runtime.precision` of config.yaml.
        features: of the processor.
        gpu: whether the models run on a GPU, which gains nothing from these variants.
    """
    fast = instructions(features)
    if wanted != "auto":
        return Choice(wanted, "as asked for", fast)
    if gpu:
        return Choice("fp32", "auto: the models run on a GPU", fast)
    if fast is None:
        return Choice("fp32", "auto: this processor has no VNNI, AMX or dot product", None)
    return Choice("int8", f"auto: this processor has {fast}", fast)


def choice_here(wanted: Literal["auto"] | Precision, provider: str = "cpu") -> Choice:
    """Choose for this machine; `provider` is `runtime.provider`."""
    return choose(wanted, cpu_features(), gpu=wanted == "auto" and usable_gpus(provider) > 0)


@functools.cache
def cpu_features() -> frozenset[str]:
    """Features of this machine's processor; empty where nothing says them."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return frozenset({"asimddp"})  # every Apple processor of this kind has it
    try:
        return features_in(CPU_INFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return frozenset()


def features_in(cpu_info: str) -> frozenset[str]:
    """The features that all processors of a /proc/cpuinfo have: its lines `flags` (x86) or `Features` (ARM)."""
    lines = [line.partition(":") for line in cpu_info.splitlines()]
    found = [frozenset(words.split()) for key, _, words in lines if key.strip() in ("flags", "Features")]
    return frozenset.intersection(*found) if found else frozenset()


def saturates(machine: str, features: Collection[str]) -> bool:
    """True where sums of U8 × S8 products with 8-bit weights may saturate: on x86 without VNNI or AMX."""
    return machine.lower() in X86 and instructions(features) is None
