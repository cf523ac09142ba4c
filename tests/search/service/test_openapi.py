"""The service does what its OpenAPI document says: schemathesis sends what fits it and what does not.

`DIANTU_FUZZ_ROUNDS=300` sends about ten thousand requests; by default some hundreds are sent.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from fuzzing import rounds
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from services import planted, running

# What fits the document may still be refused: SQL that is none, base64 that is no image, a token that is another.
_REFUSALS = ["2xx", "400", "401", "403", "404", "410", "413", "503"]
_CONFIG = {
    "checks": {
        "positive_data_acceptance": {"expected-statuses": _REFUSALS},
        # `/readyz` answers 503, and says so, where a model is missing.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
    }
}
_ROUNDS = rounds(6)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(planted(tmp_path_factory.mktemp("service") / "g"), deadline=60.0) as found:
        yield found


def test_the_document_is_complete(url: str) -> None:
    document = httpx.get(f"{url}openapi.json", timeout=60).json()
    assert document["info"]["title"] == "diantu"
    operations = {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert {"POST /v1/search", "POST /v1/search/batch", "POST /v1/embeddings", "GET /readyz"} <= set(operations)
    for name, operation in operations.items():
        assert operation.get("description"), name
        assert "200" in operation["responses"], name
        assert "422" not in operation["responses"], name
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], (name, status)
    schemas = document["components"]["schemas"]
    used = _references(document)
    assert used <= {f"#/components/schemas/{name}" for name in schemas}
    assert "HTTPValidationError" not in schemas
    for name in ("SearchRequest", "BatchRequest", "EmbeddingsRequest"):
        assert schemas[name]["additionalProperties"] is False
        assert schemas[name]["examples"]


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def test_its_examples_are_answered(url: str) -> None:
    document = httpx.get(f"{url}openapi.json", timeout=60).json()
    for path, name in (("v1/search", "SearchRequest"), ("v1/search/batch", "BatchRequest")):
        for example in document["components"]["schemas"][name]["examples"]:
            answer = httpx.post(f"{url}{path}", json=example, timeout=60)
            if "where" in example:  # about columns that this gallery has not
                continue
            assert answer.status_code == 200, (example, answer.text)


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.timeout(3600)
def test_it_does_what_it_says(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}openapi.json", config=SchemathesisConfig.from_dict(_CONFIG))
    statuses: Counter[tuple[str, str, int]] = Counter()
    for found in schema.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _send(found.ok(), mode, statuses)
    assert sum(statuses[f"POST /v1/search{batch}", "positive", 200] for batch in ("", "/batch")) > 0
    assert not [key for key in statuses if key[2] == 500]
    logging.getLogger(__name__).warning("%d requests", sum(statuses.values()))  # shown by pytest -rP


def _send(operation: Any, mode: GenerationMode, statuses: Counter[tuple[str, str, int]]) -> None:
    """Sends requests to one operation, and checks all answers."""

    @settings(
        max_examples=_ROUNDS, deadline=None, database=None, derandomize=_ROUNDS < 50, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        response = case.call_and_validate(timeout=60)
        statuses[operation.label, mode.value, response.status_code] += 1

    with contextlib.suppress(Unsatisfiable):  # nothing of a request without parameters can be wrong
        send()
