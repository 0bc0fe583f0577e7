"""List code files without a test of their name: for `a/b.py`, any `tests/a/test_b*.py`.

A list to look at, not a failure: end-to-end tests drive whole processes, and small files are tested with their callers.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("bimodal", "broker", "models", "workers", "recordings", "drawing", "export", "training", "scripts")


def tests_of(file: Path) -> list[Path]:
    """Tests named after a code file; both paths are relative to the repository."""
    folder = ROOT / "tests" / Path(*[part for part in file.parent.parts if part not in ("bimodal", "measure")])
    return sorted(folder.glob(f"test_{file.stem}*.py"))


def code_files() -> list[Path]:
    """Python files of the product and its scripts, links between rooms not followed."""
    found = [path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return sorted(path for path in found if path.name not in ("__init__.py", "__main__.py"))


def main() -> None:
    """Print the list."""
    files = code_files()
    without = [file for file in files if not tests_of(file)]
    print(f"{len(without)} of {len(files)} code files have no test of their name:")
    print(*(f"  {file}" for file in without), sep="\n")


if __name__ == "__main__":
    main()
