"""What people read when the API server says no: what happened, and what to do."""

from typing import Any

import pytest

from keywright.kube.resources import APIKEYS, SECRETS
from keywright.kubectl.refusals import Attempt, explain

CREATE = Attempt("create", APIKEYS, "payments", "ci")
LIST = Attempt("list", APIKEYS, "payments")
EVERYWHERE = Attempt("list", APIKEYS, None)
FETCH = Attempt("get", SECRETS, "payments", "ci")


def forbidden(user: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "reason": "Forbidden",
        "message": f'apikeys.keywright.dev is forbidden: User "{user}" cannot list resource "apikeys" in API group '
        '"keywright.dev" in the namespace "payments"',
    }


@pytest.mark.parametrize(
    ("attempt", "user", "command"),
    [
        (
            LIST,
            "alice",
            "kubectl create rolebinding keywright-view-alice --clusterrole=keywright-view --user=alice -n payments",
        ),
        (
            CREATE,
            "alice o'hara",
            (
                "kubectl create rolebinding 'keywright-edit-alice o'\"'\"'hara' --clusterrole=keywright-edit "
                "--user='alice o'\"'\"'hara' -n payments"
            ),
        ),
        (
            EVERYWHERE,
            "system:serviceaccount:ci:bot",
            "kubectl create clusterrolebinding keywright-view-bot --clusterrole=keywright-view --serviceaccount=ci:bot",
        ),
    ],
)
def test_a_missing_right_comes_with_the_command_that_gives_it(attempt: Attempt, user: str, command: str) -> None:
    """Quoted for a shell, because a user name is anybody's text."""
    said = explain(attempt, 403, forbidden(user), "c")
    assert said.endswith(command)
    assert f"you ({user}) may not {attempt.verb} apikeys" in said


def test_a_missing_right_to_secrets_names_the_right() -> None:
    """There is no role of ours for Secrets."""
    said = explain(FETCH, 403, forbidden("alice"), "c")
    assert "the right get on secrets" in said
    assert "edit role" in said


def test_a_policy_speaks_for_itself() -> None:
    """Without the preamble of Kubernetes, which names policy and binding."""
    answer = {
        "message": "apikeys.keywright.dev \"ci\" is forbidden: ValidatingAdmissionPolicy 'keywright-class-use' with "
        "binding 'keywright-class-use' denied request: you may not use the class: ask for the verb use"
    }
    for status in (403, 422):
        said = explain(CREATE, status, answer, "c")
        assert said.startswith("refused: you may not use the class: ask for the verb use")


@pytest.mark.parametrize(
    ("attempt", "status", "answer", "words"),
    [
        (LIST, 401, {"message": "Unauthorized"}, ("credentials of context c", "log in again")),
        (LIST, 404, None, ("has no ApiKeys", "install Keywright")),
        (CREATE, 404, {"message": 'namespaces "payments" not found'}, ('namespaces "payments" not found',)),
        (CREATE, 409, {"reason": "AlreadyExists"}, ("there is an ApiKey ci", "another name")),
        (CREATE, 409, {"reason": "Conflict"}, ("changed or replaced", "try again")),
        (
            CREATE,
            422,
            {"message": "long", "details": {"causes": [{"field": "spec.ttl", "message": "no"}, {"message": "nor"}]}},
            ("refused: spec.ttl: no; nor: correct it",),
        ),
        (CREATE, 400, {"message": "strict decoding"}, ("strict decoding", "correct it")),
        (LIST, 503, {"message": "busy"}, ("503 busy", "try again")),
        (LIST, 200, None, ("no Kubernetes API server", "context c")),
    ],
)
def test_every_other_refusal_says_what_to_do(
    attempt: Attempt, status: int, answer: dict[str, Any] | None, words: tuple[str, ...]
) -> None:
    """In one line."""
    said = explain(attempt, status, answer, "c")
    assert all(each in said for each in words), said
    assert "\n" not in said
