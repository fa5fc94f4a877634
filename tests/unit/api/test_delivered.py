"""When a key can be taken, when never, and what is believed of a Secret."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from keywright.api.delivered import (
    Delivered,
    Doubt,
    NotYet,
    Undeliverable,
    WhyNot,
    judge_delivery,
    take_key,
)
from keywright.domain.apikey import RecordState, Status
from keywright.domain.conditions import Condition
from keywright.domain.plainkey import PlainKey, checksum
from tests.unit.api.manifests import manifest
from tests.unit.domain.examples import NOW, key, record

CURRENT = key(1)


def condition(kind: str, status: str, reason: str, message: str = "") -> Condition:
    return Condition(
        type=kind, status=status, reason=reason, message=message, observed_generation=1, last_transition_at=NOW
    )


LIES_THERE = condition("SecretDelivered", "True", "SecretDelivered")
LIES_NOT_THERE = condition("SecretDelivered", "False", "SecretMissing")
STATUS = Status(
    observed_generation=1,
    conditions=(LIES_THERE,),
    current_key_id=CURRENT.key_id,
    keys=(record(CURRENT),),
    secret_name="ci",
    secret_uid="uid-of-secret",
)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        pytest.param(STATUS, Delivered(), id="its Secret holds the current key"),
        pytest.param(Status(), NotYet(), id="no operator has looked"),
        pytest.param(
            replace(STATUS, observed_generation=0), NotYet(), id="what was delivered is the key of an older spec"
        ),
        pytest.param(replace(STATUS, current_key_id=None), NotYet(), id="a Secret without a current key"),
        pytest.param(replace(STATUS, conditions=(LIES_NOT_THERE,)), NotYet(), id="not delivered, nothing in the way"),
        pytest.param(
            replace(STATUS, conditions=(LIES_NOT_THERE, condition("Active", "False", "KeyRevoked", "by hand"))),
            Undeliverable(WhyNot.ENDED, "by hand"),
            id="revoked",
        ),
        pytest.param(
            replace(
                STATUS,
                conditions=(
                    LIES_NOT_THERE,
                    condition("Active", "False", "KeyExpired", "at noon"),
                    condition("Stalled", "True", "SecretConflict", "taken"),
                ),
            ),
            Undeliverable(WhyNot.ENDED, "at noon"),
            id="expired, which nothing mends, whatever else is wrong",
        ),
        pytest.param(
            replace(STATUS, conditions=(condition("SecretDelivered", "False", "SecretWithdrawn"),)),
            Undeliverable(WhyNot.WITHDRAWN, "the key was delivered once and its Secret is gone"),
            id="delivered once and withdrawn",
        ),
        pytest.param(
            replace(STATUS, conditions=(LIES_NOT_THERE, condition("Stalled", "True", "SecretConflict", "taken"))),
            Undeliverable(WhyNot.STALLED, "SecretConflict: taken"),
            id="stalled",
        ),
        pytest.param(
            replace(STATUS, conditions=(LIES_NOT_THERE, condition("Stalled", "False", "Fine"))),
            NotYet(),
            id="stalled no more",
        ),
    ],
)
def test_whether_the_key_is_there_to_be_taken(status: Status, verdict: Delivered | NotYet | Undeliverable) -> None:
    """Yes, never by waiting, or not yet."""
    assert judge_delivery(manifest(), status) == verdict


def secret(held: str, *, uid: str = "uid-of-secret") -> dict[str, Any]:
    return {"metadata": {"name": "ci", "uid": uid}, "data": {"api-key": base64.b64encode(held.encode()).decode()}}


def forged() -> str:
    """A well-formed key with the id of the current one."""
    other = key(2)
    body = other.text[:-6].replace(other.key_id, CURRENT.key_id)
    return body + checksum(body)


RETIRING = replace(STATUS, keys=(replace(record(CURRENT), state=RecordState.RETIRING),))
PENDING = replace(STATUS, keys=(replace(record(CURRENT), state=RecordState.PENDING),))


@pytest.mark.parametrize(
    ("found", "status", "verdict"),
    [
        pytest.param(secret(CURRENT.text), STATUS, CURRENT, id="the key that was issued"),
        pytest.param(secret(CURRENT.text), PENDING, CURRENT, id="one that is on its way to be current"),
        pytest.param(secret(CURRENT.text, uid="other"), STATUS, Doubt.FOREIGN_SECRET, id="a Secret made anew"),
        pytest.param(secret(CURRENT.text), replace(STATUS, secret_uid=None), Doubt.FOREIGN_SECRET, id="none recorded"),
        pytest.param(secret(key(2).text), STATUS, Doubt.NOT_CURRENT, id="a key without a record"),
        pytest.param(secret(CURRENT.text), RETIRING, Doubt.NOT_CURRENT, id="a replaced key"),
        pytest.param(secret("nonsense"), STATUS, Doubt.NOT_CURRENT, id="no key"),
        pytest.param({"metadata": {"name": "ci", "uid": "uid-of-secret"}}, STATUS, Doubt.NOT_CURRENT, id="no data"),
        pytest.param(secret(forged()), STATUS, Doubt.NOT_ISSUED, id="a key with the id of another"),
    ],
)
def test_only_the_key_that_was_issued_is_taken(
    found: dict[str, Any], status: Status, verdict: PlainKey | Doubt
) -> None:
    """Who may edit Secrets can put another in its place, or another Secret."""
    assert take_key(found, "api-key", status) == verdict
