"""Colours of emotions and further categories on the report's pages, and in `Result.plot()`."""

from __future__ import annotations

from collections.abc import Mapping

from bimodal.models.emotions import EMOTIONS, FURTHER_COLOURS

COLOURS: Mapping[str, str] = dict(
    zip(
        (*EMOTIONS, *FURTHER_COLOURS),
        ("#9aa1a9", "#e69f00", "#0072b2", "#56b4e9", "#cc79a7", "#009e73", "#d55e00", "#8464c8", "#b9b31e", "#8c564b",
         "#17becf", "#f0447f", "#3d4450", "#84b93c", "#e0b27c"),
        strict=True,
    )
)  # fmt: skip
"""By name (`EmotionSet.colour_of`); the seven are distinct for colour-blind readers, after Okabe and Ito."""
IN_THE_DARK: Mapping[str, str] = {"neutral": "#808891", "hue6": "#cfd6df"}
"""Those that are others on a dark ground."""
OWN_COLOURS: tuple[str, ...] = ("#b07aa1", "#4e9f9b", "#b58b2a", "#6f7fd0", "#c9655c", "#6f9e45")
"""Of labels that no set names."""


def stylesheet() -> str:
    """CSS: a variable `--NAME` and a class `.NAME` for each colour, a class `.own0` … for each of OWN_COLOURS; a class
    sets `--it`."""
    rules = [f":root {{ {_variables(COLOURS)} }}"]
    rules += [f"@media (prefers-color-scheme: dark) {{\n  :root {{ {_variables(IN_THE_DARK)} }}\n}}"]
    rules += [f".{name} {{ --it: var(--{name}); }}" for name in COLOURS]
    rules += [f".own{number} {{ --it: {colour}; }}" for number, colour in enumerate(OWN_COLOURS)]
    return "\n".join(rules) + "\n"


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
