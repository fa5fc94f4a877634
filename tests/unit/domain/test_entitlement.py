"""What a class lets an ApiKey do: the first objection a person reads, and what verifiers may grant meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from keywright.domain import entitlement
from keywright.domain.apikey import Effective, Owner, RateLimit
from keywright.domain.entitlement import Labels
from keywright.domain.keyclass import Authorization, Grant, KeyClass
from keywright.domain.policy import Refused, judge
from keywright.domain.reasons import Reason
from keywright.domain.selectors import Operator, Requirement, Selector
from tests.unit.domain.examples import NOW, STANDARD, spec

MINUTE = timedelta(minutes=1)
ALICE, BOB = Owner(user="alice@example.com", groups=("payments",)), Owner(user="bob@example.org")
MEMBER = Owner(user="carol@example.com", groups=("payments",))
PLATFORM = {"team": "platform"}
CATALOGUE = {"agents:read": (), "agents:write": ("agents:read",), "tasks:read": ()}
LIMITS = (RateLimit(name="minute", requests=100, window=MINUTE), RateLimit(name="day", requests=5000))


def _class(**fields: Any) -> KeyClass:
    return replace(STANDARD, **fields)


def grants(*each: Grant) -> KeyClass:
    return _class(scopes=CATALOGUE, grants=each)


def grant(labels: dict[str, str] | None = None, **fields: Any) -> Grant:
    return Grant(namespaces=Selector(match_labels=PLATFORM if labels is None else labels), **fields)


CATALOGUED = _class(scopes=CATALOGUE, roles={"reader": ("*:read", "gone:read")})
LIMITED = _class(rate_limits=LIMITS)
PLATFORM_ONLY = _class(allowed_namespaces=Selector(match_labels=PLATFORM))
NO_TEAM = Selector(match_expressions=(Requirement(key="team", operator=Operator.DOES_NOT_EXIST),))
UNLABELLED = _class(allowed_namespaces=NO_TEAM)
ACTS_AS_OWNER = _class(authorization=Authorization.OWNER)
FENCED = grants(
    grant(roles=("readonly",), scopes=("agents:write",), owners=("*@example.com",), groups=("payments",)),
    grant(labels={"tier": "gold"}, roles=("*",), scopes=("*",)),
)


class Row(NamedTuple):
    asked: dict[str, Any]
    key_class: KeyClass
    expected: tuple[Reason, str] | None
    labels: Labels = PLATFORM


CASES = {
    "the shortest key asks for nothing": Row({}, STANDARD, None),
    "a role of the class": Row({"role": "admin"}, STANDARD, None),
    "a role that the class does not have": Row(
        {"role": "root"}, STANDARD, (Reason.ROLE_NOT_FOUND, "has no role root: choose one of admin, readonly")
    ),
    "a role where there are none": Row(
        {"role": "root"}, _class(roles={}), (Reason.ROLE_NOT_FOUND, "has no role root: remove it")
    ),
    "any well-formed scope without a catalogue": Row({"scopes": ("any:thing",)}, STANDARD, None),
    "a scope of the catalogue": Row({"scopes": ("agents:write",)}, CATALOGUED, None),
    "a wildcard that covers one of the catalogue": Row({"scopes": ("agents:*", "*")}, CATALOGUED, None),
    "a scope that is not in the catalogue": Row(
        {"scopes": ("agents:read", "billing:read")}, CATALOGUED, (Reason.SCOPE_NOT_ALLOWED, "billing:read is not in")
    ),
    "a wildcard that covers nothing": Row(
        {"scopes": ("billing:*",)}, CATALOGUED, (Reason.SCOPE_NOT_ALLOWED, "billing:* is not in the catalogue")
    ),
    "a tighter limit": Row({"rate_limits": (RateLimit(name="minute", requests=10),)}, LIMITED, None),
    "a tighter limit in a longer window": Row(
        {"rate_limits": (RateLimit(name="minute", requests=100, window=2 * MINUTE),)}, LIMITED, None
    ),
    "a limit of more requests": Row(
        {"rate_limits": (RateLimit(name="minute", requests=101),)},
        LIMITED,
        (Reason.INVALID_SPEC, "spec.rateLimits: minute is looser than in class standard, which has 100 in 1m"),
    ),
    "a limit in a shorter window": Row(
        {"rate_limits": (RateLimit(name="minute", requests=10, window=MINUTE / 2),)},
        LIMITED,
        (Reason.INVALID_SPEC, "is looser"),
    ),
    "a limit that the class does not have": Row(
        {"rate_limits": (RateLimit(name="hour", requests=10),)},
        LIMITED,
        (Reason.INVALID_SPEC, "has no rate limit hour that could be tightened: name one of minute, day"),
    ),
    "a limit where there are none": Row(
        {"rate_limits": (RateLimit(name="hour", requests=10),)}, STANDARD, (Reason.INVALID_SPEC, "remove it")
    ),
    "a namespace that the class selects": Row({}, PLATFORM_ONLY, None),
    "a namespace that the class does not select": Row(
        {}, PLATFORM_ONLY, (Reason.CLASS_NOT_ALLOWED, "does not allow this namespace"), labels={}
    ),
    "a namespace that is not known": Row(
        {}, PLATFORM_ONLY, (Reason.CLASS_NOT_ALLOWED, "does not allow this namespace"), labels=None
    ),
    "an owner where the class acts as one": Row({"owner": ALICE}, ACTS_AS_OWNER, None),
    "no owner where the class acts as one": Row(
        {}, ACTS_AS_OWNER, (Reason.CLASS_NOT_ALLOWED, "spec.owner is not set: make a new ApiKey")
    ),
    "what is granted": Row({"role": "readonly", "scopes": ("agents:write",), "owner": ALICE}, FENCED, None),
    "what a granted scope includes": Row({"scopes": ("agents:read",)}, FENCED, None),
    "a role that is not granted": Row(
        {"role": "admin"}, FENCED, (Reason.SCOPE_NOT_ALLOWED, "does not grant the role admin to this namespace")
    ),
    "a scope that is not granted": Row(
        {"scopes": ("agents:read", "tasks:read")}, FENCED, (Reason.SCOPE_NOT_ALLOWED, "does not grant tasks:read")
    ),
    "a wildcard wider than what is granted": Row(
        {"scopes": ("agents:*",)}, FENCED, (Reason.SCOPE_NOT_ALLOWED, "does not grant agents:*")
    ),
    "an owner who is not granted": Row({"owner": BOB}, FENCED, (Reason.CLASS_NOT_ALLOWED, "spec.owner.user")),
    "a group that is granted": Row({"owner": MEMBER}, grants(grant(owners=("*",), groups=("pay*",))), None),
    "groups that several grants cover together": Row(
        {"owner": replace(MEMBER, groups=("payments", "on-call"))},
        grants(grant(owners=("*",), groups=("payments",)), grant(groups=("on-*",))),
        None,
    ),
    "a group that is not granted": Row(
        {"owner": replace(MEMBER, groups=("payments", "platform-admins"))},
        grants(grant(owners=("*",), groups=("payments",))),
        (Reason.CLASS_NOT_ALLOWED, "spec.owner.groups: class standard does not grant the group platform-admins"),
    ),
    "a group where none is granted": Row(
        {"owner": MEMBER}, grants(grant(owners=("*",))), (Reason.CLASS_NOT_ALLOWED, "make a new ApiKey without it")
    ),
    "a group that is granted to another namespace": Row(
        {"owner": MEMBER},
        grants(grant(owners=("*",)), grant(labels={"tier": "gold"}, groups=("*",))),
        (Reason.CLASS_NOT_ALLOWED, "spec.owner.groups"),
    ),
    "grants to another namespace": Row(
        {"role": "readonly"}, FENCED, (Reason.SCOPE_NOT_ALLOWED, "does not grant the role"), labels={}
    ),
    "grants to a namespace that is not known": Row(
        {"role": "readonly"}, FENCED, (Reason.SCOPE_NOT_ALLOWED, "does not grant the role"), labels=None
    ),
    "a class that takes whoever lacks a label, in a namespace that is not known": Row(
        {}, UNLABELLED, (Reason.CLASS_NOT_ALLOWED, "does not allow this namespace"), labels=None
    ),
    "grants to whoever lacks a label, in a namespace that is not known": Row(
        {"role": "admin"},
        grants(Grant(namespaces=NO_TEAM, roles=("*",))),
        (Reason.SCOPE_NOT_ALLOWED, "does not grant the role"),
        labels=None,
    ),
    "several grants are united": Row(
        {"role": "admin", "scopes": ("tasks:read",), "owner": ALICE}, FENCED, None, labels=PLATFORM | {"tier": "gold"}
    ),
    "no grants leave a plain key": Row({}, grants(), None),
    "no grants leave no owner": Row({"owner": ALICE}, grants(), (Reason.CLASS_NOT_ALLOWED, "spec.owner.user")),
    "no grants leave no scope": Row({"scopes": ("agents:read",)}, grants(), (Reason.SCOPE_NOT_ALLOWED, "not grant")),
}


@pytest.mark.parametrize("row", CASES.values(), ids=CASES)
def test_objections(row: Row) -> None:
    """Nothing, or a refusal that names field and remedy."""
    verdict = judge(spec(**row.asked), row.key_class, NOW, labels=row.labels)
    if row.expected is None:
        assert not isinstance(verdict, Refused)
        return
    assert isinstance(verdict, Refused)
    reason, part = row.expected
    assert verdict.reason is reason
    assert part in verdict.message
    assert ": " in verdict.message


ORDER: list[tuple[dict[str, Any], Reason, str]] = [
    ({}, Reason.CLASS_NOT_ALLOWED, "does not allow this namespace"),
    ({"allowed_namespaces": None}, Reason.CLASS_NOT_ALLOWED, "spec.owner"),
    ({"owner": ALICE}, Reason.INVALID_SPEC, "requires spec.displayName"),
    ({"states_display_name": True}, Reason.ROLE_NOT_FOUND, "spec.role"),
    ({"role": "admin"}, Reason.SCOPE_NOT_ALLOWED, "spec.scopes"),
    ({"scopes": ()}, Reason.INVALID_SPEC, "spec.rateLimits"),
    ({"rate_limits": ()}, Reason.LIFETIME_EXCEEDED, "spec.ttl"),
]


def test_the_first_objection_is_told() -> None:
    """Namespace, owner, required fields, role, scopes, rate limits, lifetime: each once the one before is mended."""
    key_class = _class(
        allowed_namespaces=Selector(match_labels={"no": "where"}),
        grants=(grant(roles=("*",), owners=("*@example.com",), groups=("*",)),),
        requires=frozenset(("displayName",)),
        max_lifetime=MINUTE,
    )
    asked = spec(owner=BOB, role="root", scopes=("a",), rate_limits=(RateLimit(name="m", requests=1),), ttl=2 * MINUTE)
    for mended, reason, part in ORDER:
        for field, value in mended.items():
            if field == "allowed_namespaces":
                key_class = replace(key_class, **{field: value})
            else:
                asked = replace(asked, **{field: value})
        verdict = judge(asked, key_class, NOW, labels=PLATFORM)
        assert isinstance(verdict, Refused)
        assert verdict.reason is reason
        assert part in verdict.message


@pytest.mark.parametrize(
    ("pattern", "user", "is_covered"),
    [
        ("*@example.com", "alice@example.com", True),
        ("*@example.com", "alice@example.com.evil.org", False),
        ("alice@example.com", "alice@exampleXcom", False),
        ("system:serviceaccount:*:ci", "system:serviceaccount:payments:ci", True),
        ("[ab]*", "alice", False),
        ("[ab]*", "[ab]c", True),
        ("?", "a", False),
        ("?", "?", True),
        ("*", "anybody", True),
        ("Alice", "alice", False),
        ("*a*a*a*a*a*a*a*a*a*a*a*b", "a" * 253, False),
    ],
)
def test_owner_patterns(pattern: str, user: str, is_covered: bool) -> None:
    """Only the star is special, and no pattern takes long."""
    denial = entitlement.bar(Owner(user=user), grants(grant(owners=(pattern,))), PLATFORM, None)
    assert (denial is None) is is_covered


@pytest.mark.parametrize("pattern", ["payments", "pay*", "*"])
def test_group_patterns_cover_the_whole_name(pattern: str) -> None:
    """As those of users do: a longer name is another group."""
    granted = grants(grant(owners=("*",), groups=(pattern,)))
    assert entitlement.bar(MEMBER, granted, PLATFORM, None) is None
    longer = Owner(user="carol@example.com", groups=("x-payments",))
    assert (entitlement.bar(longer, granted, PLATFORM, None) is None) is (pattern == "*")


def test_groups_in_another_order_are_the_same_owner() -> None:
    """They are a set in the schema, so the API server takes it for no change."""
    recorded = Effective(owner=Owner(user="carol@example.com", groups=("a", "b")))
    assert entitlement.bar(Owner(user="carol@example.com", groups=("b", "a")), STANDARD, None, recorded) is None
    assert entitlement.bar(Owner(user="carol@example.com", groups=("b",)), STANDARD, None, recorded) is not None


@pytest.mark.parametrize("recorded", [None, ALICE])
def test_an_owner_who_is_not_the_recorded_one_is_barred(recorded: Owner | None) -> None:
    """The schema lets nobody change an owner: whoever got round it gets no working key."""
    denial = entitlement.bar(BOB, STANDARD, None, Effective(owner=recorded))
    assert denial is not None
    assert denial.reason is Reason.CLASS_NOT_ALLOWED
    assert entitlement.bar(recorded, STANDARD, None, Effective(owner=recorded)) is None


def test_all_that_is_asked_is_granted_when_there_is_no_objection() -> None:
    """Role and scopes with what they include, the owner, and the limits of the class as far as not tightened."""
    asked = spec(
        role="reader",
        scopes=("agents:write",),
        owner=ALICE,
        rate_limits=(RateLimit(name="minute", requests=10), RateLimit(name="day", requests=1, window=2 * MINUTE)),
    )
    assert entitlement.allow(asked, replace(CATALOGUED, rate_limits=LIMITS), None) == Effective(
        role="reader",
        # gone:read is a scope of the role that the catalogue does not know.
        scopes=("*:read", "agents:write"),
        owner=ALICE,
        rate_limits=(
            RateLimit(name="minute", requests=10, window=MINUTE),
            RateLimit(name="day", requests=1, window=2 * MINUTE),
        ),
    )


def test_what_is_objected_to_is_left_out() -> None:
    """An unknown role, a role and scopes that are not granted, a looser limit; the rest stays."""
    asked = spec(role="root", scopes=("agents:read", "tasks:read"), owner=ALICE)
    assert entitlement.allow(asked, FENCED, PLATFORM) == Effective(scopes=("agents:read",), owner=ALICE)
    assert entitlement.allow(spec(role="admin"), FENCED, PLATFORM) == Effective()
    looser = spec(rate_limits=(RateLimit(name="minute", requests=500, window=MINUTE / 2),))
    assert entitlement.allow(looser, LIMITED, None) == Effective(rate_limits=LIMITS)


def test_what_is_left_of_what_was_recorded() -> None:
    """The role if it is the same, the scopes that both cover, the owner, the tighter limits of the class."""
    recorded = Effective(
        role="reader",
        scopes=("*:read", "agents:write"),
        owner=ALICE,
        rate_limits=(RateLimit(name="minute", requests=10, window=MINUTE), RateLimit(name="hour", requests=1)),
    )
    allowed = Effective(role="reader", scopes=("agents:*", "tasks"), owner=BOB, rate_limits=LIMITS)
    assert entitlement.narrow(recorded, allowed) == Effective(
        role="reader",
        scopes=("agents:read", "agents:write"),
        owner=ALICE,
        rate_limits=(RateLimit(name="minute", requests=10, window=MINUTE), LIMITS[1]),
    )
    assert entitlement.narrow(recorded, replace(allowed, role="admin")) == entitlement.narrow(
        replace(recorded, role=None), allowed
    )
    assert entitlement.narrow(None, allowed) is None


def test_that_the_owner_is_asked_is_recorded() -> None:
    """It ends with the first change that is accepted; nothing else that is refused takes it away."""
    personal = replace(STANDARD, authorization=Authorization.OWNER)
    asks = entitlement.allow(spec(owner=ALICE), personal, None)
    does_not = entitlement.allow(spec(owner=ALICE), STANDARD, None)
    assert (asks.authorization, does_not.authorization) == (Authorization.OWNER, None)
    assert entitlement.narrow(asks, does_not) == asks
    assert entitlement.narrow(does_not, asks) == asks
