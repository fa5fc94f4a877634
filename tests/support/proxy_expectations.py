"""What every proxy has to hold: the headers that a client may not say, and what is told to whom it refuses."""

import json

from tests.support.backend import Answer
from tests.support.stands import Stand

__all__ = ["FORGED", "IDENTITY", "assert_told_why", "refused"]

IDENTITY = ("x-auth-subject", "x-auth-key", "x-auth-key-id", "x-auth-class", "x-auth-role", "x-auth-scopes")
# What a client must not be able to say. A backend of many a framework reads the underscore as a hyphen, PHP the dot too.
FORGED = [
    *(
        (name, "forged")
        for name in (
            *("X-Auth-Subject", "X-Auth-Key", "X-Auth-Key-Id", "X-Auth-Class", "X-Auth-Role", "X-Auth-Scopes"),
            *("X-Auth-Key-Expires", "X-Auth-Status", "x_auth_subject", "X_Auth_Role", "X-Auth_Scopes", "X_auth-key"),
            *("X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Original-URL", "x_original_uri"),
            *("X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Prefix", "X-Forwarded-User", "x_forwarded_uri"),
            *("X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "X-Rewrite-URL", "X-Real-IP"),
            *("X.Auth.Role", "X-Auth.Scopes", "x.forwarded.uri", "X.Original.URI"),
        )
    ),
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "forged"),
    ("Forwarded", "for=203.0.113.9"),
]


def refused(answer: Answer, stand: Stand) -> None:
    """No byte of the backend, and nothing at the backend."""
    assert "x-from" not in answer.headers
    assert stand.backend.take() == []


def assert_told_why(
    answer: Answer, stand: Stand, *, status: int, code: str, error: str | None, scope: str | None = None
) -> None:
    """Refused, with status, challenge and body of the verdict. ``error`` and ``scope`` are what the challenge says."""
    refused(answer, stand)
    assert answer.status == status, code
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="keywright"')
    assert challenge.count("Bearer ") == 1
    for name, value in (("error", error), ("scope", scope)):
        assert (f'{name}="{value}"' in challenge) == (f"{name}=" in challenge) == (value is not None), code
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    # nginx cannot carry a body of the verifier.
    assert problem.get("code") == (None if stand.kind.folder == "nginx" else code)
