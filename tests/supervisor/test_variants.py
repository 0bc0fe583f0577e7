"""The variant of a config: by the processor, but for dynamic models."""

from __future__ import annotations

from bimodal.config import Config, check_config
from bimodal.models.precision import choose
from bimodal.supervisor.variants import choice_of, file_of

VNNI = frozenset({"avx512_vnni"})


def config(precision: str, dynamic: str = "none") -> Config:
    values = {"runtime": {"precision": precision}, "models": {"face-static": "face-compact", "face-dynamic": dynamic}}
    return check_config(values, "the test")


def test_a_dynamic_model_keeps_to_what_it_learnt_from() -> None:
    here = choose("auto", VNNI)
    assert choice_of(config("auto"), here).precision == "int8"
    kept = choice_of(config("auto", "face-dynamic-compact"), here)
    assert (kept.precision, kept.reason) == ("fp32", "auto: the dynamic face model learnt from floating point")
    asked = choose("int8", VNNI)
    assert choice_of(config("int8", "face-dynamic-compact"), asked).precision == "int8"


def test_a_model_that_has_the_variant_gives_its_file_and_others_their_only_one() -> None:
    assert file_of(config("int8"), "face-compact").endswith("face-compact/int8.onnx")
    assert file_of(config("fp32"), "face-compact").endswith("face-compact/model.onnx")
    assert file_of(config("int8"), "facemesh-468").endswith("facemesh-468/model.onnx")
