"""Every row of the catalog asks for a command, a preset and a network that the exporter has."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.models.catalog import Download, downloads


@pytest.mark.parametrize("row", downloads(), ids=lambda row: row.name)
def test_the_exporter_knows_what_the_catalog_asks_for(row: Download, tmp_path: Path) -> None:
    """The authors' file is not here, and that is the only thing that is wrong."""
    result = CliRunner().invoke(app, [*row.export, str(tmp_path / row.file_name), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.output
    assert row.file_name in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", downloads(), ids=lambda row: row.name)
def test_the_artifact_is_called_as_the_catalog_calls_it(row: Download) -> None:
    named = row.export[row.export.index("--name") + 1] if "--name" in row.export else row.export[-1]
    assert named == row.name
