"""A key never hands out more than it has: whatever class, role and scopes, as verifiers would judge both keys."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.console.callers.caller import MANAGE, Bounds
from keywright.console.service.bounds import Excess, Share, asked_by, exceed, fit_end, held, last_end
from keywright.domain.apikey import Owner, RateLimit, Rotation, Status
from keywright.domain.entitlement import allow
from keywright.domain.keyclass import Delegation, KeyClass
from keywright.verifier.keys.acceptance import AcceptedClass
from keywright.verifier.keys.rights import Permits, Rights
from tests.unit.domain.examples import spec

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ALICE = Owner(user="alice", groups=("payments",))

NAMES = ["a", "b", "a:read", "a:write", "keys:read", MANAGE]
PATTERNS = ["*", "*:*", "*:read", "a:*", "keys:*", *NAMES]
PROBES = [*NAMES, "c", "c:read", "a:c", "keys:c"]

some_patterns = st.lists(st.sampled_from(PATTERNS), max_size=3).map(tuple)
classes = st.builds(
    KeyClass,
    name=st.just("gold"),
    roles=st.dictionaries(st.sampled_from(["r", "s"]), some_patterns, max_size=2),
    scopes=st.dictionaries(st.sampled_from(NAMES), some_patterns, max_size=5),
    delegation=st.sampled_from(Delegation),
)
asked = st.tuples(st.sampled_from([None, "r", "s"]), some_patterns)
ROLE_SCOPES = tuple[str | None, tuple[str, ...]]


def permits(wish: ROLE_SCOPES, key_class: KeyClass, *, issued_under: KeyClass | None = None) -> Permits:
    """What a verifier grants a key that was issued for this role and these scopes."""
    role, scopes = wish
    accepted = allow(spec(role=role, scopes=scopes), issued_under or key_class, {})
    rights = Rights(accepted.role, accepted.scopes, role, scopes)
    known = AcceptedClass(
        name="gold", prefix="kw_live", warn_before=0.0, roles=key_class.roles, scopes=dict(key_class.scopes)
    )
    return rights.under(known)


def share(wish: ROLE_SCOPES, key_class: KeyClass, *, ends_at: datetime | None = None) -> Share:
    """What the caller's key has, as the key service learns it."""
    role, scopes = wish
    bounds = Bounds(
        namespace="payments",
        name="ci",
        key_id="4hJk29sLmQ0z",
        class_name="gold",
        scopes=permits(wish, key_class).scopes,
        expires_at=ends_at,
        may_manage=True,
    )
    asked_for = spec(role=role, scopes=scopes)
    return held(bounds, ALICE, asked_for, Status(effective=allow(asked_for, key_class, {})), key_class)


@given(classes, asked, asked)
def test_what_is_handed_out_is_never_more_than_what_there_is(
    key_class: KeyClass, own: ROLE_SCOPES, wish: ROLE_SCOPES
) -> None:
    """Each scope that a verifier would grant the new key it grants the old one too."""
    wanted = asked_by(wish[0], wish[1], key_class, owner=ALICE, ends_at=None)
    if exceed(wanted, share(own, key_class), Delegation.ALLOWED) is None:
        mine, new = permits(own, key_class), permits(wish, key_class)
        assert [each for each in PROBES if new.grants(each) and not mine.grants(each)] == []


@given(classes.filter(lambda each: bool(each.scopes)), asked, asked, st.sampled_from(NAMES))
def test_nor_does_it_become_more_when_the_catalogue_grows(
    key_class: KeyClass, own: ROLE_SCOPES, wish: ROLE_SCOPES, added: str
) -> None:
    """A wildcard stands for what will be in the catalogue one day: it is handed out by whoever has it as such."""
    wanted = asked_by(wish[0], wish[1], key_class, owner=ALICE, ends_at=None)
    if exceed(wanted, share(own, key_class), Delegation.ALLOWED) is None:
        grown = replace(key_class, scopes={added: ()} | dict(key_class.scopes))
        mine = permits(own, grown, issued_under=key_class)
        new = permits(wish, grown, issued_under=key_class)
        assert not new.grants(added) or mine.grants(added)


@given(classes, asked, asked)
def test_nothing_that_manages_keys_is_handed_out_unless_the_class_allows_it(
    key_class: KeyClass, own: ROLE_SCOPES, wish: ROLE_SCOPES
) -> None:
    """Neither by name nor by a wildcard, a role or what a scope includes."""
    wanted = asked_by(wish[0], wish[1], key_class, owner=ALICE, ends_at=None)
    if exceed(wanted, share(own, key_class), Delegation.REFUSED) is None:
        assert not permits(wish, key_class).grants(MANAGE)


@given(classes, asked)
def test_a_key_can_hand_out_what_it_has_where_delegation_is_allowed(key_class: KeyClass, own: ROLE_SCOPES) -> None:
    """The fences leave room for exactly what is there, if the class knows all of what it was made for."""
    role, scopes = own
    wanted = asked_by(role, scopes, key_class, owner=ALICE, ends_at=None)
    accepted = allow(spec(role=role, scopes=scopes), key_class, {})
    if set(wanted.scopes) == set(accepted.scopes):
        assert exceed(wanted, share(own, key_class), Delegation.ALLOWED) is None


MINUTE = timedelta(minutes=1)
LIMIT = RateLimit(name="minute", requests=10, window=MINUTE)
BASE = Share(class_name="gold", owner=ALICE, scopes=("a:*", MANAGE), ends_at=NOW + DAY, limits=(LIMIT,))


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"class_name": "silver"}, "class"),
        ({"owner": Owner(user="bob")}, "owner"),
        ({"owner": None}, "owner"),
        ({"owner": replace(ALICE, groups=("payments", "admins"))}, "owner"),
        ({"scopes": ("b",)}, "scope"),
        ({"scopes": ("*",)}, "scope"),
        ({"scopes": (MANAGE,)}, "may manage keys"),
        ({"ends_at": None}, "longer"),
        ({"limits": ()}, "more often"),
        ({"limits": (replace(LIMIT, requests=11),)}, "more often"),
        ({"limits": (replace(LIMIT, window=MINUTE / 2),)}, "more often"),
        ({"limits": (replace(LIMIT, window=None),)}, "more often"),
        ({"limits": (replace(LIMIT, name="day"),)}, "more often"),
        ({"ends_at": NOW + DAY + timedelta(seconds=1)}, "longer"),
    ],
)
def test_each_fence_says_what_to_ask_for_instead(change: dict[str, object], saying: str) -> None:
    """One thing too much is refused by its name."""
    wanted = replace(BASE, scopes=("a:read",))
    assert exceed(wanted, BASE, Delegation.REFUSED) is None
    excess = exceed(replace(wanted, **change), BASE, Delegation.REFUSED)  # type: ignore[arg-type]
    assert isinstance(excess, Excess)
    assert saying in excess.message


def test_less_is_no_more() -> None:
    """A key may hand out one that acts for its owner with fewer of the groups, and asks less often."""
    limits = (replace(LIMIT, requests=9, window=2 * MINUTE), replace(LIMIT, name="day"))
    wanted = replace(BASE, scopes=("a:read",), owner=Owner(user="alice"), limits=limits)
    assert exceed(wanted, BASE, Delegation.REFUSED) is None


@pytest.mark.parametrize(
    ("expires_at", "ttl", "end"),
    [
        (None, None, NOW + 9 * DAY),
        (None, 9 * DAY, NOW + 9 * DAY),
        (NOW + 2 * DAY, None, NOW + 2 * DAY),
        (NOW + 99 * DAY, None, NOW + 99 * DAY),
    ],
)
def test_an_end_is_the_caller_s_own_unless_one_is_asked_for(
    expires_at: datetime | None, ttl: timedelta | None, end: datetime
) -> None:
    """A ttl becomes an instant, or each rotation would move it past the end of the caller."""
    plain, short = KeyClass(name="gold"), KeyClass(name="gold", default_lifetime=3 * DAY)
    assert fit_end(expires_at, ttl, plain, NOW + 9 * DAY, NOW) == end
    is_asked_for = expires_at is not None or ttl is not None
    assert fit_end(expires_at, ttl, short, NOW + 9 * DAY, NOW) == (end if is_asked_for else NOW + 3 * DAY)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"expires_at": NOW + DAY}, NOW + DAY),
        ({"ttl": DAY}, NOW + DAY),
        ({"ttl": DAY, "rotation": Rotation()}, None),
        ({}, NOW + 30 * DAY),
        ({"expires_at": NOW + DAY, "rotation": Rotation()}, NOW + DAY),
    ],
)
def test_the_last_end_of_a_key_that_is_rotated_now(fields: dict[str, object], end: datetime | None) -> None:
    """One that renews itself ends never, as far as can be told."""
    key_class = KeyClass(name="gold", max_lifetime=30 * DAY)
    assert last_end(spec(**fields), key_class, NOW) == end
