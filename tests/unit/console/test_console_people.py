"""Whom the key service acts for, and by which name."""

import pytest

from keywright.console.callers.caller import Bounds, Caller
from keywright.console.callers.people import person
from keywright.console.problems import ProblemError


def test_a_person() -> None:
    """Name and groups as they are, without the group that the API server adds, and each group once."""
    found = person("alice@example.com", ["dev", "system:authenticated", "dev", "ops team"])
    assert found == Caller(user="alice@example.com", groups=("dev", "ops team"))


def test_what_the_log_calls_somebody() -> None:
    """By name; who comes by a key, by that too."""
    bounds = Bounds(namespace="a", name="ci", key_id="", class_name="", scopes=(), expires_at=None, may_manage=False)
    assert [str(person("alice")), str(person("alice", (), bounds))] == ["alice", "alice by key a/ci"]


def test_an_account() -> None:
    """Without groups: its own come from the API server, and it takes no others."""
    found = person("system:serviceaccount:ci:bot", ["system:serviceaccounts", "system:serviceaccounts:ci", "dev"])
    assert found == Caller(user="system:serviceaccount:ci:bot")


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("alice", ["system:masters"]),
        ("system:serviceaccount:ci:bot", ["system:masters"]),
        ("system:admin", []),
        ("system:anonymous", []),
        ("system:node:n1", ["system:nodes"]),
        ("system:kube-controller-manager", []),
        ("apikey:payments/ci", []),
        ("", []),
        (" alice", []),
        ("alice\r\nImpersonate-Group: system:masters", []),
        ("alice", ["dev\n"]),
        ("alice", [""]),
    ],
)
def test_nobody_to_act_for(user: str, groups: list[str]) -> None:
    """The cluster itself, who runs it, and what a header would carry as something else."""
    with pytest.raises(ProblemError) as refused:
        person(user, groups)
    assert (refused.value.status, refused.value.code) == (403, "forbidden")
