"""What becomes of the Secret of a live key, and of one that has ended."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keywright.domain.apikey import Delivery, KeySpec, OnLoss, Status, WhenInactive
from keywright.domain.delivery import Absent, Awaited, Ours, SecretView
from keywright.domain.lifecycle import decide
from keywright.domain.plan import Plan, Propose, Render, Withdraw
from tests.unit.domain.examples import NOW, SECOND, key, observed, spec
from tests.unit.domain.test_lifecycle import EMPTY, KEY, LIVE, OURS, UID, live

ONCE = spec(delivery=Delivery.ONCE, remove_after=timedelta(hours=2))
KEEP = spec(when_inactive=WhenInactive.KEEP)
STALE = replace(OURS, is_rendered=False)
ROTATE = OnLoss.ROTATE


def step(asked: KeySpec, secret: SecretView, status: Status | None = None, **fields: Any) -> Plan:
    return decide(asked, observed(status=status or live(asked), secret=secret, **fields), NOW)


def delivered(plan: Plan) -> tuple[str, str, str]:
    """Status and reason of SecretDelivered, and the status of Ready."""
    assert plan.status is not None
    named = {each.type: each for each in plan.status.conditions}
    return named["SecretDelivered"].status, named["SecretDelivered"].reason, named["Ready"].status


ACTIONS: dict[str, tuple[KeySpec, SecretView, object]] = {
    "as it should be": (spec(), OURS, None),
    "not as asked for: written anew": (spec(), STALE, Render(STALE)),
    "delivered once and not yet fetched": (ONCE, OURS, None),
    "acknowledged": (ONCE, replace(OURS, acknowledged=KEY.key_id), Withdraw(UID, OURS.resource_version)),
    "acknowledged by the id of another key": (ONCE, replace(OURS, acknowledged=key(9).key_id), None),
    "delivered once and emptied": (ONCE, EMPTY, Withdraw(UID, OURS.resource_version)),
    "there for too long": (replace(ONCE, remove_after=timedelta(hours=1)), OURS, Withdraw(UID, OURS.resource_version)),
    "acknowledged, to be kept": (spec(), replace(OURS, acknowledged=KEY.key_id), None),
    "delivered once and gone, on loss rotate": (replace(ONCE, on_loss=ROTATE), Absent(), None),
}


@pytest.mark.parametrize(("asked", "secret", "expected"), ACTIONS.values(), ids=ACTIONS)
def test_the_secret_of_a_live_key(asked: KeySpec, secret: SecretView, expected: object) -> None:
    """The one thing that is done about it."""
    assert step(asked, secret).action == expected


def test_a_secret_of_a_once_key_is_due_to_go() -> None:
    """The schedule knows when."""
    assert step(ONCE, OURS).wake_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("secret", [Absent(), Awaited()], ids=["gone", "going"])
def test_a_once_key_without_secret_is_withdrawn_and_ready(secret: SecretView) -> None:
    """Not lost, whoever removed it."""
    assert delivered(step(ONCE, secret)) == ("False", "SecretWithdrawn", "True")


def test_a_once_key_that_becomes_persistent_has_lost_its_secret() -> None:
    """It says how to have another key delivered."""
    withdrawn = step(ONCE, Absent()).status
    plan = decide(spec(), observed(status=withdrawn, secret=Absent(), generation=2), NOW)
    assert delivered(plan) == ("False", "SecretMissing", "False")
    assert plan.status is not None
    assert "spec.rotation.trigger" in str(plan.status.conditions)


def test_an_emptied_secret_is_reported_or_rotated() -> None:
    """As one that was deleted, in words of its own."""
    plan = step(spec(), EMPTY)
    assert delivered(plan) == ("False", "SecretMissing", "False")
    assert "entry api-key of the Secret ci-deploy" in str(plan.status)
    assert isinstance(step(spec(on_loss=ROTATE), EMPTY).action, Propose)


def test_a_refused_change_is_reported_and_the_key_is_judged_on() -> None:
    """It is not tried twice in one pass."""
    plan = step(spec(suspended=True), STALE, is_refused=True)
    assert plan.action is None
    assert delivered(plan) == ("False", "SecretRefused", "False")
    assert plan.status is not None
    assert plan.status.suspended_at == NOW - timedelta(hours=1)


def test_the_copy_of_a_status_does_not_touch_the_elders_secret() -> None:
    """Neither while it lives nor when it ends."""
    for asked in (spec(), ONCE, spec(revoked=True)):
        assert step(asked, replace(STALE, acknowledged=KEY.key_id), LIVE, duplicate_of="other/elder").action is None


def test_a_kept_secret_stays_and_says_so() -> None:
    """Revoked or expired, with ``whenInactive: Keep``."""
    plan = step(replace(KEEP, revoked=True), OURS, LIVE)
    assert plan.action is None
    assert delivered(plan) == ("True", "KeyRevoked", "True")
    # The version is remembered once it has been seen to say that its key has ended.
    assert plan.status is not None
    assert plan.status.secret_resource_version is None
    plan = step(replace(KEEP, revoked=True), OURS, plan.status)
    assert plan.status is not None
    assert plan.status.secret_resource_version == OURS.resource_version
    assert step(replace(KEEP, revoked=True), OURS, plan.status).is_noop
    plan = step(replace(KEEP, expires_at=NOW - SECOND), OURS, live(replace(KEEP, expires_at=NOW - SECOND)))
    assert delivered(plan) == ("True", "KeyExpired", "True")


def test_a_kept_secret_follows_its_spec() -> None:
    """It is written anew as that of a live key is, and goes when it is not to be kept any more."""
    kept = step(replace(KEEP, revoked=True), OURS, LIVE).status
    assert step(replace(KEEP, revoked=True), STALE, kept).action == Render(STALE)
    assert step(replace(KEEP, revoked=True), EMPTY, kept).action is None
    assert step(spec(revoked=True), OURS, kept).action == Withdraw(UID)


def test_an_empty_secret_of_a_key_that_never_was_is_not_kept() -> None:
    """There is nothing in it to keep."""
    assert step(replace(KEEP, revoked=True), EMPTY, Status()).action == Withdraw(UID)


def test_a_new_version_alone_is_no_reason_for_a_write() -> None:
    """Others may touch the Secret as often as they like; what is recorded is renewed along with something else."""
    touched = replace(OURS, resource_version="99")
    assert step(spec(), touched).is_noop
    plan = step(spec(suspended=True), touched, LIVE)
    assert plan.status is not None
    assert plan.status.secret_resource_version == "99"


def test_a_version_that_was_never_recorded_is() -> None:
    """Once, so that restarts need not read the Secret."""
    plan = step(spec(), OURS, replace(LIVE, secret_resource_version=None))
    assert plan.status == LIVE
    assert step(spec(), replace(OURS, acknowledged=KEY.key_id), replace(LIVE, secret_resource_version=None)).is_noop


def test_a_secret_that_does_not_go_is_waited_for_ever_more_patiently() -> None:
    """First every few seconds, then longer, then a person is told."""
    seen, now, looks = observed(secret=Awaited()), NOW, 0
    while True:
        plan = decide(spec(), seen, now)
        seen = replace(seen, status=plan.status or seen.status)
        assert plan.wake_at is not None
        if "does not go away" in str(seen.status):
            break
        now, looks = plan.wake_at, looks + 1
    assert now == NOW + timedelta(minutes=3)
    assert looks < 10
    assert plan.wake_at == now + timedelta(minutes=5)
    assert any(each.type == "Stalled" and each.reason == "SecretConflict" for each in seen.status.conditions)


def test_our_own_view_of_right() -> None:
    """The current key, rendered, and nobody waiting for it to go."""
    right = Ours(uid=UID, resource_version="7", holds="a")
    assert right.is_right("a")
    assert not right.is_right("b")
    assert not right.is_right(None)
    assert not replace(right, is_rendered=False).is_right("a")
    assert not replace(right, acknowledged="a").is_right("a")
