"""A file that claims to be an artifact, and metadata that claims to be in order: ArtifactError, or they are.

ONNX Runtime itself is not run here: it opens only what the scan lets pass, in processes that may die.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

from bimodal.models.contract import CONTRACT_KEY, Metadata, read_properties, to_properties
from bimodal.models.errors import ArtifactError
from bimodal.models.scan import scan
from bimodal.models.session import open_artifact
from tests.fuzz.bodies import short


@cache
def _genuine() -> tuple[bytes, dict[str, str]]:
    from tests.artifacts import make_speech

    with tempfile.TemporaryDirectory() as folder:
        path = make_speech(Path(folder) / "m.onnx")
        return path.read_bytes(), to_properties(open_artifact(path, provider="cpu").metadata)


def seeds() -> list[bytes]:
    """A genuine file and its metadata."""
    data, properties = _genuine()
    return [b"f" + data, b"m" + json.dumps(properties).encode()]


def one(data: bytes) -> None:
    """The first byte says whether the rest is a file or the metadata of one, as JSON."""
    try:
        if data[:1] == b"m":
            values = json.loads(data[1:])
            if isinstance(values, dict):
                properties = {CONTRACT_KEY: "1", **{key: str(value) for key, value in values.items()}}
                found = read_properties(properties, "m.onnx")
                assert isinstance(found, Metadata)
                read_properties(to_properties(found), "m.onnx")
        else:
            scan(data[1:], "m.onnx")
    except ArtifactError as error:
        short(error)
    except (ValueError, RecursionError) as error:
        if data[:1] != b"m" or not isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
            raise


if __name__ == "__main__":
    from tests.fuzz.running import run

    run("artifact", ["bimodal.models"])
