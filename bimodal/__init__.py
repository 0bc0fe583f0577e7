"""A real-time bimodal emotion detector: faces and speech.

    import bimodal

    result = bimodal.analyze("interview.mp4")
    with bimodal.Detector() as detector:
        faces = detector.faces(picture)

Everything is loaded when it is first used; `import bimodal` itself loads the standard library only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bimodal import errors
    from bimodal.api.analyze import Result, analyze
    from bimodal.api.detector import Detector, Face, Voice
    from bimodal.api.listen import Events, listen
    from bimodal.api.push import Push, push
    from bimodal.api.run import System, run
    from bimodal.broker.events import Emotion, Hop
    from bimodal.corpus.api import CorpusResult, analyze_corpus

__version__ = "0.2.0"
"""The one place of the version, which pyproject.toml and docs/conf.py read. The metadata of an environment may be older
than the code that runs."""

__all__ = [
    "CorpusResult",
    "Detector",
    "Emotion",
    "Events",
    "Face",
    "Hop",
    "Push",
    "Result",
    "System",
    "Voice",
    "analyze",
    "analyze_corpus",
    "errors",
    "listen",
    "push",
    "run",
]

_HOMES = {
    "CorpusResult": "bimodal.corpus.api",
    "Detector": "bimodal.api.detector",
    "Emotion": "bimodal.broker.events",
    "Events": "bimodal.api.listen",
    "Face": "bimodal.api.detector",
    "Hop": "bimodal.broker.events",
    "Push": "bimodal.api.push",
    "Result": "bimodal.api.analyze",
    "System": "bimodal.api.run",
    "Voice": "bimodal.api.detector",
    "analyze": "bimodal.api.analyze",
    "analyze_corpus": "bimodal.corpus.api",
    "listen": "bimodal.api.listen",
    "push": "bimodal.api.push",
    "run": "bimodal.api.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "errors":
        return importlib.import_module("bimodal.errors")
    raise AttributeError(f"module 'bimodal' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
