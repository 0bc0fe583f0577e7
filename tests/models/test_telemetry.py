"""Nothing is reported to anybody: ONNX Runtime's telemetry is off before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_opening_a_model_leaves_nothing_of_others_in_the_home_directory(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    program = (
        "from bimodal.models.catalog import resolve\n"
        "from bimodal.models.session import open_artifact\n"
        "open_artifact(resolve('face-compact'), provider='cpu')\n"
    )
    root = Path(__file__).parent.parent.parent
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, check=True)
    ours = {Path(".cache"), Path(".cache/bimodal"), Path(".cache/bimodal/scanned")}
    kept = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    # What the scan has passed (models/scanned.py), and nothing else.
    assert {path for path in kept if not path.is_relative_to(".cache/bimodal/scanned")} == ours - {
        Path(".cache/bimodal/scanned")
    }
