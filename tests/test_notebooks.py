"""The notebooks of the documentation run from beginning to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_every_cell_runs(notebook: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    program = tmp_path / "notebook.py"
    program.write_text("\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "face 1" in done.stdout
    assert all(not cell.get("outputs") for cell in cells), "committed without outputs"
