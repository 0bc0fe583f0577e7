"""The OpenAPI document: it is published as it is, and the server keeps to it (schemathesis)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from bimodal.broker.sockets import make_private
from bimodal.workers.http_api import analyses
from bimodal.workers.http_api.openapi import document
from bimodal.workers.http_api.operations import OPERATIONS
from scripts.openapi import DOCS, reference
from tests.workers.http_api.making import CONTROL, FAKE_CLIPS, READ, Served

MAY_CHANGE = {"Authorization": f"Bearer {CONTROL}"}
EXAMPLES = 4


def test_the_published_document_is_the_servers() -> None:
    found = document(OPERATIONS)
    again = "run: python -m scripts.openapi"
    assert json.loads((DOCS / "openapi.json").read_text(encoding="utf-8")) == json.loads(json.dumps(found)), again
    assert (DOCS / "http-reference.md").read_text(encoding="utf-8") == reference(found), again


def test_every_reference_has_its_schema_and_every_operation_its_name() -> None:
    found = document(OPERATIONS)
    names = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert set(references(found)) <= names
    operations = [one for path in found["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) == len(OPERATIONS)


def references(value: Any) -> Iterator[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyses, "WORKER_MODULE", FAKE_CLIPS)
        directory: Path = tmp_path_factory.mktemp("openapi") / "s"
        make_private(directory)
        found = Served(directory, token=READ, control_token=CONTROL, requests_per_s=100_000)
        yield found
        found.close()


schema = schemathesis.openapi.from_dict(document(OPERATIONS))


# Live events have no end, and a clip of random bytes is none.
@schema.exclude(path="/v1/events").parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck), derandomize=True,
)  # fmt: skip
def test_whatever_is_asked_the_server_keeps_to_the_document(served: Served, case: schemathesis.Case) -> None:
    case.call_and_validate(
        base_url=served.address,
        headers=MAY_CHANGE,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            unsupported_method,
            negative_data_rejection,
        ],
    )
