"""What is shown of a key: all that people need, and nothing that a key could be found by."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keywright.console.service.viewing import view_event, view_key
from keywright.domain.apikey import Phase, RecordState, Status
from keywright.domain.conditions import Condition, ConditionStatus
from tests.unit.api.manifests import manifest
from tests.unit.domain.examples import NOW, key, record

HOUR = timedelta(hours=1)
PLAIN = key()
CURRENT = record(PLAIN, RecordState.CURRENT, expires_at=NOW + 24 * HOUR, last_used_at=NOW - 2 * HOUR)
OLD = record(key(1), RecordState.RETIRING, expires_at=NOW + HOUR)
STATUS = Status(
    observed_generation=1,
    phase=Phase.ACTIVE,
    class_name="gold",
    current_key_id=PLAIN.key_id,
    masked_key="kw_live_…",
    keys=(OLD, CURRENT),
    issued_at=NOW - HOUR,
    expires_at=NOW + 24 * HOUR,
    last_used_at=NOW - 2 * HOUR,
    conditions=(
        Condition(
            type="Ready",
            status=ConditionStatus.TRUE,
            reason="KeyIssued",
            message=f"key {PLAIN.text}",
            last_transition_at=NOW,
            observed_generation=1,
        ),
    ),
)


def seen(status: Status | None = STATUS, **spec: Any) -> dict[str, Any]:
    found = manifest(status, **spec)
    return found | {"metadata": found["metadata"] | {"resourceVersion": "42"}}


def test_a_key_in_full() -> None:
    """Times in UTC as Kubernetes writes them, the exact last use of each record, and the version to be bound to."""
    uses = {f"payments/ci/{PLAIN.key_id}": NOW - HOUR, f"payments/ci/{OLD.id}": NOW + HOUR}
    view = view_key(
        seen(displayName="CI", owner={"user": "alice"}, scopes=["a"], role="readonly", secret={"delivery": "Once"}),
        uses,
        NOW,
    )
    shown = view.model_dump(mode="json", by_alias=True)
    assert (shown["displayName"], shown["className"], shown["role"], shown["scopes"]) == (
        "CI",
        "gold",
        "readonly",
        ["a"],
    )
    assert shown["owner"] == {"user": "alice", "groups": []}
    assert (shown["status"], shown["tone"]) == ("Active (old key in use)", "amber")
    assert (shown["phase"], shown["delivery"], shown["version"]) == ("Active", "Once", "42")
    assert shown["expiresAt"] == "2026-06-02T12:00:00Z"
    # A report from the future says now.
    assert [each["lastUsedAt"] for each in shown["keys"]] == ["2026-06-01T12:00:00Z", "2026-06-01T11:00:00Z"]
    assert shown["lastUsedAt"] == "2026-06-01T12:00:00Z"


def test_no_hash_no_fingerprint_and_no_key_in_any_text() -> None:
    """What somebody has pasted in the wrong place is cut out as well."""
    text = view_key(seen(displayName=PLAIN.text, description=f"it is {PLAIN.text}"), {}, NOW).model_dump_json()
    for hidden in (CURRENT.hash, OLD.hash, CURRENT.fingerprint, PLAIN.text, PLAIN.text[25:]):
        assert str(hidden) not in text
    assert PLAIN.key_id in text


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (seen(None), "Pending"),
        (seen(revoked=True), "Revoked"),
        (seen(replace(STATUS, revoked_at=NOW)), "Revoked"),
        (seen(suspended=True), "Suspended"),
        (seen(expiresAt="2026-06-01T11:59:59Z"), "Expired"),
        (seen() | {"status": {"keys": "odd"}}, "Failed (status cannot be read)"),
        (seen(ttl="odd"), "Active"),
        (seen(owner={"user": "alice", "groups": None}), "Active"),
    ],
)
def test_odd_and_ended_keys_are_shown_too(found: dict[str, Any], status: str) -> None:
    """By the newest spec and the time, whatever the operator has said last."""
    assert view_key(found, {}, NOW).status == status


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"lastTimestamp": "2027-01-01T00:00:00Z"}, datetime(2027, 1, 1, tzinfo=UTC)),
        (
            {"lastTimestamp": None, "eventTime": "2027-01-01T00:00:00.123456Z"},
            datetime(2027, 1, 1, 0, 0, 0, 123456, UTC),
        ),
        ({}, datetime(2026, 1, 1, tzinfo=UTC)),
        ({"lastTimestamp": "9999-12-31T23:59:59-23:59"}, datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_events_of_anybody(times: dict[str, Any], at: datetime) -> None:
    """Events have their time in one of three places, or one that nobody can read, and may leave out the rest."""
    found = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "message": f"see {PLAIN.text}"} | times
    event = view_event(found)
    assert (event.at, event.reason, event.count, event.is_warning) == (at, "", 1, False)
    assert PLAIN.text not in event.message
