"""The OpenAPI document is what is served, and what is served is as it says: examples made from it, by the hundred."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from keywright_local import ControlPlane
from tests.support.console import Console, console, console_account, make_account, serve
from tests.support.kube import Kube, eventually
from tests.support.processes import Process, say

DOCUMENT = Path(__file__).parents[2] / "docs/reference/openapi.json"
SCHEMA = schemathesis.openapi.from_path(DOCUMENT)
NAMESPACE = "documented"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PLACES = itertools.cycle([True, True, False])
NAMES = itertools.cycle(["suspended", "live", "live", None])


@pytest.fixture(scope="module")
def token(admin: Kube) -> str:
    """Of an account that may edit a namespace with a few keys in it."""
    admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    serve(admin, NAMESPACE)
    for name in ("live", "suspended"):
        admin.apikey(NAMESPACE, name, suspended=name == "suspended", secret={"delivery": "Once"})
    return make_account(admin, NAMESPACE, "fuzzer", "edit")


@pytest.fixture(scope="module")
def service(
    plane: ControlPlane,
    admin: Kube,
    shared_operator: Process,
    token: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Console]:
    """A key service with room for many requests."""
    account = console_account(plane, admin, everywhere=True)
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, rate_limit=60_000) as running:
        path = f"/v1/namespaces/{NAMESPACE}/keys"
        eventually(lambda: running.ask("GET", path, token=token).status == 200, within=30)
        yield running
        assert "a fault of the key service" not in running.process.log
    admin.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture(scope="module")
def answered() -> Iterator[Counter[int]]:
    """How often each status was answered: examples that reach nothing would prove nothing."""
    counts: Counter[int] = Counter()
    yield counts
    say(f"answered: {dict(sorted(counts.items()))}")
    assert {200, 201, 404, 422} <= counts.keys(), counts


@SCHEMA.parametrize()
@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_documented(case: Case[Any], service: Console, token: str, answered: Counter[int]) -> None:
    """No fault, no status, content type or shape that the document does not name; for what it allows and what not."""
    if "namespace" in case.path_parameters and next(PLACES):
        case.path_parameters["namespace"] = NAMESPACE
        # Hardly any that is made up is the version of anything.
        case.headers.pop("If-Match", None)
        name = next(NAMES)
        if "key" in case.path_parameters and name is not None:
            case.path_parameters["key"] = name
    answer = case.call_and_validate(
        base_url=service.url, headers={"Authorization": f"Bearer {token}"}, checks=CHECKS, timeout=60
    )
    answered[answer.status_code] += 1


def test_the_document_is_served_as_it_is_committed(service: Console) -> None:
    """To anybody, as OpenAPI 3.1."""
    answer = service.ask("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.body == json.loads(DOCUMENT.read_text())
    assert answer.body["openapi"].startswith("3.1")


def test_there_is_no_page_that_asks_other_hosts(service: Console) -> None:
    """The documentation pages that the framework has are off."""
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert service.ask("GET", path).status in (303, 404)


def test_the_document_names_what_can_go_wrong() -> None:
    """Each operation has its problems, and says that it takes a credential."""
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    assert document["security"]
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len(operations) == 11
    for each in operations:
        assert {"401", "403", "404", "422", "429", "503"} <= each["responses"].keys()
        for status, response in each["responses"].items():
            assert list(response.get("content", {})) in (
                [["application/problem+json"]] if int(status) >= 400 else [["application/json"], []]
            )
