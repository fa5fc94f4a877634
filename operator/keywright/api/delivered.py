"""Whether the plain key of an ApiKey is there to be taken, whether what lies in its Secret is that key, and whether a
rotation is through. Pure.

A Secret is believed only if it has the UID that the operator has recorded, and its key only if it is the one behind
the hash of the record with its id: who may edit Secrets can put another in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keywright.domain import hashing, plainkey
from keywright.domain.apikey import RecordState, Status
from keywright.domain.conditions import Condition, ConditionStatus, ConditionType, find
from keywright.domain.plainkey import PlainKey
from keywright.domain.reasons import Reason

__all__ = [
    "Delivered",
    "Doubt",
    "NotYet",
    "Undeliverable",
    "WhyNot",
    "is_rotated",
    "judge_delivery",
    "newly_stalled",
    "stalled",
    "take_key",
]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The current key lies in its Secret."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """The operator is at it, or has not looked at the newest spec."""


class WhyNot(StrEnum):
    """Why no waiting brings a key."""

    ENDED = "Ended"
    """The ApiKey was revoked, or has expired."""
    WITHDRAWN = "Withdrawn"
    """The key was delivered once, and its Secret is gone."""
    STALLED = "Stalled"
    """Somebody has to mend something first."""


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """Waiting is of no use. ``message`` has no name in it and no next step: whoever says it knows both."""

    why: WhyNot
    message: str


class Doubt(StrEnum):
    """Why what lies in a Secret is not taken for the key."""

    FOREIGN_SECRET = "ForeignSecret"
    """It is not the Secret that the operator made, so nothing in it is believed."""
    NOT_CURRENT = "NotCurrent"
    """It holds no key, or none that has a record that lives. A rotation may be under way: look again at both."""
    NOT_ISSUED = "NotIssued"
    """Its key has the id of a record, and not its hash: somebody has changed it."""


def judge_delivery(manifest: Mapping[str, Any], status: Status) -> Delivered | NotYet | Undeliverable:
    """Judge what the operator has said of the newest spec; what it has said of an older one counts for nothing."""
    delivered, active = (
        find(status.conditions, each) for each in (ConditionType.SECRET_DELIVERED, ConditionType.ACTIVE)
    )
    if delivered is None or status.observed_generation != manifest["metadata"]["generation"]:
        return NotYet()
    if delivered.status == ConditionStatus.TRUE and status.current_key_id is not None:
        return Delivered()
    if active is not None and active.reason in (Reason.KEY_REVOKED, Reason.KEY_EXPIRED):
        return Undeliverable(WhyNot.ENDED, active.message)
    if delivered.reason == Reason.SECRET_WITHDRAWN:
        return Undeliverable(WhyNot.WITHDRAWN, "the key was delivered once and its Secret is gone")
    problem = stalled(status)
    if problem is not None:
        return Undeliverable(WhyNot.STALLED, f"{problem.reason}: {problem.message}")
    return NotYet()


def stalled(status: Status) -> Condition | None:
    """What a person has to mend before anything more happens."""
    found = find(status.conditions, ConditionType.STALLED)
    return found if found is not None and found.status == ConditionStatus.TRUE else None


def newly_stalled(status: Status, before: Status) -> Condition | None:
    """What stands in the way of a rotation: only what is new, since what was wrong before may be what it mends."""
    problem, old = stalled(status), stalled(before)
    return problem if problem is not None and (old is None or problem.message != old.message) else None


def is_rotated(status: Status, asked: str) -> bool:
    """Whether the rotation that this value of the annotation has asked for is through."""
    return status.handled_rotate_annotation == asked and status.record(RecordState.PENDING) is None


def take_key(secret: Mapping[str, Any], entry: str, status: Status) -> PlainKey | Doubt:
    """The plain key in that entry of the Secret, once it is proven to be the one that was issued.

    It takes one verification of the hash, which for Argon2 is long: do not keep an event loop waiting for it.
    """
    if secret["metadata"]["uid"] != status.secret_uid:
        return Doubt.FOREIGN_SECRET
    plain = plainkey.find_in(secret.get("data"), entry)
    live = {each.id: each.hash for each in status.keys if each.state is not RecordState.RETIRING}
    if plain is None or plain.key_id not in live:
        return Doubt.NOT_CURRENT
    return plain if hashing.verify(live[plain.key_id], plain.text) else Doubt.NOT_ISSUED
