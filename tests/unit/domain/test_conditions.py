"""Conditions: the transition time moves when the status flips, and at no other time."""

from dataclasses import replace

import pytest

from keywright.domain.conditions import Condition, ConditionStatus, ConditionType, Finding, find, settle
from keywright.domain.reasons import Reason
from tests.unit.domain.examples import DAY, NOW

READY = Finding(
    type=ConditionType.READY, status=ConditionStatus.TRUE, reason=Reason.KEY_ISSUED, message="key a is in place"
)


def _settled(finding: Finding = READY, before: tuple[Condition, ...] = (), at: int = 0) -> tuple[Condition, ...]:
    return settle(before, [finding], generation=at + 1, now=NOW + at * DAY)


def test_a_first_finding_transitions_now() -> None:
    """Nothing was said before, so this instant is the transition; the generation is the one judged."""
    assert _settled() == (
        Condition(
            type="Ready",
            status="True",
            reason="KeyIssued",
            message="key a is in place",
            observed_generation=1,
            last_transition_at=NOW,
        ),
    )


@pytest.mark.parametrize(
    "again",
    [READY, replace(READY, reason=Reason.KEY_SUSPENDED), replace(READY, message="other")],
    ids=["nothing changed", "the reason changed", "the message changed"],
)
def test_the_transition_time_stays_while_the_status_stays(again: Finding) -> None:
    """Reason, message and generation are brought up to date all the same."""
    (settled,) = _settled(again, before=_settled(), at=1)
    assert settled.last_transition_at == NOW
    assert (settled.reason, settled.message, settled.observed_generation) == (again.reason, again.message, 2)


@pytest.mark.parametrize("status", [ConditionStatus.FALSE, ConditionStatus.UNKNOWN])
def test_the_transition_time_moves_when_the_status_flips(status: ConditionStatus) -> None:
    """Also when only the status differs."""
    (settled,) = _settled(replace(READY, status=status), before=_settled(), at=1)
    assert settled.last_transition_at == NOW + DAY


def test_a_status_as_the_api_server_returns_it_is_compared_by_value() -> None:
    """After a round trip the fields are plain text; that is not a flip."""
    plain = tuple(replace(each, type=str(each.type), status=str(each.status)) for each in _settled())
    assert _settled(before=plain, at=1)[0].last_transition_at == NOW


def test_a_condition_that_is_no_longer_found_goes() -> None:
    """No situation leaves a condition behind from another."""
    other = replace(READY, type=ConditionType.ACTIVE)
    assert [each.type for each in _settled(other, before=_settled(), at=1)] == ["Active"]


def test_finding_a_condition_by_type() -> None:
    """``None`` when nothing was said of it."""
    assert find(_settled(), ConditionType.READY) == _settled()[0]
    assert find(_settled(), ConditionType.STALLED) is None
