"""Last used: when a reported use is worth a write, and what is said of replaced keys that are still used."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain import lifecycle, report, usage
from keywright.domain.apikey import InvalidSpec, RecordState, Status
from keywright.domain.conditions import ConditionType, find
from keywright.domain.delivery import Ours
from keywright.domain.plan import Observed
from keywright.domain.reasons import Reason
from keywright.domain.usage import EVERY, News, on_record, weigh
from tests.unit.domain.examples import DAY, NOW, SECOND, key, observed, record, spec

HOUR = timedelta(hours=1)
KEY, OLD = record(key(1)), record(key(2), RecordState.RETIRING, issued_at=NOW - DAY, expires_at=NOW + DAY)
SECRET = Ours(uid="uid-made", resource_version="1", holds=KEY.id)
NEVER_USED = Status(keys=(KEY,), current_key_id=KEY.id)
ROTATED = Status(keys=(OLD, KEY), current_key_id=KEY.id)


def used(status: Status, at: datetime, key_id: str = KEY.id) -> Status:
    keys = tuple(replace(each, last_used_at=at) if each.id == key_id else each for each in status.keys)
    return replace(status, keys=keys, last_used_at=at)


WEIGHTS = {
    "nothing is reported": (NEVER_USED, {}, News.NONE),
    "the first use": (NEVER_USED, {KEY.id: NOW}, News.DUE),
    "a key that is not this one's": (NEVER_USED, {"0" * 12: NOW}, News.NONE),
    "what is on record already": (used(NEVER_USED, NOW - HOUR), {KEY.id: NOW - HOUR}, News.NONE),
    "an earlier use": (used(NEVER_USED, NOW - HOUR), {KEY.id: NOW - 2 * HOUR}, News.NONE),
    "a record that is an hour old": (used(NEVER_USED, NOW - HOUR), {KEY.id: NOW}, News.DUE),
    "a second less": (used(NEVER_USED, NOW - HOUR + SECOND), {KEY.id: NOW}, News.LATER),
    "the last use of a key that rests since": (used(NEVER_USED, NOW - HOUR), {KEY.id: NOW - HOUR + SECOND}, News.DUE),
    "a record from a clock that was ahead": (used(NEVER_USED, NOW + HOUR), {KEY.id: NOW}, News.NONE),
    "a replaced key that is still used": (used(ROTATED, NOW - SECOND), {OLD.id: NOW}, News.URGENT),
    "a replaced key, told of before": (used(ROTATED, NOW - SECOND, OLD.id), {OLD.id: NOW}, News.LATER),
    "a replaced key, used before that": (used(ROTATED, NOW - SECOND), {OLD.id: NOW - 2 * HOUR}, News.LATER),
    "a replaced key, used as it was replaced": (used(ROTATED, NOW - SECOND), {OLD.id: KEY.issued_at}, News.LATER),
}


@pytest.mark.parametrize(("status", "uses", "expected"), WEIGHTS.values(), ids=WEIGHTS)
def test_how_much_of_a_hurry_a_report_is_in(status: Status, uses: dict[str, datetime], expected: News) -> None:
    """And what is in none changes nothing."""
    assert weigh(on_record(status), uses, NOW) is expected
    is_written = usage.fold(status, uses, NOW) != status
    assert is_written == (expected in (News.DUE, News.URGENT))


def test_a_fold_takes_all_that_is_known() -> None:
    """Every record its own time, the ApiKey the latest of them."""
    folded = usage.fold(ROTATED, {KEY.id: NOW - SECOND, OLD.id: NOW - HOUR, "0" * 12: NOW}, NOW)
    assert [each.last_used_at for each in folded.keys] == [NOW - HOUR, NOW - SECOND]
    assert folded.last_used_at == NOW - SECOND


def test_nothing_is_used_in_the_future() -> None:
    """A clock that is ahead, or a forged report, says "now" at most, in whole seconds."""
    later = NOW + 0.5 * SECOND
    assert usage.fold(NEVER_USED, {KEY.id: NOW + DAY}, later).last_used_at == NOW


INSTANTS = st.integers(-10_000, 10_000).map(lambda seconds: NOW + seconds * SECOND)
REPORTS = st.dictionaries(st.sampled_from([KEY.id, OLD.id, "0" * 12]), INSTANTS)


@given(st.lists(st.tuples(REPORTS, INSTANTS), max_size=8))
def test_last_used_only_moves_forward_and_by_the_hour(steps: list[tuple[dict[str, datetime], datetime]]) -> None:
    """Whatever is reported and however the clock steps: never back, and a second write within an hour of what is on
    record only to tell of a replaced key, which happens once, or because the clock was set back in between.
    """
    status, urgent, latest, set_back = ROTATED, 0, steps[0][1] if steps else NOW, 0
    for uses, now in steps:
        set_back += now < latest
        latest = now
        folded = usage.fold(status, uses, now)
        assert usage.fold(folded, uses, now) == folded
        for before, after in zip(status.keys, folded.keys, strict=True):
            assert before.last_used_at is None or (after.last_used_at or NOW) >= before.last_used_at
        if folded != status and status.last_used_at is not None and now - status.last_used_at < EVERY:
            urgent += 1
        status = folded
    assert urgent <= 1 + set_back


def settled(status: Status, **fields: object) -> Status:
    """As the operator has left it."""
    plan = lifecycle.decide(spec(), seen(status), NOW)
    return replace(plan.status or status, **fields)  # type: ignore[arg-type]


def seen(status: Status, **uses: datetime) -> Observed:
    status = replace(status, secret_uid=SECRET.uid, secret_name="ci-deploy", class_name="standard")
    return observed(status=status, secret=SECRET, uses=uses)


@pytest.mark.parametrize(
    "asked",
    [spec(), spec(suspended=True), spec(revoked=True), spec(expires_at=NOW - SECOND), InvalidSpec("spec.ttl: wrong")],
    ids=["live", "suspended", "revoked", "expired", "unreadable"],
)
def test_every_decision_folds_what_is_due(asked: object) -> None:
    """Whatever became of the key, people want to know when it was last used; once."""
    plan = lifecycle.decide(asked, seen(NEVER_USED, **{KEY.id: NOW - SECOND}), NOW)  # type: ignore[arg-type]
    assert plan.status is not None
    assert plan.status.last_used_at == NOW - SECOND
    again = lifecycle.decide(asked, seen(plan.status, **{KEY.id: NOW}), NOW)  # type: ignore[arg-type]
    assert again.status is None


def test_a_replaced_key_in_use_is_told_once_and_named_in_ready() -> None:
    """One event, normal because that is what a grace period is for; the message holds the time on record."""
    before = settled(ROTATED)
    plan = lifecycle.decide(spec(), seen(before, **{OLD.id: NOW}), NOW)
    assert plan.status is not None
    (note,) = report.notes(before, plan.status)
    assert note.reason is Reason.OLD_KEY_STILL_USED
    assert not note.is_warning
    ready = find(plan.status.conditions, ConditionType.READY)
    assert ready is not None
    said = f"replaced key {OLD.id}, still used at 2026-06-01T12:00:00Z, works until 2026-06-02T12:00:00Z"
    assert said in ready.message
    assert said in note.message
    later = lifecycle.decide(spec(), seen(plan.status, **{OLD.id: NOW + 2 * HOUR}), NOW + 2 * HOUR)
    assert later.status is not None
    assert list(report.notes(plan.status, later.status)) == []
    assert "still used at 2026-06-01T14:00:00Z" in str(later.status.conditions)


def test_only_the_replaced_keys_that_are_news_are_told() -> None:
    """Of two, the one that was silent until now."""
    third = record(key(3), RecordState.RETIRING, issued_at=NOW - DAY, expires_at=NOW + DAY)
    before = used(replace(ROTATED, keys=(OLD, third, KEY)), NOW - SECOND, OLD.id)
    (note,) = report.notes(before, usage.fold(before, {third.id: NOW}, NOW))
    assert third.id in note.message
    assert OLD.id not in note.message


def test_a_replaced_key_that_rests_is_not_complained_of() -> None:
    """Used before it was replaced, and not since."""
    assert usage.still_used(used(ROTATED, KEY.issued_at, OLD.id)) == frozenset()
    assert "still used" not in str(settled(used(ROTATED, KEY.issued_at, OLD.id)).conditions)
    assert usage.still_used(Status(keys=(OLD,))) == frozenset()
