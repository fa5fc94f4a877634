"""What a list says of an ApiKey, and in which colour."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keywright.api.standing import UNREADABLE_END, Tone, describe_distance, exact_uses, read_standing
from keywright.domain.apikey import Phase, RecordState, Status
from keywright.domain.conditions import Condition
from tests.unit.api.manifests import manifest
from tests.unit.domain.examples import DAY, NOW, SECOND, key, record

CURRENT = record(key(1), issued_at=NOW - DAY)
OLD = record(key(2), RecordState.RETIRING, issued_at=NOW - 9 * DAY, expires_at=NOW + DAY)


def condition(kind: str, status: str, reason: str = "KeyIssued") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message="", observed_generation=1, last_transition_at=NOW)


ACTIVE = Status(
    phase=Phase.ACTIVE, current_key_id=CURRENT.id, keys=(CURRENT,), conditions=(condition("Active", "True"),)
)
STALLED = replace(ACTIVE, phase=Phase.FAILED, conditions=(condition("Stalled", "True", "SecretMissing"),))
# The API server takes it for a date-time.
ODD_END = {"expiresAt": "2030-01-01T00:00:00+24:00"}
WORKING = replace(STALLED, conditions=(*STALLED.conditions, condition("Active", "True")))


@pytest.mark.parametrize(
    ("status", "spec", "word", "tone", "is_over"),
    [
        (Status(), {}, "Pending", Tone.PLAIN, False),
        (ACTIVE, {}, "Active", Tone.PLAIN, False),
        (replace(ACTIVE, phase=Phase.EXPIRING), {}, "Expiring", Tone.AMBER, False),
        (ACTIVE, {"suspended": True}, "Suspended", Tone.AMBER, False),
        (STALLED, {}, "Failed (SecretMissing)", Tone.RED, False),
        (WORKING, {}, "Active (SecretMissing)", Tone.AMBER, False),
        (ACTIVE, {"revoked": True}, "Revoked", Tone.RED, True),
        (replace(ACTIVE, revoked_at=NOW), {}, "Revoked", Tone.RED, True),
        (ACTIVE, {"expiresAt": "2026-06-01T12:00:00Z"}, "Expired", Tone.RED, True),
        (ACTIVE, {"expiresAt": "2026-06-01T12:00:01Z"}, "Active", Tone.PLAIN, False),
        (replace(ACTIVE, expires_at=NOW), {}, "Expired", Tone.RED, True),
        (replace(ACTIVE, expires_at=NOW), {"rotation": {}}, "Expired", Tone.RED, False),
        (replace(ACTIVE, expires_at=NOW), {"revoked": True}, "Revoked", Tone.RED, True),
        (ACTIVE, ODD_END, UNREADABLE_END, Tone.RED, False),
        (ACTIVE, ODD_END | {"revoked": True}, "Revoked", Tone.RED, True),
    ],
)
def test_the_newest_spec_and_the_time_decide(
    status: Status, spec: dict[str, Any], word: str, tone: Tone, is_over: bool
) -> None:
    """As at a verifier, whether or not the operator has looked since."""
    found = read_standing(manifest(status, **spec), {}, NOW)
    assert (found.status, found.tone, found.is_over) == (word, tone, is_over)


def test_an_apikey_that_is_being_deleted_is_dead() -> None:
    """Foreground deletion may take a while; its key is refused at once."""
    found = manifest(ACTIVE)
    found["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z"
    assert read_standing(found, {}, NOW).tone is Tone.RED


def test_a_status_that_cannot_be_read_is_said_to_be_so() -> None:
    """And does not stop the list of all the others."""
    found = manifest(ACTIVE)
    found["status"]["keys"][0]["state"] = "Lost"
    standing = read_standing(found, {}, NOW)
    assert standing.status.startswith("Failed")
    assert standing.tone is Tone.RED


def test_a_replaced_key_that_is_still_used_is_amber() -> None:
    """As the verifiers report it, before the operator has written it down."""
    rotated = manifest(replace(ACTIVE, keys=(CURRENT, OLD)))
    use = {f"payments/ci/{OLD.id}": NOW - SECOND}
    assert read_standing(rotated, {}, NOW).tone is Tone.PLAIN
    assert read_standing(rotated, use, NOW).status == "Active (old key in use)"
    assert read_standing(rotated, use, NOW).tone is Tone.AMBER


@pytest.mark.parametrize(
    ("uses", "last"),
    [
        ({}, None),
        ({f"payments/ci/{CURRENT.id}": NOW - DAY}, NOW - DAY),
        ({f"payments/ci/{CURRENT.id}": NOW + DAY}, NOW),
        ({f"payments/other/{CURRENT.id}": NOW - DAY}, None),
        ({"payments/ci/AAAAAAAAAAAA": NOW - DAY}, None),
    ],
    ids=["none", "its own", "from the future", "another's", "of a key that is gone"],
)
def test_the_exact_last_use_is_joined(uses: Mapping[str, datetime], last: datetime | None) -> None:
    """Of its own keys only, and never later than now."""
    assert read_standing(manifest(ACTIVE), uses, NOW).last_used_at == last


def test_an_older_report_does_not_move_the_last_use_back() -> None:
    """Status may know of a later one than the reports that can be read."""
    status = replace(ACTIVE, last_used_at=NOW - SECOND)
    uses = {f"payments/ci/{CURRENT.id}": NOW - DAY}
    assert read_standing(manifest(status), uses, NOW).last_used_at == NOW - SECOND


def test_reports_of_several_verifiers_are_one() -> None:
    """The newest counts; what cannot be read is left out."""
    reports: list[dict[str, Any]] = [
        {"spec": {"uses": {"a/b/c": "2026-06-01T10:00:00Z", "a/b/d": "yesterday"}}},
        {"spec": {"uses": {"a/b/c": "2026-06-01T11:00:00Z"}}},
        {"spec": {}},
    ]
    assert exact_uses(reports) == {"a/b/c": NOW - timedelta(hours=1)}


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(0), "0s ago"),
        (timedelta(seconds=119), "in 119s"),
        (timedelta(seconds=120), "in 2m"),
        (90 * DAY - SECOND, "in 90d"),
        (timedelta(days=89, hours=12), "in 90d"),
        (timedelta(days=89, hours=11), "in 89d"),
        (timedelta(milliseconds=900), "in 1s"),
        (-timedelta(hours=47), "47h ago"),
        (-timedelta(hours=48), "2d ago"),
    ],
)
def test_a_distance_is_told_in_its_largest_unit(distance: timedelta, words: str) -> None:
    """From two of a unit on, and to the nearest: what was made for 90 days a second ago does not end in 89."""
    assert describe_distance(NOW + distance, NOW) == words
    assert describe_distance(None, NOW) == "never"
