"""The ApiKey that a wish becomes, and how a request is known again."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.api.apikey import ApiKeySpec
from keywright.console.callers.caller import Bounds, Caller
from keywright.console.service.asking import IDEMPOTENCY_ANNOTATION, default_owner, is_as_asked, mark, to_manifest
from keywright.console.service.wanted import NewKey

ALICE = Caller(user="alice@example.com", groups=("payments", "payments", "dev"))
BOUNDS = Bounds(
    namespace="payments",
    name="ci",
    key_id="4hJk29sLmQ0z",
    class_name="gold",
    scopes=("a",),
    expires_at=None,
    may_manage=True,
)


def new(**fields: Any) -> NewKey:
    return NewKey.model_validate(fields)


def test_what_is_left_out_is_left_out() -> None:
    """The shortest wish is the shortest ApiKey: delivered once, and to be known again."""
    marked = mark(ALICE, "payments", new(), None)
    assert to_manifest(new(), marked.name, None, marked) == {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": {"name": marked.name, "annotations": {IDEMPOTENCY_ANNOTATION: str(marked)}},
        "spec": {"secret": {"delivery": "Once", "removeAfter": "5m"}},
    }


def test_everything_that_can_be_asked_for_arrives() -> None:
    """As the schema of an ApiKey has it."""
    wish = new(
        name="ci",
        displayName="CI",
        description="of the shop",
        className="gold",
        role="readonly",
        scopes=["agents:read"],
        owner={"user": "bob", "groups": ["dev"]},
        ttl="90d",
    )
    spec = ApiKeySpec.model_validate(to_manifest(wish, "ci", {"user": "alice"}, mark(ALICE, "ns", wish, None))["spec"])
    assert (spec.display_name, spec.description, spec.class_name, spec.role) == (
        "CI",
        "of the shop",
        "gold",
        "readonly",
    )
    assert spec.owner is not None
    assert (spec.owner.user, spec.owner.groups, spec.scopes) == ("bob", ["dev"], ["agents:read"])
    assert spec.ttl == wish.ttl
    ends = new(expiresAt="2999-01-01T00:00:00+02:00")
    manifest = to_manifest(ends, "ci", None, mark(ALICE, "ns", ends, None))
    assert manifest["spec"]["expiresAt"] == "2998-12-31T22:00:00Z"
    assert ends.expires_at == datetime(2998, 12, 31, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("caller", "owner"),
    [
        (ALICE, {"user": "alice@example.com", "groups": ["payments", "dev"]}),
        (Caller(user="alice"), {"user": "alice"}),
        (Caller(user="system:serviceaccount:ci:builder"), None),
        (Caller(user="system:serviceaccount:ci:builder", bounds=BOUNDS), {"user": "system:serviceaccount:ci:builder"}),
        (Caller(user="álice"), None),
        (Caller(user="-"), None),
        (
            Caller(user="alice", groups=tuple(f"g{number}" for number in range(40))),
            {"user": "alice", "groups": [f"g{number}" for number in range(16)]},
        ),
    ],
)
def test_who_owns_a_key_that_names_nobody(caller: Caller, owner: dict[str, Any] | None) -> None:
    """A person himself, the owner of the key that asks; of an account that makes keys for others nobody."""
    assert default_owner(caller) == owner


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_the_same_request_is_known_again_and_no_other(one: str, other: str) -> None:
    """By caller, namespace and Idempotency-Key; and its body by itself."""
    marked = mark(ALICE, "payments", new(displayName="x"), one)
    again = mark(ALICE, "payments", new(displayName="x"), one)
    found = to_manifest(new(displayName="x"), marked.name, None, marked)
    assert again.is_on(found)
    assert again.name == marked.name
    changed = mark(ALICE, "payments", new(displayName="y"), one)
    assert changed.name == marked.name
    assert not changed.is_on(found)
    assert changed.is_of_same_asker(found)
    others = [
        mark(ALICE, "elsewhere", new(displayName="x"), one),
        mark(Caller(user="bob"), "payments", new(displayName="x"), one),
        mark(Caller(user=ALICE.user, bounds=BOUNDS), "payments", new(displayName="x"), one),
        mark(ALICE, "payments", new(displayName="x"), None),
        *([mark(ALICE, "payments", new(displayName="x"), other)] if other != one else []),
    ]
    assert not any(each.is_on(found) or each.is_of_same_asker(found) for each in others)
    assert marked.name not in {each.name for each in others}


@pytest.mark.parametrize(
    "change",
    [
        {"role": "admin"},
        {"rateLimits": [{"name": "minute", "requests": 10}]},
        {"scopes": ["*"]},
        {"owner": {"user": "mallory"}},
        {"expiresAt": "2999-01-01T00:00:00Z"},
        {"secret": {"delivery": "Persistent"}},
        {"secret": None},
    ],
)
def test_an_annotation_alone_does_not_make_a_key_the_one_that_was_asked_for(change: dict[str, Any]) -> None:
    """Whoever may write ApiKeys can plant one under the name that a request will have."""
    wish = new(scopes=["a"], owner={"user": "alice"})
    manifest = to_manifest(wish, "ci", None, mark(ALICE, "ns", wish, "1"))
    assert is_as_asked(manifest, manifest)
    filled = manifest | {"spec": manifest["spec"] | {"className": "standard", "suspended": False}}
    assert is_as_asked(filled, manifest)
    assert not is_as_asked(manifest | {"spec": manifest["spec"] | change}, manifest)


def test_an_end_that_was_counted_from_the_first_request_is_as_asked() -> None:
    """What is repeated later ends no later for it."""
    first, again = (
        to_manifest(wish, "ci", None, mark(ALICE, "ns", wish, "1"))
        for wish in (new(expiresAt="2999-01-01T00:00:00Z"), new(expiresAt="2999-01-01T00:00:05Z"))
    )
    assert is_as_asked(first, again)
    assert not is_as_asked(again, first)
    assert not is_as_asked(to_manifest(new(), "ci", None, mark(ALICE, "ns", new(), "1")), again)
    odd = first | {"spec": first["spec"] | {"expiresAt": "2030-01-01T00:00:00+24:00"}}
    assert not is_as_asked(odd, first)
