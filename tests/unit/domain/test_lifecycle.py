"""``decide`` as a table: what is asked for and what is there, and the one next step. Each row is a sentence."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest

from keywright.domain import minting
from keywright.domain.apikey import InvalidSpec, KeySpec, Phase, RecordState, Status
from keywright.domain.conditions import ConditionType, find
from keywright.domain.delivery import Absent, Awaited, Foreign, Ours, classify
from keywright.domain.keyclass import Requirement
from keywright.domain.lifecycle import decide
from keywright.domain.plan import WRITER_PATIENCE, Action, Deliver, Fence, Observed, Plan, Propose, Withdraw
from keywright.domain.reasons import Reason
from tests.unit.domain.examples import DAY, NOW, OWNER, SECOND, STANDARD, facts, key, observed, record, spec

KEY = key(1)
HOUR = timedelta(hours=1)
PATIENCE = WRITER_PATIENCE
ISSUED_AT = NOW - HOUR
UID = "uid-of-secret"
EMPTY = Ours(uid=UID, resource_version="7")
OURS = replace(EMPTY, holds=KEY.key_id)
BOUNDED = replace(STANDARD, default_lifetime=90 * DAY, max_lifetime=365 * DAY)
BROKEN = InvalidSpec("spec.ttl: not a duration: correct it and apply again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A plan as a reader of the table wants it. ``says`` is what the status write says: phase, the reason of
    Ready, and whether Stalled. ``keys`` is left out where no status is written.
    """

    action: Action | None = None
    says: tuple[Phase, Reason, bool] | None = None
    keys: tuple[tuple[str, datetime | None], ...] | None = None
    wake_at: datetime | None = None


NOTHING = Step()


def outline(plan: Plan) -> Step:
    """The plan, reduced to what the table states."""
    if plan.status is None:
        return Step(action=plan.action, wake_at=plan.wake_at)
    ready = find(plan.status.conditions, ConditionType.READY)
    stalled = find(plan.status.conditions, ConditionType.STALLED)
    assert ready is not None
    assert stalled is not None
    return Step(
        action=plan.action,
        says=(plan.status.phase, Reason(ready.reason), stalled.status == "True"),
        keys=tuple((each.state.value, each.expires_at) for each in plan.status.keys),
        wake_at=plan.wake_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    asked: KeySpec | InvalidSpec
    seen: Observed
    expected: Step


def pending(age: timedelta = SECOND, **fields: Any) -> Status:
    """A status in which a key was proposed ``age`` ago."""
    made = record(KEY, RecordState.PENDING, issued_at=NOW - age, **fields)
    return Status(keys=(made,), class_name="standard")


def live(asked: KeySpec | None = None, *, at: datetime = NOW - HOUR, **seen: Any) -> Status:
    """The status of a key that was issued and delivered for ``asked`` at ``at``, as the operator wrote it."""
    asked = asked or spec()
    made = record(KEY, RecordState.PENDING, issued_at=at)
    before = observed(status=Status(), **seen)
    proposed = minting.propose(asked, before, made)
    delivered = Ours(uid=UID, resource_version="7", holds=KEY.key_id)
    promoted = decide(asked, replace(before, status=proposed, secret=delivered), at).status
    assert promoted is not None
    return promoted


def ended(asked: KeySpec, *, at: datetime = NOW) -> Status:
    """The status of a key that has reached its end, its Secret withdrawn."""
    plan = decide(asked, observed(status=live(asked), secret=OURS), at)
    assert plan.status is not None
    return plan.status


def revoked(status: Status | None = None) -> Status:
    """The status of a revoked key."""
    plan = decide(spec(revoked=True), observed(status=status or live()), NOW - SECOND)
    assert plan.status is not None
    return plan.status


LIVE = live()
LIVE_UNTIL = live(spec(expires_at=NOW + 90 * DAY))
CURRENT = (("Current", None),)


def current_until(end: datetime) -> tuple[tuple[str, datetime | None], ...]:
    return (("Current", end),)


ISSUE = {
    "a new ApiKey: a key is proposed": Row(asked=spec(), seen=observed(), expected=Step(action=Propose(STANDARD))),
    "a new ApiKey and our empty Secret, left by a crash: a key is proposed": Row(
        asked=spec(), seen=observed(secret=EMPTY), expected=Step(action=Propose(STANDARD))
    ),
    "the pass that proposed creates the Secret": Row(
        asked=spec(), seen=observed(status=pending(), held=KEY.key_id), expected=Step(action=Deliver(None))
    ),
    "the pass that proposed fills the Secret that it has read or fenced": Row(
        asked=spec(),
        seen=observed(status=pending(), held=KEY.key_id, secret=EMPTY, has_fenced=True),
        expected=Step(action=Deliver(EMPTY)),
    ),
    "delivered: Pending becomes Current": Row(
        asked=spec(),
        seen=observed(status=pending(), secret=replace(OURS, holds=KEY.key_id), held=KEY.key_id),
        expected=Step(says=(Phase.ACTIVE, Reason.KEY_ISSUED, False), keys=CURRENT),
    ),
    "suspended before it was issued: it is issued and suspended": Row(
        asked=spec(suspended=True),
        seen=observed(status=pending(), secret=replace(OURS, holds=KEY.key_id)),
        expected=Step(says=(Phase.SUSPENDED, Reason.KEY_SUSPENDED, False), keys=CURRENT),
    ),
    "issued and unchanged: nothing": Row(asked=spec(), seen=observed(status=LIVE, secret=OURS), expected=NOTHING),
    "issued with an end: nothing until the warning is due": Row(
        asked=spec(expires_at=NOW + 90 * DAY),
        seen=observed(status=LIVE_UNTIL, secret=OURS),
        expected=Step(wake_at=NOW + 76 * DAY),
    ),
    "a default lifetime of the class is the key's end": Row(
        asked=spec(),
        seen=observed(key_class=BOUNDED, status=pending(), secret=replace(OURS, holds=KEY.key_id)),
        expected=Step(
            says=(Phase.ACTIVE, Reason.KEY_ISSUED, False),
            keys=current_until(NOW - SECOND + 90 * DAY),
            wake_at=NOW - SECOND + 76 * DAY,
        ),
    ),
}

CRASH = {
    "crashed after the proposal, a moment ago: it is left to its writer": Row(
        asked=spec(), seen=observed(status=pending()), expected=Step(wake_at=NOW - SECOND + PATIENCE)
    ),
    "one second before the patience ends: still its writer's": Row(
        asked=spec(),
        seen=observed(status=pending(PATIENCE - SECOND)),
        expected=Step(wake_at=NOW + SECOND),
    ),
    "crashed after the proposal, long ago, no Secret: fence by creating it": Row(
        asked=spec(), seen=observed(status=pending(PATIENCE)), expected=Step(action=Fence(None))
    ),
    "crashed after the proposal, long ago, our empty Secret: fence by touching it": Row(
        asked=spec(), seen=observed(status=pending(PATIENCE), secret=EMPTY), expected=Step(action=Fence(EMPTY))
    ),
    "fenced: the abandoned proposal is replaced": Row(
        asked=spec(),
        seen=observed(status=pending(PATIENCE), secret=EMPTY, has_fenced=True),
        expected=Step(action=Propose(STANDARD)),
    ),
    "crashed after the delivery, a moment ago: the key in the Secret is promoted": Row(
        asked=spec(),
        seen=observed(status=pending(), secret=replace(OURS, holds=KEY.key_id)),
        expected=Step(says=(Phase.ACTIVE, Reason.KEY_ISSUED, False), keys=CURRENT),
    ),
    "crashed after the delivery, long ago: the key in the Secret is promoted all the same": Row(
        asked=spec(),
        seen=observed(status=pending(HOUR), secret=replace(OURS, holds=KEY.key_id)),
        expected=Step(says=(Phase.ACTIVE, Reason.KEY_ISSUED, False), keys=CURRENT),
    ),
    "a held key of a proposal that another has replaced is worth nothing": Row(
        asked=spec(),
        seen=observed(status=pending(PATIENCE), held="0" * 12, secret=EMPTY, has_fenced=True),
        expected=Step(action=Propose(STANDARD)),
    ),
}

SECRETS = {
    "somebody else's Secret: conflict, nothing is minted": Row(
        asked=spec(),
        seen=observed(secret=Foreign(facts())),
        expected=Step(says=(Phase.FAILED, Reason.SECRET_CONFLICT, True), keys=(), wake_at=ANY),
    ),
    "somebody else's Secret appeared under an abandoned proposal: the proposal goes": Row(
        asked=spec(),
        seen=observed(status=pending(PATIENCE), secret=Foreign(facts())),
        expected=Step(says=(Phase.FAILED, Reason.SECRET_CONFLICT, True), keys=(), wake_at=ANY),
    ),
    "somebody else's Secret under a fresh proposal: its writer will find out": Row(
        asked=spec(),
        seen=observed(status=pending(), secret=Foreign(facts())),
        expected=Step(wake_at=NOW - SECOND + PATIENCE),
    ),
    "a predecessor's Secret: it is waited for": Row(
        asked=spec(),
        seen=observed(secret=Awaited()),
        expected=Step(says=(Phase.PENDING, Reason.PENDING, False), keys=(), wake_at=NOW + minting.AWAIT_COLLECTION),
    ),
    "the Secret of a live key was lost: reported, the key stays": Row(
        asked=spec(),
        seen=observed(status=LIVE, secret=Absent()),
        expected=Step(says=(Phase.FAILED, Reason.SECRET_MISSING, True), keys=CURRENT),
    ),
    "the Secret of a live key is being deleted: reported as lost": Row(
        asked=spec(),
        seen=observed(status=LIVE, secret=Awaited()),
        expected=Step(says=(Phase.FAILED, Reason.SECRET_MISSING, True), keys=CURRENT, wake_at=NOW + 300 * SECOND),
    ),
    "the Secret of a live key was replaced by somebody's: conflict, the key stays": Row(
        asked=spec(),
        seen=observed(status=LIVE, secret=Foreign(facts())),
        expected=Step(
            says=(Phase.FAILED, Reason.SECRET_CONFLICT, True), keys=CURRENT, wake_at=NOW + timedelta(seconds=30)
        ),
    ),
}

SUSPEND = {
    "suspended": Row(
        asked=spec(suspended=True),
        seen=observed(status=LIVE, secret=OURS),
        expected=Step(says=(Phase.SUSPENDED, Reason.KEY_SUSPENDED, False), keys=CURRENT),
    ),
    "resumed: the same record is active again": Row(
        asked=spec(),
        seen=observed(status=live(spec(suspended=True)), secret=OURS),
        expected=Step(says=(Phase.ACTIVE, Reason.KEY_ISSUED, False), keys=CURRENT),
    ),
    "suspended and past its end: expired": Row(
        asked=spec(suspended=True, expires_at=NOW),
        seen=observed(status=live(spec(suspended=True, expires_at=NOW)), secret=OURS),
        expected=Step(says=(Phase.EXPIRED, Reason.KEY_EXPIRED, False), keys=current_until(NOW), action=Withdraw(UID)),
    ),
}

REVOKE = {
    "revoked: recorded, then the Secret is withdrawn": Row(
        asked=spec(revoked=True),
        seen=observed(status=LIVE, secret=OURS),
        expected=Step(says=(Phase.REVOKED, Reason.KEY_REVOKED, False), keys=CURRENT, action=Withdraw(UID)),
    ),
    "revoked and recorded, crashed before the Secret went: it goes now": Row(
        asked=spec(revoked=True), seen=observed(status=revoked(), secret=OURS), expected=Step(action=Withdraw(UID))
    ),
    "revoked and withdrawn: nothing, for ever": Row(
        asked=spec(revoked=True), seen=observed(status=revoked()), expected=NOTHING
    ),
    "revoked while it was delivered: what was delivered is withdrawn": Row(
        asked=spec(revoked=True),
        seen=observed(status=pending(), secret=replace(OURS, holds=KEY.key_id)),
        expected=Step(says=(Phase.REVOKED, Reason.KEY_REVOKED, False), keys=(("Pending", None),), action=Withdraw(UID)),
    ),
    "revoked by a pass that holds a key: it is not delivered": Row(
        asked=spec(revoked=True),
        seen=observed(status=pending(), held=KEY.key_id),
        expected=Step(says=(Phase.REVOKED, Reason.KEY_REVOKED, False), keys=(("Pending", None),)),
    ),
    "born revoked: nothing is minted": Row(
        asked=spec(revoked=True),
        seen=observed(),
        expected=Step(says=(Phase.REVOKED, Reason.KEY_REVOKED, False), keys=()),
    ),
    "revoked in status though the spec has been changed back: stays revoked": Row(
        asked=spec(),
        seen=observed(status=revoked()),
        expected=NOTHING,
    ),
    "revoked, with a Secret of somebody else in the place: untouched": Row(
        asked=spec(revoked=True), seen=observed(status=revoked(), secret=Foreign(facts())), expected=NOTHING
    ),
    "revoked and past its end: revoked": Row(
        asked=spec(revoked=True, expires_at=NOW),
        seen=observed(status=live(spec(expires_at=NOW)), secret=OURS),
        expected=Step(says=(Phase.REVOKED, Reason.KEY_REVOKED, False), keys=current_until(NOW), action=Withdraw(UID)),
    ),
    "revoked with a class that is gone: revoked": Row(
        asked=spec(revoked=True),
        seen=observed(status=LIVE, key_class=None, secret=OURS),
        expected=Step(says=(Phase.REVOKED, Reason.KEY_REVOKED, False), keys=CURRENT, action=Withdraw(UID)),
    ),
}

ENDS = {
    "inside of warnBefore: expiring, next look at the end": Row(
        asked=spec(expires_at=NOW + DAY),
        seen=observed(status=live(spec(expires_at=NOW + 90 * DAY)), secret=OURS),
        expected=Step(
            says=(Phase.EXPIRING, Reason.KEY_ISSUED, False), keys=current_until(NOW + DAY), wake_at=NOW + DAY
        ),
    ),
    "one second before the end: still expiring": Row(
        asked=spec(expires_at=NOW + SECOND),
        seen=observed(status=live(spec(expires_at=NOW + SECOND)), secret=OURS),
        expected=Step(wake_at=NOW + SECOND),
    ),
    "the end is reached: recorded, then the Secret is withdrawn": Row(
        asked=spec(expires_at=NOW),
        seen=observed(status=live(spec(expires_at=NOW)), secret=OURS),
        expected=Step(says=(Phase.EXPIRED, Reason.KEY_EXPIRED, False), keys=current_until(NOW), action=Withdraw(UID)),
    ),
    "expired and withdrawn: nothing": Row(
        asked=spec(expires_at=NOW), seen=observed(status=ended(spec(expires_at=NOW))), expected=NOTHING
    ),
    "extended before the end: the new end counts": Row(
        asked=spec(expires_at=NOW + 90 * DAY),
        seen=observed(status=live(spec(expires_at=NOW + DAY)), secret=OURS),
        expected=Step(
            says=(Phase.ACTIVE, Reason.KEY_ISSUED, False),
            keys=current_until(NOW + 90 * DAY),
            wake_at=NOW + 76 * DAY,
        ),
    ),
    "the end removed before it came: the key never ends": Row(
        asked=spec(),
        seen=observed(status=live(spec(expires_at=NOW + DAY)), secret=OURS),
        expected=Step(says=(Phase.ACTIVE, Reason.KEY_ISSUED, False), keys=CURRENT),
    ),
    "shortened: the earlier end counts": Row(
        asked=spec(ttl=20 * DAY),
        seen=observed(status=LIVE_UNTIL, secret=OURS),
        expected=Step(
            says=(Phase.ACTIVE, Reason.KEY_ISSUED, False),
            keys=current_until(ISSUED_AT + 20 * DAY),
            wake_at=ISSUED_AT + 6 * DAY,
        ),
    ),
    "shortened into the past: it ends at once": Row(
        asked=spec(expires_at=NOW - SECOND),
        seen=observed(status=LIVE_UNTIL, secret=OURS),
        expected=Step(
            says=(Phase.EXPIRED, Reason.KEY_EXPIRED, False), keys=current_until(NOW - SECOND), action=Withdraw(UID)
        ),
    ),
    "born past its end: nothing is minted": Row(
        asked=spec(expires_at=NOW - DAY),
        seen=observed(),
        expected=Step(says=(Phase.EXPIRED, Reason.KEY_EXPIRED, False), keys=()),
    ),
    "a warning longer than the life begins at issue": Row(
        asked=spec(ttl=DAY),
        seen=observed(status=pending(), key_class=STANDARD, secret=replace(OURS, holds=KEY.key_id)),
        expected=Step(
            says=(Phase.EXPIRING, Reason.KEY_ISSUED, False),
            keys=current_until(NOW - SECOND + DAY),
            wake_at=NOW - SECOND + DAY,
        ),
    ),
}

CLASSES = {
    "the class is missing: nothing is minted": Row(
        asked=spec(class_name="gold"),
        seen=observed(key_class=None),
        expected=Step(says=(Phase.FAILED, Reason.CLASS_NOT_FOUND, True), keys=()),
    ),
    "the class is missing under an abandoned proposal: it waits for the class": Row(
        asked=spec(class_name="gold"),
        seen=observed(key_class=None, status=pending(HOUR)),
        expected=Step(says=(Phase.FAILED, Reason.CLASS_NOT_FOUND, True), keys=(("Pending", None),)),
    ),
    "the class of a live key was deleted: the key is refused": Row(
        asked=spec(),
        seen=observed(status=LIVE, key_class=None, secret=OURS),
        expected=Step(says=(Phase.FAILED, Reason.CLASS_NOT_FOUND, True), keys=CURRENT),
    ),
    "the class is missing: a later end does not widen": Row(
        asked=spec(expires_at=NOW + 200 * DAY),
        seen=observed(status=LIVE_UNTIL, key_class=None, secret=OURS),
        expected=Step(
            says=(Phase.FAILED, Reason.CLASS_NOT_FOUND, True),
            keys=current_until(NOW + 90 * DAY),
            wake_at=NOW + 90 * DAY,
        ),
    ),
    "a ttl beyond the maximum: nothing is minted": Row(
        asked=spec(ttl=400 * DAY),
        seen=observed(key_class=BOUNDED),
        expected=Step(says=(Phase.FAILED, Reason.LIFETIME_EXCEEDED, True), keys=()),
    ),
    "the maximum was lowered: the key is capped and the spec refused": Row(
        asked=spec(expires_at=NOW + 90 * DAY),
        seen=observed(status=LIVE_UNTIL, secret=OURS, key_class=replace(STANDARD, max_lifetime=30 * DAY)),
        expected=Step(
            says=(Phase.FAILED, Reason.LIFETIME_EXCEEDED, True),
            keys=current_until(ISSUED_AT + 30 * DAY),
            wake_at=ISSUED_AT + 16 * DAY,
        ),
    ),
    "the maximum was lowered below the key's age: it ends": Row(
        asked=spec(expires_at=NOW + 90 * DAY),
        seen=observed(status=LIVE_UNTIL, secret=OURS, key_class=replace(STANDARD, max_lifetime=SECOND)),
        expected=Step(
            says=(Phase.EXPIRED, Reason.KEY_EXPIRED, False),
            keys=current_until(ISSUED_AT + SECOND),
            action=Withdraw(UID),
        ),
    ),
    "the class began to require what the spec does not state: the key stays, a person has to act": Row(
        asked=spec(),
        seen=observed(
            status=LIVE, secret=OURS, key_class=replace(STANDARD, requires=frozenset({Requirement.EXPIRES_AT}))
        ),
        expected=Step(says=(Phase.FAILED, Reason.INVALID_SPEC, True), keys=CURRENT),
    ),
}

UNREAD = {
    "a spec that cannot be read: nothing is minted": Row(
        asked=BROKEN,
        seen=observed(),
        expected=Step(says=(Phase.FAILED, Reason.INVALID_SPEC, True), keys=()),
    ),
    "a live key whose spec cannot be read any more keeps its end": Row(
        asked=BROKEN,
        seen=observed(status=LIVE_UNTIL, secret=OURS),
        expected=Step(
            says=(Phase.FAILED, Reason.INVALID_SPEC, True),
            keys=current_until(NOW + 90 * DAY),
            wake_at=NOW + 90 * DAY,
        ),
    ),
    "the end comes though the spec cannot be read": Row(
        asked=BROKEN,
        seen=observed(status=live(spec(expires_at=NOW)), secret=OURS),
        expected=Step(says=(Phase.EXPIRED, Reason.KEY_EXPIRED, False), keys=current_until(NOW), action=Withdraw(UID)),
    ),
    "a revoked key whose spec cannot be read: nothing": Row(
        asked=BROKEN, seen=observed(status=revoked()), expected=NOTHING
    ),
}

TAMPERED = {
    "an oversized hash: the key is refused": Row(
        asked=spec(),
        seen=observed(
            status=replace(LIVE, keys=(replace(LIVE.keys[0], hash="$argon2id$v=19$m=9999999,t=1,p=1$aaaa$bbbb"),)),
            secret=OURS,
        ),
        expected=Step(says=(Phase.FAILED, Reason.STATUS_TAMPERED, True), keys=CURRENT),
    ),
    "an older ApiKey has the same id: the key is refused": Row(
        asked=spec(),
        seen=observed(status=LIVE, secret=OURS, duplicate_of="other/older"),
        expected=Step(says=(Phase.FAILED, Reason.STATUS_TAMPERED, True), keys=CURRENT),
    ),
}

DELETED = {
    "deleted before it was issued: nothing is minted": Row(
        asked=spec(), seen=observed(is_deleted=True), expected=NOTHING
    ),
    "deleted while live: nothing, the garbage collector does it": Row(
        asked=spec(revoked=True), seen=observed(status=LIVE, secret=OURS, is_deleted=True), expected=NOTHING
    ),
    "deleted with a key in hand: it is not delivered": Row(
        asked=spec(), seen=observed(status=pending(), held=KEY.key_id, is_deleted=True), expected=NOTHING
    ),
}

TABLE = ISSUE | CRASH | SECRETS | SUSPEND | REVOKE | ENDS | CLASSES | UNREAD | TAMPERED | DELETED
WRONG: dict[str, str] = {}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=sentence,
            marks=[pytest.mark.xfail(strict=True, reason=WRONG[sentence])] if sentence in WRONG else [],
        )
        for sentence, row in TABLE.items()
    ],
)
def test_the_next_step(row: Row) -> None:
    """One row of the table, decided at noon."""
    assert outline(decide(row.asked, row.seen, NOW)) == row.expected


# What the table cannot show in one line.


def test_promotion_records_everything_a_reader_looks_for() -> None:
    """Id, mask, Secret and times of the one Current key, all in the same write."""
    asked = spec(expires_at=NOW + 90 * DAY)
    status = live(asked)
    assert status.current_key_id == KEY.key_id
    assert status.masked_key == f"kw_live_{KEY.key_id}_…"
    assert (status.secret_name, status.secret_uid) == ("ci-deploy", UID)
    assert (status.issued_at, status.expires_at) == (NOW - HOUR, NOW + 90 * DAY)
    assert status.class_name == "standard"
    assert status.observed_generation == 1


def test_suspension_is_dated_once_and_the_date_goes_on_resume() -> None:
    """``suspendedAt`` is when it began, however often one looks."""
    asked = spec(suspended=True)
    first = decide(asked, observed(status=LIVE, secret=OURS), NOW).status
    assert first is not None
    assert first.suspended_at == NOW
    later = decide(asked, observed(status=first, secret=OURS, generation=2), NOW + DAY).status
    assert later is not None
    assert later.suspended_at == NOW
    resumed = decide(spec(), observed(status=later, secret=OURS, generation=3), NOW + 2 * DAY).status
    assert resumed is not None
    assert resumed.suspended_at is None
    assert resumed.keys == LIVE.keys


def test_revocation_is_dated_once_and_says_why() -> None:
    """``revokedAt`` never moves, and the reason that people gave is in the condition."""
    asked = spec(revoked=True, revocation_reason="leaked in a ticket")
    first = decide(asked, observed(status=LIVE), NOW).status
    assert first is not None
    later = decide(asked, observed(status=first, generation=2), NOW + DAY).status
    assert later is not None
    assert first.revoked_at == later.revoked_at == NOW
    active = find(later.conditions, ConditionType.ACTIVE)
    assert active is not None
    assert active.message == "revoked at 2026-06-01T12:00:00Z: leaked in a ticket"


def test_a_refused_key_says_so_in_active() -> None:
    """Tampered, duplicate or without class: verifiers refuse, so ``Active`` is false; other problems leave it."""
    for changes, active in (
        ({"key_class": None}, "False"),
        ({"duplicate_of": "other/older"}, "False"),
        ({"secret": Absent()}, "True"),
        ({"key_class": replace(STANDARD, requires=frozenset({Requirement.EXPIRES_AT}))}, "True"),
    ):
        plan = decide(spec(), replace(observed(status=LIVE, secret=OURS), **changes), NOW)
        assert plan.status is not None
        found = find(plan.status.conditions, ConditionType.ACTIVE)
        assert found is not None
        assert found.status == active, changes


def test_a_stalled_spec_does_not_hide_that_the_key_still_works() -> None:
    """What was delivered and accepted before stays so in the conditions."""
    plan = decide(BROKEN, observed(status=LIVE, secret=OURS), NOW)
    assert plan.status is not None
    said = {each.type: each.status for each in plan.status.conditions}
    assert (said["Active"], said["SecretDelivered"], said["Ready"]) == ("True", "True", "False")


def test_a_class_that_refuses_between_decision_and_proposal_caps_the_record() -> None:
    """``propose`` never records an end beyond what the class allows."""
    made = record(KEY, RecordState.PENDING, issued_at=NOW)
    status = minting.propose(spec(ttl=400 * DAY), observed(key_class=BOUNDED), made)
    assert status.keys[0].expires_at == NOW + 365 * DAY


@pytest.mark.parametrize(
    ("before", "asked", "key_class"),
    [
        (spec(expires_at=NOW), spec(expires_at=NOW + DAY), STANDARD),
        (spec(expires_at=NOW), spec(), STANDARD),
        (spec(ttl=HOUR), spec(ttl=2 * DAY), STANDARD),
        (spec(ttl=HOUR), spec(), replace(STANDARD, default_lifetime=2 * DAY)),
    ],
    ids=["expiresAt moved", "expiresAt removed", "ttl prolonged", "ttl removed, the class has a default"],
)
@pytest.mark.parametrize("was_recorded", [True, False], ids=["expiry recorded", "expiry not yet recorded"])
def test_extended_after_the_end_stays_expired(
    before: KeySpec, asked: KeySpec, key_class: Any, was_recorded: bool
) -> None:
    """Expiry of a generation is terminal (invariant 5): extending works only before the end."""
    status = ended(before) if was_recorded else live(before)
    plan = decide(asked, observed(status=status, key_class=key_class, generation=2), NOW)
    after = plan.status or status
    assert after.phase is Phase.EXPIRED
    assert after.keys[0].expires_at == NOW


def test_a_ttl_of_nothing_is_said_once() -> None:
    """A second look a second later writes nothing."""
    asked = spec(ttl=timedelta(0))
    status = decide(asked, observed(), NOW).status
    assert status is not None
    assert decide(asked, observed(status=status), NOW + SECOND).is_noop


def test_a_refused_lifetime_is_said_once() -> None:
    """A second look a second later writes nothing (invariant 7)."""
    asked = spec(ttl=400 * DAY)
    status = decide(asked, observed(key_class=BOUNDED), NOW).status
    assert status is not None
    assert decide(asked, observed(key_class=BOUNDED, status=status), NOW + SECOND).is_noop


def test_an_end_that_comes_within_reach_is_looked_at_again() -> None:
    """Refused today, it is issued by itself on the day from which the class allows it."""
    asked = spec(expires_at=NOW + 400 * DAY)
    plan = decide(asked, observed(key_class=BOUNDED), NOW)
    assert plan.wake_at == NOW + 35 * DAY
    assert decide(asked, observed(key_class=BOUNDED), NOW + 35 * DAY).action == Propose(BOUNDED)


def test_a_conflict_is_looked_at_again() -> None:
    """The remedy is to delete the Secret; one without our label is in no watch, so time must wake us."""
    assert decide(spec(), observed(secret=Foreign(facts())), NOW).wake_at is not None


def test_a_class_that_went_during_delivery_does_not_spoil_the_mask() -> None:
    """The mask is made when the key is, not when it has arrived."""
    asked = spec()
    proposed = minting.propose(asked, observed(), record(KEY, RecordState.PENDING, issued_at=NOW))
    delivered = replace(OURS, holds=KEY.key_id)
    plan = decide(asked, observed(key_class=None, status=proposed, secret=delivered), NOW)
    assert plan.status is not None
    assert plan.status.masked_key == f"kw_live_{KEY.key_id}_…"


def test_a_delivered_key_that_has_ended_is_never_said_to_be_active() -> None:
    """Found in the Secret after its end: straight to Expired, with no event that it was issued."""
    asked = spec(expires_at=NOW)
    status = pending(HOUR, expires_at=NOW)
    plan = decide(asked, observed(status=status, secret=replace(OURS, holds=KEY.key_id)), NOW)
    assert plan.status is not None
    assert plan.status.phase is Phase.EXPIRED
    assert plan.action == Withdraw(UID)


def test_a_proposal_that_ended_stays_recorded_in_case_its_writer_is_only_slow() -> None:
    """Or a slow writer delivers a key that no record holds, into a Secret that nobody withdraws."""
    asked = spec(expires_at=NOW)
    status = pending(HOUR, expires_at=NOW)
    plan = decide(asked, observed(status=status), NOW)
    assert plan.status is not None
    assert plan.status.phase is Phase.EXPIRED
    is_recorded = plan.status.record(RecordState.PENDING) is not None
    late = facts(is_empty=False, holds=KEY.key_id if is_recorded else None)
    view = classify(late, owner=OWNER, status=plan.status)
    assert decide(asked, observed(status=plan.status, secret=view), NOW + SECOND).action == Withdraw(UID)


def test_a_recorded_expiry_stays_though_the_clock_steps_back() -> None:
    """Its Secret has been withdrawn, so it would come back as a key that nobody can have."""
    asked = spec(expires_at=NOW)
    status = ended(asked)
    assert decide(asked, observed(status=status), NOW - 20 * SECOND).is_noop


def test_a_revocation_is_read_also_from_a_spec_that_cannot_be() -> None:
    """A mistyped annotation must not keep the Secret of a revoked key."""
    broken = InvalidSpec("annotation keywright.dev/rotate-grace: mistyped", revoked=True, revocation_reason="leak")
    plan = decide(broken, observed(status=LIVE, secret=OURS), NOW)
    assert plan.status is not None
    assert (plan.status.phase, plan.status.revoked_at) == (Phase.REVOKED, NOW)
    assert isinstance(plan.action, Withdraw)
    assert "leak" in str(plan.status.conditions)


def test_the_default_class_is_pinned_at_the_first_look() -> None:
    """Whoever may make a key of today's default class need not be who may use tomorrow's."""
    plan = decide(spec(), observed(secret=Foreign(facts())), NOW)
    assert plan.status is not None
    assert plan.status.class_name == "standard"


def test_a_key_keeps_the_face_it_was_issued_with() -> None:
    """A class of the same name with another prefix does not change what the key looks like."""
    other = replace(STANDARD, prefix="acme_live")
    plan = decide(spec(), observed(status=LIVE, secret=OURS, key_class=other), NOW)
    assert (plan.status or LIVE).masked_key == f"kw_live_{KEY.key_id}_…"
