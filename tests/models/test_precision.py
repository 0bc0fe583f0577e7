"""The variant of a model that runs follows the processor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.precision import Precision, choose, features_in, instructions, saturates

AVX2 = "processor : 0\nmodel name : AMD EPYC\nflags : fpu sse4_2 fma avx2 bmi2 vaes\n"
VNNI = "processor : 0\nflags : fpu avx2 avx512f avx512_vnni\n"
CLIENT = "flags\t\t: avx2 avx_vnni\n"
SAPPHIRE = "flags\t\t: avx512_vnni amx_bf16 amx_tile amx_int8\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimdrdm asimddp sve i8mm\n"
OLD_ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32\n"


@pytest.mark.parametrize(
    ("cpu_info", "machine", "precision", "narrow"),
    [
        (AVX2, "x86_64", "fp32", True),
        (VNNI, "x86_64", "int8", False),
        (CLIENT, "AMD64", "int8", False),
        (SAPPHIRE, "x86_64", "int8", False),
        (GRAVITON, "aarch64", "int8", False),
        (OLD_ARM, "aarch64", "fp32", False),
        ("", "x86_64", "fp32", True),
        ("", "arm64", "fp32", False),
    ],
)
def test_int8_runs_where_the_processor_has_instructions_for_it(
    cpu_info: str, machine: str, precision: Precision, narrow: bool
) -> None:
    features = features_in(cpu_info)
    assert choose("auto", features).precision == precision
    assert saturates(machine, features) is narrow


@given(features=st.frozensets(st.sampled_from(["avx2", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "fma"])))
def test_what_config_says_counts_and_a_gpu_runs_floating_point(features: frozenset[str]) -> None:
    assert choose("fp32", features).precision == "fp32"
    assert choose("int8", features).precision == "int8"
    assert choose("int8", features, gpu=True).precision == "int8"
    assert choose("auto", features, gpu=True).precision == "fp32"
    assert (choose("auto", features).precision == "int8") == (instructions(features) is not None)


def test_a_machine_of_two_kinds_of_cores_has_what_both_have() -> None:
    assert features_in("flags : avx2 avx_vnni\n\nflags : avx2\n") == {"avx2"}


def test_the_reason_names_the_instructions() -> None:
    assert choose("auto", features_in(SAPPHIRE)).reason == "auto: this processor has amx_int8"
    assert choose("auto", features_in(AVX2)).reason == "auto: this processor has no VNNI, AMX or dot product"
