"""What a caller is told of what the API server refused."""

import json

import pytest

from keywright.console.problems import ProblemError, as_problem, render
from keywright.kube.errors import ImpersonationError, from_response

ANSWER = {"message": "the API server quotes hunter2", "reason": "Forbidden"}


@pytest.mark.parametrize(
    ("status", "reason", "told", "code"),
    [
        (401, "Unauthorized", 503, "unavailable"),
        (403, "Forbidden", 403, "forbidden"),
        (404, "NotFound", 404, "not_found"),
        (409, "AlreadyExists", 409, "already_exists"),
        (409, "Conflict", 409, "conflict"),
        (422, "Invalid", 422, "invalid_request"),
        (400, "BadRequest", 422, "invalid_request"),
        (429, "TooManyRequests", 503, "unavailable"),
        (500, "InternalError", 503, "unavailable"),
        (0, "ClientConnectorError", 503, "unavailable"),
    ],
)
def test_each_refusal(status: int, reason: str, told: int, code: str) -> None:
    """A problem in the caller's terms; a 401 is the service's own. Nothing that the API server said is repeated."""
    kind = from_response(status or 503, reason, "GET /apis/hunter2", ANSWER)
    problem = as_problem(kind)
    assert (problem.status, problem.code) == (told, code)
    assert "hunter2" not in render(problem).decode()
    assert ("Retry-After" in problem.headers) == (told == 503)


def test_what_the_service_may_not() -> None:
    """Which roles to bind, for who runs it: no fault of the one who asks."""
    problem = as_problem(ImpersonationError(403, "Forbidden", "GET /x"))
    assert problem.status == 503
    for role in ("keywright-console-acting", "keywright-console-keys", "keywright-console-secrets"):
        assert role in problem.detail


def test_the_document() -> None:
    """All members of RFC 9457 that there are to say, and the code."""
    document = json.loads(render(ProblemError(404, "not_found", "No such key.")))
    assert document == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "No such key.",
    }
