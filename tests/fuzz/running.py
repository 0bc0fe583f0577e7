"""Runs a target under atheris, with Python's coverage as the guide."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import atheris

Target = Callable[[bytes], None]
# No input may take longer, or more memory, than this: then it is a finding.
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=65536")


def run(name: str, instrument: Sequence[str]) -> None:
    """Fuzz `one` of tests/fuzz/NAME.py; `instrument` are the packages whose branches guide it.

    Arguments of libFuzzer are taken from the command line; -runs=N or -max_total_time=SECONDS end it.
    """
    # What was imported on the way here has no instruments yet.
    for loaded in [module for module in sys.modules if module.startswith((*instrument, "tests."))]:
        del sys.modules[loaded]
    with atheris.instrument_imports(include=list(instrument), enable_loader_override=False):
        module = importlib.import_module(f"tests.fuzz.{name}")
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(module.seeds()):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        arguments = sys.argv[1:]
        if all(argument.startswith("-") for argument in arguments):
            arguments = [*arguments, corpus]
        found = f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-"
        atheris.Setup([sys.argv[0], *LIMITS, found, *arguments], module.one)
        atheris.Fuzz()
