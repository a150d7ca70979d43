"""The OpenAPI document and the service agree: schemathesis makes requests from it, good and bad, and checks answers.

``CONTRACT_EXAMPLES`` says how many of each kind (default 8).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.core.result import Ok

from tests.conftest import serving

# one service for all of them
pytestmark = pytest.mark.xdist_group("contract")

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "8"))


@pytest.fixture(scope="module")
def document() -> Iterator[Any]:
    """From the real server: what the door answers is in the contract too."""
    with serving() as service:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_the_document_says(case: Case[Any]) -> None:
    case.call_and_validate()


def test_the_document_is_openapi_3_1(document: Any) -> None:
    document.validate()
    assert document.raw_schema["openapi"] == "3.1.0"
    assert {found.ok().label for found in document.get_all_operations() if isinstance(found, Ok)} == {
        "GET /api/v1/status",
        "GET /api/v1/modelo",
        "GET /api/v2/modelo",
        "POST /api/v2/modelo",
    }


@pytest.mark.parametrize("header", ["Model-Version", "Model-Digest", "Data-Digest", "Served-By"])
def test_what_the_status_answers_has_is_documented(document: Any, header: str) -> None:
    answers = document.raw_schema["paths"]["/api/v1/status"]["get"]["responses"]
    assert header in answers["200"]["headers"]
