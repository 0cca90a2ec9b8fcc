"""The OpenAPI document, held against the application by schemathesis; and the page that shows it."""

import json
import re
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support.asgi import Http
from support.served import Place, served

from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.http.app import RESOURCES
from zdynamo.http.openapi import document

EXAMPLES = 40  # of each operation, and the same each time
API = schemathesis.openapi.from_dict(json.loads(document(RESOURCES)))
OPERATIONS = [result.ok() for result in API.get_all_operations()]
NOT_ASKED = [  # a document cannot say which R, W and contexts a cluster takes; 503 and 504 are answers
    positive_data_acceptance,
    not_a_server_error,
]
ENDLESS = "/v1/events"  # unless it is told when to end
CASES = [(mode, operation) for mode in schemathesis.GenerationMode for operation in OPERATIONS]


def has_wrong_requests(operation: schemathesis.schemas.APIOperation) -> bool:
    return bool(operation.body or operation.path_parameters or operation.query or operation.headers)


@pytest.fixture(scope="module")
def place(cluster: InProcessCluster) -> Iterator[Place]:
    with served(cluster) as made:
        yield made


@pytest.mark.parametrize(
    ("mode", "operation"),
    [(mode, operation) for mode, operation in CASES if mode.is_positive or has_wrong_requests(operation)],
    ids=lambda part: getattr(part, "label", getattr(part, "value", "")),
)
def test_the_application_keeps_to_the_document(
    mode: schemathesis.GenerationMode, operation: schemathesis.schemas.APIOperation, place: Place
) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: schemathesis.Case) -> None:
        if operation.path == ENDLESS:
            case.query = {"limit": 1, **(case.query or {})} if mode.is_negative else {"limit": 1}
        answer = case.call_and_validate(base_url=place.url, excluded_checks=NOT_ASKED)

        assert answer.status_code != 500

    holds()


def test_each_operation_is_described_once_with_a_name_of_its_own() -> None:
    names = [operation.name for resource in RESOURCES for operation in resource.operations]

    assert len(OPERATIONS) == len(set(names)) == len(names)


def test_the_document_is_served(http: Http) -> None:
    served = http.get("/openapi.json")

    assert served.body == document(RESOURCES)
    assert served.json["openapi"] == "3.1.0"


def test_the_page_needs_nothing_from_elsewhere(http: Http) -> None:
    page = http.get("/docs")

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(rb"https?://|//[a-z]+\.", page.body)
    assert "default-src 'self'" in page.headers["content-security-policy"]
