"""What the API server refuses, told to the one who asked: in the words of policies, and without what he sent."""

from typing import Any

import pytest

from keywright.console.service.refusals import problem_of
from keywright.kube.errors import from_response
from keywright.kube.resources import APIKEYS, SECRETS

KEY = "kw_live_4hJk29sLmQ0z_" + "a" * 49
POLICY = (
    "apikeys.keywright.dev \"ci\" is forbidden: ValidatingAdmissionPolicy 'keywright-class-use' with binding "
    "'keywright-class-use' denied request: you may not use the ApiKeyClass gold in this namespace"
)
RBAC = 'apikeys.keywright.dev is forbidden: User "alice" cannot create resource "apikeys" in API group "keywright.dev"'
STARTING = (
    "apikeys.keywright.dev \"ci\" is forbidden: ValidatingAdmissionPolicy 'keywright-default-class-use' with binding "
    "'keywright-default-class-use' denied request: failed to configure policy: failed to find resource referenced by "
    "paramKind: 'keywright.dev/v1alpha1, Kind=ApiKeyClass'"
)
QUOTA = 'apikeys.keywright.dev "ci" is forbidden: exceeded quota: keys, requested: count/apikeys=1, limited: 1'
CAUSES = {
    "causes": [
        {"field": "spec.ttl", "message": f'Invalid value: "{KEY}": write it as 90d'},
        {"field": "spec", "message": "expiresAt and ttl exclude each other"},
    ]
}


@pytest.mark.parametrize(
    ("status", "reason", "answer", "told", "detail"),
    [
        (
            403,
            "Forbidden",
            {"message": POLICY},
            (403, "forbidden"),
            "you may not use the ApiKeyClass gold in this namespace",
        ),
        (403, "Forbidden", {"message": RBAC}, (403, "forbidden"), "ClusterRole keywright-edit"),
        (403, "Forbidden", {"message": QUOTA}, (403, "forbidden"), "exceeded quota: keys"),
        (403, "Forbidden", None, (403, "forbidden"), "ClusterRole keywright-edit"),
        (422, "Invalid", {"message": POLICY}, (422, "invalid_request"), "you may not use the ApiKeyClass gold"),
        (
            422,
            "Invalid",
            {"message": f"no {KEY}", "details": CAUSES},
            (422, "invalid_request"),
            "spec.ttl: write it as 90d",
        ),
        (422, "Invalid", None, (422, "invalid_request"), ""),
        (422, "Invalid", {"message": STARTING}, (503, "unavailable"), "half a minute"),
        (400, "BadRequest", {"message": "odd"}, (422, "invalid_request"), ""),
        (401, "Unauthorized", None, (503, "unavailable"), ""),
        (404, "NotFound", None, (404, "not_found"), ""),
        (409, "AlreadyExists", None, (409, "already_exists"), ""),
        (409, "Conflict", None, (409, "conflict"), ""),
        (410, "Expired", None, (422, "invalid_request"), "cursor"),
        (413, "RequestEntityTooLarge", None, (413, "too_large"), ""),
        (429, "TooManyRequests", None, (503, "unavailable"), ""),
        (500, "InternalError", None, (503, "unavailable"), ""),
        (503, "ServiceUnavailable", None, (503, "unavailable"), ""),
    ],
)
def test_each_refusal_has_its_problem(
    status: int, reason: str, answer: dict[str, Any] | None, told: tuple[int, str], detail: str
) -> None:
    """Status and code for programs, and what to do for people."""
    problem = problem_of(from_response(status, reason, "POST /x", answer), "create", APIKEYS)
    assert (problem.status, problem.code) == told
    assert detail in problem.detail
    assert KEY not in problem.detail
    assert problem.detail


@pytest.mark.parametrize("message", [POLICY, QUOTA, f"Secret is invalid: {KEY}", RBAC])
@pytest.mark.parametrize("status", [400, 403, 422])
def test_what_is_said_of_secrets_is_for_nobody(status: int, message: str) -> None:
    """Whatever the API server quotes of one, a problem does not."""
    problem = problem_of(from_response(status, "Odd", "GET /x", {"message": message}), "get", SECRETS)
    assert message not in problem.detail
    assert "quota" not in problem.detail
    assert KEY not in problem.detail
