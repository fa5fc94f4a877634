"""A class, a namespace or a spec changes under a key that lives: what is recorded of it, and what is said."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keywright.domain import minting, report
from keywright.domain.apikey import Effective, InvalidSpec, KeySpec, OnLoss, Owner, Phase, RecordState, Status
from keywright.domain.conditions import ConditionType, find
from keywright.domain.delivery import Absent, Ours
from keywright.domain.keyclass import Authorization, Grant, KeyClass, Requirement
from keywright.domain.lifecycle import decide
from keywright.domain.plan import Propose
from keywright.domain.reasons import Reason
from keywright.domain.selectors import Selector
from tests.unit.domain.examples import DAY, NOW, SECOND, STANDARD, key, observed, record, spec

KEY = key(1)
OURS = Ours(uid="uid-of-secret", resource_version="7", holds=KEY.key_id)
BROKEN = InvalidSpec("spec.ttl: not a duration: correct it and apply again")
TEAM_A = replace(STANDARD, allowed_namespaces=Selector(match_labels={"team": "a"}))
ASKED = spec(role="readonly", scopes=("agents:write",), owner=Owner(user="alice@example.com"))
ALL = Effective(role="readonly", scopes=("*:read", "agents:write"), owner=ASKED.owner)


class Life:
    """One ApiKey that is looked at again and again, in its last state."""

    def __init__(self, asked: KeySpec = ASKED, **seen: Any) -> None:
        self.seen = observed(namespace_labels={"team": "a"}, **seen)
        made = record(KEY, RecordState.PENDING, issued_at=NOW)
        self.proposed = minting.propose(asked, self.seen, made)
        self.events: list[Reason] = []
        self.seen = replace(self.seen, status=self.proposed, secret=OURS)
        self.look(asked)

    def status(self) -> Status:
        return self.seen.status

    def look(self, asked: KeySpec | InvalidSpec = ASKED, *, at: datetime = NOW, **seen: Any) -> datetime | None:
        """A pass to its end, with these facts from now on; a second one has nothing to do."""
        self.seen = replace(self.seen, **seen)
        plan = decide(asked, self.seen, at)
        if plan.status is not None:
            self.events += [each.reason for each in report.notes(self.status(), plan.status)]
            self.seen = replace(self.seen, status=plan.status)
        assert decide(asked, self.seen, at + SECOND).status is None
        return plan.wake_at

    def said(self, condition: ConditionType) -> tuple[str, str]:
        found = find(self.status().conditions, condition)
        assert found is not None
        return found.status, found.reason


def test_what_a_key_may_do_is_recorded_with_its_hash() -> None:
    """In the write of step (a): a delivered key is never refused for want of it."""
    assert Life().proposed.effective == ALL


def test_a_rotation_records_it_anew() -> None:
    """The class may have changed since."""
    life = Life()
    made = record(key(2), RecordState.PENDING, issued_at=NOW + DAY)
    wider = replace(STANDARD, roles={"readonly": ("*:read", "logs:write")})
    again = minting.propose(ASKED, replace(life.seen, key_class=wider), made)
    assert again.effective == replace(ALL, scopes=("*:read", "agents:write", "logs:write"))


def test_a_key_from_before_there_was_policy_is_completed() -> None:
    """Its first look records what the class accepts, once."""
    life = Life()
    life.look(status=replace(life.status(), effective=None))
    assert life.status().effective == ALL


REFUSED: dict[str, tuple[KeySpec, KeyClass, Reason, Effective]] = {
    "a spec that asks for more and too long a life": (
        replace(ASKED, scopes=("agents:write", "billing:write"), ttl=400 * DAY),
        replace(STANDARD, max_lifetime=365 * DAY),
        Reason.LIFETIME_EXCEEDED,
        ALL,
    ),
    "a class that allows more and demands what is missing": (
        ASKED,
        replace(STANDARD, roles={"readonly": ("*",)}, requires=frozenset({Requirement.EXPIRES_AT})),
        Reason.INVALID_SPEC,
        ALL,
    ),
    "a role that went": (
        ASKED,
        replace(STANDARD, roles={"admin": ("*",)}),
        Reason.ROLE_NOT_FOUND,
        replace(ALL, role=None, scopes=("agents:write",)),
    ),
    "a scope that went": (
        ASKED,
        replace(STANDARD, scopes={"agents:read": ()}),
        Reason.SCOPE_NOT_ALLOWED,
        replace(ALL, scopes=("*:read",)),
    ),
    "a grant that went": (
        ASKED,
        replace(STANDARD, grants=(Grant(namespaces=Selector(), roles=("*",), owners=("*",)),)),
        Reason.SCOPE_NOT_ALLOWED,
        replace(ALL, scopes=("*:read",)),
    ),
}


@pytest.mark.parametrize(("asked", "key_class", "reason", "left"), REFUSED.values(), ids=REFUSED)
def test_a_refused_change_narrows_and_never_widens(
    asked: KeySpec, key_class: KeyClass, reason: Reason, left: Effective
) -> None:
    """The key lives on with what is left; everything is back once it is accepted again; one event."""
    life = Life()
    life.look(asked, key_class=key_class)
    assert life.status().effective == left
    assert (life.said(ConditionType.ACTIVE)[0], life.said(ConditionType.STALLED)) == ("True", ("True", reason))
    life.look(ASKED, key_class=STANDARD)
    assert life.status().effective == ALL
    assert life.events == [Reason.KEY_ISSUED, reason]


BARRED: dict[str, dict[str, Any]] = {
    "the namespace lost its label": {"key_class": TEAM_A, "namespace_labels": {}},
    "the class selects another": {"key_class": TEAM_A, "namespace_labels": {"team": "b"}},
    "the owner is not granted": {"key_class": replace(STANDARD, grants=())},
}


@pytest.mark.parametrize("change", BARRED.values(), ids=BARRED)
@pytest.mark.parametrize("asked", [ASKED, BROKEN], ids=["spec as it was", "spec broken meanwhile"])
def test_a_key_that_is_not_allowed_is_barred_and_comes_back(
    asked: KeySpec | InvalidSpec, change: dict[str, Any]
) -> None:
    """Dated once, one event each way, and not got round by a spec that cannot be read."""
    life = Life()
    life.look(asked, **change)
    assert life.status().disallowed_at == NOW
    assert life.said(ConditionType.ACTIVE) == ("False", Reason.CLASS_NOT_ALLOWED)
    assert life.status().phase is Phase.FAILED
    life.look(asked, at=NOW + DAY)
    assert life.status().disallowed_at == NOW
    life.look(asked, key_class=STANDARD)
    assert life.status().disallowed_at is None
    assert life.said(ConditionType.ACTIVE)[0] == "True"
    expected = [Reason.KEY_ISSUED, Reason.CLASS_NOT_ALLOWED, Reason.KEY_RESUMED]
    assert life.events == [*expected, *([Reason.INVALID_SPEC] if asked is BROKEN else [])]


def test_a_broken_spec_does_not_unsuspend() -> None:
    """Barred and suspended, then allowed again: it is suspended still."""
    life = Life()
    life.look(replace(ASKED, suspended=True))
    life.look(BROKEN, key_class=TEAM_A, namespace_labels={})
    life.look(BROKEN, key_class=STANDARD)
    assert life.said(ConditionType.ACTIVE)[0] == "False"


@pytest.mark.parametrize("key_class", [None, TEAM_A], ids=["class gone", "namespace not known"])
@pytest.mark.parametrize("asked", [ASKED, BROKEN], ids=["spec as it was", "spec broken meanwhile"])
def test_what_cannot_be_judged_stays_as_it_is(asked: KeySpec | InvalidSpec, key_class: KeyClass | None) -> None:
    """Neither lifted nor imposed."""
    for labels in ({"team": "a"}, {}):
        life = Life()
        life.look(key_class=TEAM_A, namespace_labels=labels)
        before = life.status()
        life.look(asked, key_class=key_class, namespace_labels=None)
        assert (life.status().effective, life.status().disallowed_at) == (before.effective, before.disallowed_at)


def test_a_new_namespace_is_waited_for() -> None:
    """Nothing is minted before its labels are known, and the key says so; a class that asks for none does not wait."""
    seen = observed(key_class=TEAM_A)
    plan = decide(spec(), seen, NOW)
    assert plan.action is None
    assert plan.status is not None
    assert plan.status.phase is Phase.PENDING
    assert "labels of the namespace" in plan.status.conditions[0].message
    assert plan.wake_at is not None
    assert decide(spec(), replace(seen, namespace_labels={"team": "a"}), NOW).action == Propose(TEAM_A)
    assert decide(spec(), replace(seen, key_class=STANDARD), NOW).action == Propose(STANDARD)


def test_a_key_that_is_not_allowed_is_never_issued() -> None:
    """Nor rotated; and nothing is left of the refusal once it is allowed and issued."""
    life = Life()
    refused = decide(spec(), observed(key_class=TEAM_A, namespace_labels={}), NOW)
    assert refused.action is None
    assert refused.status is not None
    assert refused.status.disallowed_at == NOW
    seen = observed(status=refused.status, key_class=STANDARD)
    proposed = minting.propose(spec(), seen, record(KEY, RecordState.PENDING, issued_at=NOW))
    assert proposed.disallowed_at is None
    life.look(replace(ASKED, on_loss=OnLoss.ROTATE), key_class=TEAM_A, namespace_labels={}, secret=Absent())
    assert decide(replace(ASKED, on_loss=OnLoss.ROTATE), life.seen, NOW).action is None


def test_a_key_that_was_never_promoted_is_barred_too() -> None:
    """Somebody may have read it before its Secret went: verifiers accept a Pending record."""
    made = record(KEY, RecordState.PENDING, issued_at=NOW - DAY)
    status = minting.propose(spec(), observed(), made)
    plan = decide(spec(), observed(status=status, key_class=TEAM_A, namespace_labels={}), NOW)
    assert plan.status is not None
    assert plan.status.disallowed_at == NOW
    assert plan.status.record(RecordState.PENDING) is not None


def test_a_class_that_acts_as_the_owner_bars_a_key_without_one() -> None:
    """A class may become one of these under keys that live."""
    life = Life(spec())
    life.look(spec(), key_class=replace(STANDARD, authorization=Authorization.OWNER))
    assert life.said(ConditionType.ACTIVE) == ("False", Reason.CLASS_NOT_ALLOWED)


def test_an_end_takes_the_bar_away() -> None:
    """A key that has ended is not waiting for anything."""
    life = Life()
    life.look(key_class=TEAM_A, namespace_labels={})
    life.look(replace(ASKED, revoked=True), secret=Absent())
    assert life.status().disallowed_at is None
    assert life.events == [Reason.KEY_ISSUED, Reason.CLASS_NOT_ALLOWED, Reason.KEY_REVOKED]


def test_the_maximum_holds_whatever_else_is_wrong() -> None:
    """A key is not kept alive by asking for a role that does not exist."""
    life = Life()
    life.look(replace(ASKED, role="root"), key_class=replace(STANDARD, max_lifetime=DAY))
    assert life.status().keys[0].expires_at == NOW + DAY
    assert life.said(ConditionType.STALLED) == ("True", Reason.ROLE_NOT_FOUND)


def test_a_shorter_default_is_for_keys_to_come() -> None:
    """A key keeps the end that it was issued with, or that it has none; a longer default and the maximum count."""
    life = Life(spec(), key_class=replace(STANDARD, default_lifetime=30 * DAY))
    for default, longest, days in ((12, None, 30), (60, None, 60), (1, 20, 20), (40, 365, 40)):
        maximum = longest * DAY if longest is not None else None
        life.look(spec(), key_class=replace(STANDARD, default_lifetime=default * DAY, max_lifetime=maximum))
        assert life.status().keys[0].expires_at == NOW + days * DAY
    endless = Life(spec())
    endless.look(spec(), key_class=replace(STANDARD, default_lifetime=DAY))
    assert endless.status().keys[0].expires_at is None
    endless.look(spec(), key_class=replace(STANDARD, max_lifetime=DAY))
    assert endless.status().keys[0].expires_at == NOW + DAY


ASKED_90 = replace(ASKED, ttl=90 * DAY)


def _break(life: Life, at: datetime) -> None:
    life.look(BROKEN, at=at)


def _lose_class(life: Life, at: datetime) -> None:
    life.look(ASKED_90, at=at, key_class=None)


def _bar(life: Life, at: datetime) -> None:
    life.look(ASKED_90, at=at, key_class=TEAM_A, namespace_labels={})


def _suspend(life: Life, at: datetime) -> None:
    life.look(replace(ASKED_90, suspended=True), at=at)


@pytest.mark.parametrize("trouble", [_break, _lose_class, _bar, _suspend])
def test_a_coming_end_is_announced_once(trouble: Callable[[Life, datetime], None]) -> None:
    """Whatever comes in between hides it neither from the conditions nor announces it again."""
    life = Life(ASKED_90)
    warn_at = life.look(ASKED_90)
    assert warn_at == NOW + 76 * DAY
    life.look(ASKED_90, at=warn_at)
    assert life.status().phase is Phase.EXPIRING
    trouble(life, warn_at + timedelta(hours=1))
    assert life.said(ConditionType.EXPIRING) == ("True", Reason.EXPIRES_SOON)
    life.look(ASKED_90, at=warn_at + timedelta(hours=2), key_class=STANDARD, namespace_labels={"team": "a"})
    assert life.status().phase is Phase.EXPIRING
    assert life.events.count(Reason.EXPIRES_SOON) == 1


def test_the_class_decides_how_long_before_the_end() -> None:
    """A longer ``warnBefore`` announces at once, a shorter one takes it back until it is time again."""
    life = Life(ASKED_90)
    life.look(ASKED_90, key_class=replace(STANDARD, warn_before=90 * DAY))
    assert life.status().phase is Phase.EXPIRING
    assert life.look(ASKED_90, key_class=replace(STANDARD, warn_before=DAY)) == NOW + 89 * DAY
    assert life.status().phase is Phase.ACTIVE


REQUIRED: dict[Requirement, tuple[KeySpec, str]] = {
    Requirement.DISPLAY_NAME: (spec(states_display_name=True), "spec.displayName: set it"),
    Requirement.OWNER: (ASKED, "spec.owner: make a new ApiKey that states it"),
    Requirement.ROLE: (ASKED, "spec.role: set it"),
    Requirement.EXPIRES_AT: (spec(ttl=DAY), "spec.expiresAt: set it"),
}


@pytest.mark.parametrize(("requirement", "row"), REQUIRED.items(), ids=list(REQUIRED))
def test_what_a_class_requires(requirement: Requirement, row: tuple[KeySpec, str]) -> None:
    """Asked for before anything is minted; of a live key it is only said."""
    asked, message = row
    demanding = replace(STANDARD, requires=frozenset({requirement}))
    refused = decide(spec(), observed(key_class=demanding), NOW)
    assert refused.action is None
    assert refused.status is not None
    assert message in refused.status.conditions[0].message
    assert decide(asked, observed(key_class=demanding), NOW).action == Propose(demanding)
    life = Life(spec())
    life.look(spec(), key_class=demanding)
    assert (life.said(ConditionType.ACTIVE)[0], life.said(ConditionType.READY)[0]) == ("True", "False")


def test_a_reason_for_revoking_is_no_matter_of_issuing() -> None:
    """Admission asks for it where a key is revoked; the operator revokes in any case."""
    demanding = replace(STANDARD, requires=frozenset({Requirement.REVOCATION_REASON}))
    assert decide(spec(), observed(key_class=demanding), NOW).action == Propose(demanding)
    life = Life(key_class=demanding)
    life.look(replace(ASKED, revoked=True), secret=Absent())
    assert life.status().phase is Phase.REVOKED
