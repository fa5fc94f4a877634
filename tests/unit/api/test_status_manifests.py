"""The status in manifest form: what is written is what is read, and what cannot be read is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.api.status import read_status, write_status
from keywright.domain.apikey import KeyRecord, Phase, RecordState, Status
from keywright.domain.conditions import Condition, ConditionType
from keywright.domain.reasons import Reason

START = datetime(2026, 6, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 10**9).map(lambda seconds: START + timedelta(seconds=seconds))
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=40)
IDS = st.text("0123456789ABCxyz", min_size=12, max_size=12)

RECORDS = st.builds(
    KeyRecord,
    id=IDS,
    state=st.sampled_from(RecordState),
    hash=st.text(min_size=1, max_size=60),
    fingerprint=st.none() | st.text("0123456789abcdef", min_size=16, max_size=16),
    issued_at=INSTANTS,
    expires_at=st.none() | INSTANTS,
)
CONDITIONS = st.builds(
    Condition,
    type=st.sampled_from([str(each) for each in ConditionType]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=st.sampled_from([str(each) for each in Reason]),
    message=st.text(max_size=60),
    observed_generation=st.integers(0, 99),
    last_transition_at=INSTANTS,
)
STATUSES = st.builds(
    Status,
    observed_generation=st.none() | st.integers(0, 99),
    phase=st.sampled_from(Phase),
    class_name=st.none() | WORDS,
    current_key_id=st.none() | IDS,
    masked_key=st.none() | WORDS,
    keys=st.lists(RECORDS, max_size=2).map(tuple),
    issued_at=st.none() | INSTANTS,
    expires_at=st.none() | INSTANTS,
    revoked_at=st.none() | INSTANTS,
    suspended_at=st.none() | INSTANTS,
    secret_name=st.none() | WORDS,
    secret_uid=st.none() | WORDS,
    conditions=st.lists(CONDITIONS, max_size=3).map(tuple),
)


@given(STATUSES)
def test_a_status_survives_being_written_and_read(status: Status) -> None:
    """Or every look would see a difference and write again."""
    written = write_status(status)
    assert read_status({"status": written}) == status
    assert write_status(read_status({"status": written}) or Status()) == written


def test_the_names_are_those_of_the_contract() -> None:
    """DESIGN section 3; ``secretUID`` keeps its capitals, and what is not set is left out."""
    record = KeyRecord(id="4hJk29sLmQ0z", state=RecordState.CURRENT, hash="sha256:00", issued_at=START)
    written = write_status(Status(secret_uid="u", current_key_id=record.id, keys=(record,), revoked_at=START))
    assert written == {
        "phase": "Pending",
        "currentKeyId": "4hJk29sLmQ0z",
        "keys": [{"id": "4hJk29sLmQ0z", "state": "Current", "hash": "sha256:00", "issuedAt": "2026-06-01T00:00:00Z"}],
        "revokedAt": "2026-06-01T00:00:00Z",
        "secretUID": "u",
        "conditions": [],
    }


@pytest.mark.parametrize("manifest", [{}, {"status": None}, {"status": {}}])
def test_no_status_is_an_empty_one(manifest: dict[str, Any]) -> None:
    """As of an ApiKey that nobody has looked at."""
    assert read_status(manifest) == Status()


def test_the_default_that_the_crd_gives_is_readable() -> None:
    """Or every new ApiKey would look tampered with."""
    from keywright.api.crd import FILES

    schema = FILES["apikeys.yaml"]()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    status = read_status({"status": schema["properties"]["status"]["default"]})
    assert status is not None
    assert status.phase is Phase.PENDING
    assert [(each.type, each.status) for each in status.conditions] == [("Ready", "Unknown")]


GOOD_KEY = {"id": "4hJk29sLmQ0z", "state": "Current", "hash": "h", "issuedAt": "2026-06-01T00:00:00Z"}
UNREADABLE: dict[str, Any] = {
    "not an object": "x",
    "an unknown phase": {"phase": "Hacked"},
    "an unknown state": {"keys": [GOOD_KEY | {"state": "Retiring2"}]},
    "an id that is too short": {"keys": [GOOD_KEY | {"id": "short"}]},
    "an id with other characters": {"keys": [GOOD_KEY | {"id": "4hJk29sLmQ0!"}]},
    "a fingerprint that is none": {"keys": [GOOD_KEY | {"fingerprint": "x" * 16}]},
    "a record without hash": {"keys": [{key: GOOD_KEY[key] for key in ("id", "state", "issuedAt")}]},
    "a hash that is too long": {"keys": [GOOD_KEY | {"hash": "h" * 257}]},
    "a date that is none": {"revokedAt": "yesterday"},
    "a date without an offset": {"expiresAt": "2026-06-01T00:00:00"},
    "keys that are no list": {"keys": {"a": "b"}},
    "too many keys": {"keys": [GOOD_KEY] * 9},
    "a condition without reason": {"conditions": [{"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize("status", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_status_is_none(status: Any) -> None:
    """Only who may write ``apikeys/status`` can make one, so the caller reports tampering."""
    assert read_status({"status": status}) is None


def test_a_record_does_not_show_its_hash() -> None:
    """Hashes are no secrets; log lines are better off without them."""
    status = read_status({"status": {"keys": [GOOD_KEY | {"hash": "$argon2id$hash"}]}})
    assert status is not None
    assert "$argon2id$hash" not in repr(status)
