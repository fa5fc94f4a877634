"""Replacing a key: what asks for it, how the old one ends, and what can stand in its way."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from argon2.exceptions import VerificationError

from keywright.domain import hashing, report
from keywright.domain.apikey import KeyRecord, KeySpec, OnLoss, RecordState, RotateRequest, Rotation, Status
from keywright.domain.delivery import Absent, Awaited, Foreign, Ours, SecretView
from keywright.domain.lifecycle import decide
from keywright.domain.plan import Observed, Plan, Propose
from keywright.domain.reasons import Reason
from keywright.domain.rotation import MAX_RECORDS, PAUSE
from tests.unit.domain.examples import DAY, NOW, SECOND, STANDARD, apply, facts, key, observed, record, spec

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
GRACE = timedelta(minutes=10)


class Life:
    """One ApiKey over time: decides and applies until there is nothing to do, keys numbered as they are minted."""

    def __init__(self, asked: KeySpec, **fields: Any) -> None:
        self.seen = observed(**fields)
        self.minted = 0
        self.plan = Plan()
        self.at(NOW, asked)

    def at(self, now: datetime, asked: KeySpec) -> Status:
        self.seen = replace(self.seen, held=None, has_fenced=False)
        for _ in range(10):
            self.plan = decide(asked, self.seen, now)
            if self.plan.is_noop:
                return self.status
            self.seen = apply(asked, self.seen, self.plan, now, self.mint)
            # The schema holds no more, also for a moment.
            assert len(self.status.keys) <= MAX_RECORDS
        raise AssertionError("never at rest")

    def mint(self, now: datetime) -> KeyRecord:
        self.minted += 1
        return record(key(self.minted), RecordState.PENDING, issued_at=now)

    @property
    def status(self) -> Status:
        return self.seen.status

    def numbered(self) -> list[tuple[str, str]]:
        numbers = {key(number).key_id: str(number) for number in range(1, self.minted + 1)}
        return [(numbers[each.id], each.state.value) for each in self.status.keys]

    def ends(self) -> dict[str, datetime | None]:
        return {each.id: each.expires_at for each in self.status.keys}


ONE = [("1", "Current")]
TWO = [("1", "Retiring"), ("2", "Current")]
ROTATING = spec(rotation=Rotation(grace_period=GRACE))


def triggered(value: str, **fields: Any) -> KeySpec:
    return spec(rotation=Rotation(grace_period=GRACE, trigger=value), **fields)


def requested(value: str, grace: timedelta | None = None, **fields: Any) -> KeySpec:
    return spec(rotate_request=RotateRequest(value=value, grace_period=grace), **fields)


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (spec(), triggered("1"), TWO),
        (triggered("1"), triggered("2"), TWO),
        (triggered("1"), triggered("1"), ONE),
        (triggered("1"), spec(), ONE),
        (triggered("1"), triggered(""), ONE),
        (spec(), requested("a"), TWO),
        (requested("a"), requested("a"), ONE),
        (requested("a"), requested("b"), TWO),
        (requested("a"), spec(), ONE),
        (spec(), triggered("1", suspended=True), ONE),
    ],
    ids=[
        "a trigger rotates",
        "another trigger rotates",
        "the same trigger does not",
        "no rotation any more does not",
        "no trigger any more does not",
        "an annotation rotates",
        "the first annotation does not",
        "another annotation does",
        "no annotation any more does not",
        "a suspended key waits",
    ],
)
def test_what_asks_for_a_rotation(first: KeySpec, then: KeySpec, expected: list[tuple[str, str]]) -> None:
    """Values that stand at the issue are handled by it; a new value rotates once."""
    life = Life(first)
    life.at(NOW + MINUTE, then)
    assert life.numbered() == expected
    life.at(NOW + 2 * MINUTE, then)
    assert life.numbered() == expected


def test_a_suspended_key_rotates_when_it_is_resumed() -> None:
    """The request is not lost."""
    life = Life(spec())
    life.at(NOW + MINUTE, triggered("1", suspended=True))
    life.at(NOW + HOUR, triggered("1"))
    assert life.numbered() == TWO


def test_the_old_key_ends_a_grace_period_after_the_promotion() -> None:
    """Retiring with a visible end, and gone once that has come, with one event each."""
    life = Life(ROTATING)
    before = life.status
    after = life.at(NOW + MINUTE, triggered("1"))
    assert life.ends()[key(1).key_id] == NOW + MINUTE + GRACE
    assert life.plan.wake_at == NOW + MINUTE + GRACE
    assert [each.reason for each in report.notes(before, after)] == [Reason.KEY_ROTATED]
    assert f"replaced key {key(1).key_id} works until" in str(after.conditions)
    gone = life.at(NOW + MINUTE + GRACE, triggered("1"))
    assert life.numbered() == [("2", "Current")]
    assert [each.reason for each in report.notes(after, gone)] == [Reason.GRACE_PERIOD_ENDED]


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        (spec(rotation=Rotation(interval=HOUR)), NOW + HOUR),
        (spec(rotation=Rotation()), NOW + 90 * DAY),
        (spec(ttl=2 * DAY, rotation=Rotation()), NOW + DAY),
        (spec(ttl=HOUR, rotation=Rotation(grace_period=GRACE)), NOW + HOUR - GRACE),
        (spec(ttl=HOUR), None),
        (spec(expires_at=NOW + 200 * DAY, rotation=Rotation()), NOW + 90 * DAY),
    ],
    ids=[
        "at the interval",
        "at the class's interval",
        "before the ttl ends, by the class's grace",
        "before the ttl ends, by its own grace",
        "never, unless rotation is asked for",
        "an absolute end does not hurry it",
    ],
)
def test_when_time_rotates(asked: KeySpec, due: datetime | None) -> None:
    """``rotateAt`` is in status, is when to look again, and is kept to the second."""
    life = Life(asked)
    assert life.status.rotate_at == due
    if due is None:
        return
    assert life.plan.wake_at == due
    life.at(due - SECOND, asked)
    assert life.numbered() == ONE
    life.at(due, asked)
    assert life.numbered() == TWO


def test_a_default_lifetime_is_renewed_as_a_ttl_is() -> None:
    """Before the class's default lifetime is over, too."""
    key_class = replace(STANDARD, default_lifetime=10 * DAY)
    life = Life(spec(rotation=Rotation()), key_class=key_class)
    assert life.status.rotate_at == NOW + 9 * DAY


def test_an_emergency_ends_the_old_key_before_the_new_one_is_delivered() -> None:
    """``rotate-grace: 0s`` ends every older record in step (a)."""
    life = Life(spec())
    asked = requested("leak", timedelta(0))
    at = NOW + MINUTE
    assert decide(asked, life.seen, at).action == Propose(STANDARD)
    proposed = apply(asked, life.seen, decide(asked, life.seen, at), at, life.mint).status
    assert [(each.state, each.expires_at) for each in proposed.keys] == [
        (RecordState.CURRENT, at),
        (RecordState.PENDING, None),
    ]
    life.at(at, asked)
    assert [state for _, state in life.numbered()] == ["Current"]


def test_the_grace_belongs_to_the_request_it_came_with() -> None:
    """An annotation that is left standing with its grace does not shorten the next rotation."""
    life = Life(spec())
    emergency = requested("leak", timedelta(0), rotation=Rotation(grace_period=GRACE))
    life.at(NOW + MINUTE, emergency)
    usual = replace(emergency, rotation=Rotation(grace_period=GRACE, trigger="1"))
    life.at(NOW + HOUR, usual)
    assert life.ends()[key(2).key_id] == NOW + HOUR + GRACE


def test_a_crash_after_the_proposal_keeps_the_grace() -> None:
    """The grace period is recorded with the Pending record, so whoever takes over uses it."""
    life = Life(spec())
    asked = requested("soon", 3 * MINUTE)
    at = NOW + MINUTE
    life.seen = apply(asked, life.seen, decide(asked, life.seen, at), at, life.mint)
    assert decide(asked, replace(life.seen, held=None), at + SECOND) == Plan(wake_at=at + 15 * SECOND)
    later = at + MINUTE
    life.at(later, asked)
    assert life.numbered() == [("1", "Retiring"), ("3", "Current")]
    assert life.ends()[key(1).key_id] == later + 3 * MINUTE


def test_a_newer_request_wins_over_the_one_under_way() -> None:
    """A rotation that was abandoned half way is finished with the grace of the newest request."""
    life = Life(spec())
    at = NOW + MINUTE
    first = requested("a", HOUR)
    life.seen = apply(first, life.seen, decide(first, life.seen, at), at, life.mint)
    life.at(at + MINUTE, requested("b", 2 * MINUTE))
    assert life.ends()[key(1).key_id] == at + 3 * MINUTE


def test_overlapping_rotations_and_a_shorter_grace() -> None:
    """A shorter grace shortens older keys as well; a longer one lengthens nothing."""
    life = Life(spec())
    life.at(NOW + MINUTE, requested("a", 5 * HOUR))
    life.at(NOW + 2 * MINUTE, requested("b", HOUR))
    assert life.ends()[key(1).key_id] == NOW + 2 * MINUTE + HOUR
    life.at(NOW + 3 * MINUTE, requested("c", 9 * HOUR))
    assert life.ends()[key(1).key_id] == NOW + 2 * MINUTE + HOUR
    assert life.ends()[key(3).key_id] == NOW + 3 * MINUTE + 9 * HOUR


def test_the_ninth_key_waits_for_the_first_to_end() -> None:
    """Stalled with the time; the rotation comes when there is room."""
    life = Life(spec())
    for number in range(7):
        life.at(NOW + (number + 1) * MINUTE, requested(str(number), HOUR))
    asked = requested("one too many", HOUR)
    status = life.at(NOW + 8 * MINUTE, asked)
    assert len(status.keys) == 8
    assert "cannot be rotated before 2026-06-01T13:01:00Z" in str(status.conditions)
    assert life.plan.wake_at == NOW + HOUR + MINUTE
    life.at(NOW + HOUR + MINUTE, asked)
    assert life.minted == 9
    assert len(life.status.keys) == 8


def test_the_ninth_key_waits_for_an_end_that_comes_nearer() -> None:
    """A ttl that was shortened ends old keys whose recorded end is later."""
    life = Life(spec(ttl=DAY))
    for number in range(7):
        life.at(NOW + (number + 1) * MINUTE, requested(str(number), HOUR, ttl=DAY))
    life.at(NOW + 8 * MINUTE, requested("one more", MINUTE, ttl=5 * MINUTE + SECOND))
    assert life.numbered()[-2:] == [("8", "Retiring"), ("9", "Current")]


def test_an_emergency_does_not_wait_for_room() -> None:
    """Without a grace period all the others end, so that there is room."""
    life = Life(spec())
    for number in range(7):
        life.at(NOW + (number + 1) * MINUTE, requested(str(number), HOUR))
    life.at(NOW + 8 * MINUTE, requested("leaked", timedelta(0)))
    assert life.numbered() == [("9", "Current")]


def test_an_emergency_of_a_suspended_key_is_no_lack_of_room() -> None:
    """It waits for the key to be resumed."""
    life = Life(spec())
    for number in range(7):
        life.at(NOW + (number + 1) * MINUTE, requested(str(number), HOUR))
    status = life.at(NOW + 8 * MINUTE, requested("leaked", timedelta(0), suspended=True))
    assert len(status.keys) == 8
    assert "cannot be rotated" not in str(status.conditions)


def test_eight_keys_are_no_problem_while_nobody_asks_for_a_ninth() -> None:
    """Only the refused rotation is Stalled."""
    life = Life(spec())
    for number in range(7):
        life.at(NOW + (number + 1) * MINUTE, requested(str(number), HOUR))
    assert "cannot be rotated" not in str(life.status.conditions)
    gone = replace(life.seen, key_class=None)
    assert "cannot be rotated" not in str(decide(requested("6", HOUR), gone, NOW + HOUR).status)


def test_a_ttl_that_ran_out_meanwhile_is_renewed_if_rotation_is_asked_for() -> None:
    """The operator was away for too long: a ttl ends one key, not the ApiKey."""
    asked = spec(ttl=HOUR, rotation=Rotation(grace_period=GRACE))
    life = Life(asked)
    life.at(NOW + DAY, asked)
    assert life.numbered() == [("2", "Current")]
    assert life.status.expires_at == NOW + DAY + HOUR


def test_an_expired_apikey_stays_expired_whatever_triggers() -> None:
    """``expiresAt`` is the end of the whole, also when it is moved together with a trigger."""
    asked = spec(expires_at=NOW + HOUR)
    life = Life(asked)
    life.at(NOW + HOUR, asked)
    life.at(NOW + DAY, triggered("1", expires_at=NOW + 9 * DAY))
    assert life.minted == 1
    assert life.status.phase == "Expired"


def test_a_rotation_beyond_the_end_of_the_apikey_mints_nothing() -> None:
    """A Pending that was abandoned past the end is not replaced, and the ApiKey is expired."""
    asked = triggered("1", expires_at=NOW + HOUR)
    life = Life(spec(expires_at=NOW + HOUR))
    at = NOW + HOUR - SECOND
    life.seen = apply(asked, life.seen, decide(asked, life.seen, at), at, life.mint)
    status = life.at(NOW + 2 * HOUR, asked)
    assert (status.phase, life.minted) == ("Expired", 2)


@pytest.mark.parametrize(
    ("found", "reason"), [(Absent(), Reason.SECRET_MISSING), (Foreign(facts()), Reason.SECRET_CONFLICT)]
)
def test_a_lost_secret_is_reported_unless_told_otherwise(found: SecretView, reason: Reason) -> None:
    """Nothing is minted behind anybody's back."""
    life = Life(spec())
    life.seen = replace(life.seen, secret=found)
    status = life.at(NOW + MINUTE, spec())
    assert (life.minted, reason in str(status.conditions)) == (1, True)


def test_a_lost_secret_is_made_anew_on_request() -> None:
    """``onLoss: Rotate``, or a trigger: another Secret with another key; the old UID is forgotten in step (a)."""
    for asked in (spec(on_loss=OnLoss.ROTATE), triggered("1")):
        life = Life(spec())
        life.seen = replace(life.seen, secret=Absent())
        plan = decide(asked, life.seen, NOW + MINUTE)
        assert apply(asked, life.seen, plan, NOW + MINUTE, life.mint).status.secret_uid is None
        life.at(NOW + MINUTE, asked)
        assert life.numbered()[-1][1] == "Current"
        assert isinstance(life.seen.secret, Ours)


def test_whoever_keeps_deleting_a_secret_gets_one_key_in_a_while() -> None:
    """Also with no grace period, where the number of records bounds nothing."""
    asked = spec(on_loss=OnLoss.ROTATE, rotation=Rotation(grace_period=timedelta(0)))
    life = Life(asked)
    for second in range(20):
        life.seen = replace(life.seen, secret=Absent())
        at = NOW + second * SECOND
        current = life.at(at, asked).record(RecordState.CURRENT)
        assert current is not None
        assert current.issued_at == NOW + second // 5 * PAUSE
        # It says so meanwhile, and looks again by itself.
        is_replaced = second % 5 == 0 and second > 0
        assert (Reason.SECRET_MISSING in str(life.status.conditions)) is not is_replaced
        assert is_replaced or life.plan.wake_at == current.issued_at + PAUSE
    assert life.minted == 4


def test_somebody_elses_secret_stops_a_rotation() -> None:
    """The current key is kept, the undelivered one dropped, the conflict told."""
    life = Life(spec())
    asked = triggered("1")
    at = NOW + MINUTE
    life.seen = apply(asked, life.seen, decide(asked, life.seen, at), at, life.mint)
    life.seen = replace(life.seen, secret=Foreign(facts()))
    life.at(at + MINUTE, asked)
    assert life.numbered() == ONE
    life.seen = replace(life.seen, secret=Awaited())
    life.at(at + MINUTE, asked)
    assert life.numbered() == ONE


def test_a_class_that_refuses_stops_a_rotation() -> None:
    """The current key goes on; the refusal is reported with it."""
    life = Life(spec(ttl=10 * DAY))
    life.seen = replace(life.seen, key_class=replace(STANDARD, max_lifetime=5 * DAY))
    status = life.at(NOW + MINUTE, triggered("1", ttl=10 * DAY))
    assert life.numbered() == ONE
    assert Reason.LIFETIME_EXCEEDED in str(status.conditions)


def test_an_abandoned_rotation_under_a_class_that_refuses_keeps_its_pending() -> None:
    """Its writer may only be slow: what it delivers yet is recognised by that record."""
    life = Life(spec(ttl=10 * DAY))
    asked = triggered("1", ttl=10 * DAY)
    at = NOW + MINUTE
    life.seen = apply(asked, life.seen, decide(asked, life.seen, at), at, life.mint)
    life.seen = replace(life.seen, key_class=replace(STANDARD, max_lifetime=5 * DAY))
    life.at(at + MINUTE, asked)
    assert life.numbered() == [("1", "Current"), ("2", "Pending")]


def test_a_grace_as_long_as_the_ttl_is_refused() -> None:
    """Field and remedy, and nothing minted."""
    life = Life(spec(ttl=HOUR, rotation=Rotation(grace_period=HOUR)))
    assert life.minted == 0
    assert "spec.rotation.gracePeriod is not shorter than spec.ttl" in str(life.status.conditions)


def test_a_grace_as_long_as_the_classs_lifetime_is_refused() -> None:
    """Otherwise the rotation would be due before the key is issued, eight times over."""
    for key_class in (replace(STANDARD, default_lifetime=HOUR), replace(STANDARD, max_lifetime=HOUR)):
        life = Life(spec(rotation=Rotation()), key_class=key_class)
        assert life.minted == 0
        assert "set a shorter spec.rotation.gracePeriod" in str(life.status.conditions)


def test_an_interval_of_nothing_is_refused() -> None:
    """It would rotate without end."""
    life = Life(spec(rotation=Rotation(interval=timedelta(0))))
    assert life.minted == 0
    assert "spec.rotation.interval is nothing" in str(life.status.conditions)


def test_a_default_lifetime_that_ran_out_meanwhile_is_renewed_too() -> None:
    """As a ttl is."""
    asked = ROTATING
    life = Life(asked, key_class=replace(STANDARD, default_lifetime=HOUR))
    life.at(NOW + DAY, asked)
    assert life.numbered() == [("2", "Current")]


def test_a_recorded_expiry_is_not_undone_by_a_ttl_of_the_same_length() -> None:
    """Neither together with a trigger."""
    asked = spec(expires_at=NOW + HOUR)
    life = Life(asked)
    life.at(NOW + HOUR, asked)
    life.at(NOW + DAY, triggered("1", ttl=HOUR))
    assert (life.minted, life.status.phase) == (1, "Expired")


def test_an_emergency_that_is_not_delivered_does_not_say_that_all_is_well() -> None:
    """The old key has ended and the new one is on its way: Pending, not Active."""
    life = Life(spec())
    asked = requested("leak", timedelta(0))
    proposed = apply(asked, life.seen, decide(asked, life.seen, NOW + MINUTE), NOW + MINUTE, life.mint).status
    assert proposed.phase == "Pending"


def test_a_rotating_key_is_not_said_to_expire_soon() -> None:
    """It will have been replaced by then; one that is not replaced before its end is."""
    assert Life(spec(ttl=3 * DAY, rotation=Rotation())).status.phase == "Active"
    assert Life(spec(ttl=3 * DAY)).status.phase == "Expiring"
    assert Life(spec(expires_at=NOW + 3 * DAY, rotation=Rotation())).status.phase == "Expiring"


def test_the_maximum_for_an_absolute_end_counts_from_the_first_issue() -> None:
    """A rotation does not buy an ApiKey more time than its class allows."""
    key_class = replace(STANDARD, max_lifetime=100 * DAY)
    asked = spec(expires_at=NOW + 100 * DAY, rotation=Rotation())
    life = Life(asked, key_class=key_class)
    life.at(NOW + 90 * DAY, asked)
    assert life.minted == 2
    status = life.at(NOW + 91 * DAY, replace(asked, expires_at=NOW + 101 * DAY))
    assert Reason.LIFETIME_EXCEEDED in str(status.conditions)
    assert status.expires_at == NOW + 100 * DAY


def test_an_earlier_end_shortens_retiring_keys_and_a_later_one_does_not_prolong_them() -> None:
    """What restricts acts on every record; what widens never on one that is going."""
    life = Life(spec(expires_at=NOW + 9 * DAY))
    life.at(NOW + MINUTE, requested("1", DAY, expires_at=NOW + 9 * DAY))
    life.at(NOW + 2 * MINUTE, requested("1", DAY, expires_at=NOW + 20 * DAY))
    assert life.ends() == {key(1).key_id: NOW + MINUTE + DAY, key(2).key_id: NOW + 20 * DAY}
    life.at(NOW + 3 * MINUTE, requested("1", DAY, expires_at=NOW + HOUR))
    assert life.ends() == {key(1).key_id: NOW + HOUR, key(2).key_id: NOW + HOUR}


def test_a_revoked_key_keeps_all_its_records() -> None:
    """So that a verifier can say to the bearer of any of them that it was revoked."""
    life = Life(spec())
    life.at(NOW + MINUTE, triggered("1"))
    life.at(NOW + DAY, triggered("2", revoked=True))
    assert life.numbered() == TWO
    assert life.status.phase == "Revoked"


def test_clock_steps_mint_nothing_twice() -> None:
    """Back before the rotation, and forward again: what was handled is recorded."""
    life = Life(ROTATING)
    for at in (NOW + HOUR, NOW - DAY, NOW + HOUR + MINUTE):
        life.at(at, triggered("1"))
    assert life.minted == 2


def test_argon2_without_memory_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right key must not be called wrong because the machine is out of memory."""
    stored = record(key(1)).hash
    monkeypatch.setattr(hashing, "_HASHER", _OutOfMemory())
    with pytest.raises(MemoryError):
        hashing.verify(stored, key(1).text)


class _OutOfMemory:
    def verify(self, *_: str) -> bool:
        raise VerificationError("Memory allocation error")


def test_the_observed_world_is_only_read() -> None:
    """``decide`` is pure: the same question has the same answer."""
    life = Life(triggered("1"))
    asked, seen = triggered("2"), life.seen
    assert isinstance(seen, Observed)
    assert decide(asked, seen, NOW + HOUR) == decide(asked, seen, NOW + HOUR)
