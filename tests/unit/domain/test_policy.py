"""What a class lets an ApiKey ask for. Each row of the table is one sentence."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from keywright.domain.keyclass import KeyClass, Requirement
from keywright.domain.policy import Accepted, Refused, judge
from keywright.domain.reasons import Reason
from tests.unit.domain.examples import DAY, NOW, STANDARD, spec


class Row(NamedTuple):
    asked: dict[str, Any]
    key_class: KeyClass | None
    expected: Accepted | tuple[Reason, str, datetime | None]


def _class(**fields: Any) -> KeyClass:
    return replace(STANDARD, **fields)


BOUNDED = _class(default_lifetime=90 * DAY, max_lifetime=365 * DAY)
DEMANDING = _class(requires=frozenset({Requirement.DISPLAY_NAME, Requirement.EXPIRES_AT}))

CASES = {
    "nothing asked of a class without limits never ends": Row({}, STANDARD, Accepted(None)),
    "expiresAt is taken as it is": Row({"expires_at": NOW + DAY}, STANDARD, Accepted(NOW + DAY)),
    "ttl is counted from issue": Row({"ttl": DAY}, STANDARD, Accepted(NOW + DAY)),
    "with both the earlier end counts": Row({"ttl": 2 * DAY, "expires_at": NOW + DAY}, STANDARD, Accepted(NOW + DAY)),
    "an end in the past is accepted: the key is born expired": Row(
        {"expires_at": NOW - DAY}, STANDARD, Accepted(NOW - DAY)
    ),
    "nothing asked gets the default lifetime": Row({}, BOUNDED, Accepted(NOW + 90 * DAY)),
    "nothing asked and no default gets the maximum": Row({}, _class(max_lifetime=30 * DAY), Accepted(NOW + 30 * DAY)),
    "a default beyond the maximum is cut": Row(
        {}, _class(default_lifetime=90 * DAY, max_lifetime=30 * DAY), Accepted(NOW + 30 * DAY)
    ),
    "exactly the maximum is within it": Row({"ttl": 365 * DAY}, BOUNDED, Accepted(NOW + 365 * DAY)),
    "a ttl beyond the maximum is refused and capped": Row(
        {"ttl": 366 * DAY}, BOUNDED, (Reason.LIFETIME_EXCEEDED, "spec.ttl", NOW + 365 * DAY)
    ),
    "an expiresAt beyond the maximum is refused and capped": Row(
        {"expires_at": NOW + 366 * DAY}, BOUNDED, (Reason.LIFETIME_EXCEEDED, "spec.expiresAt", NOW + 365 * DAY)
    ),
    "a named class that is missing": Row(
        {"class_name": "gold"}, None, (Reason.CLASS_NOT_FOUND, "ApiKeyClass 'gold' does not exist", None)
    ),
    "a class that went after issue": Row({}, None, (Reason.CLASS_NOT_FOUND, "was issued under does not exist", None)),
    "a missing class still lets an earlier end act": Row(
        {"expires_at": NOW + DAY}, None, (Reason.CLASS_NOT_FOUND, "create it", NOW + DAY)
    ),
    "a required display name that is missing": Row(
        {}, DEMANDING, (Reason.INVALID_SPEC, "requires spec.displayName", None)
    ),
    "a display name that is only the default does not count": Row(
        {"display_name": "x"}, DEMANDING, (Reason.INVALID_SPEC, "requires spec.displayName", None)
    ),
    "a required end that is missing": Row(
        {"states_display_name": True}, DEMANDING, (Reason.INVALID_SPEC, "requires spec.expiresAt", None)
    ),
    "a ttl states an end too": Row({"states_display_name": True, "ttl": DAY}, DEMANDING, Accepted(NOW + DAY)),
    "what is missing comes before what is too long": Row(
        {"ttl": 400 * DAY},
        replace(BOUNDED, requires=frozenset({Requirement.DISPLAY_NAME})),
        (Reason.INVALID_SPEC, "requires spec.displayName", NOW + 365 * DAY),
    ),
}


@pytest.mark.parametrize("row", CASES.values(), ids=CASES)
def test_judging(row: Row) -> None:
    """An end that the class accepts, or a refusal that names the field, the remedy and the latest end."""
    verdict = judge(spec(**row.asked), row.key_class, NOW)
    if isinstance(row.expected, Accepted):
        assert verdict == row.expected
        return
    reason, part, cap = row.expected
    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.cap) == (reason, cap)
    assert part in verdict.message
    assert ": " in verdict.message, "a refusal ends with what to do"


def test_a_refusal_reads_the_same_a_second_later() -> None:
    """Before an issue ``issued_at`` is now: a message made from it costs a status write at every look."""
    asked = spec(ttl=366 * DAY)
    first, later = (judge(asked, BOUNDED, NOW + timedelta(seconds=at)) for at in (0, 1))
    assert isinstance(first, Refused)
    assert isinstance(later, Refused)
    assert first.message == later.message
