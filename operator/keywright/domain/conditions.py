"""Conditions as KEP-1623 defines them, with kstatus meaning for ``Ready`` and ``Stalled``.

``lastTransitionTime`` moves only when the status of a condition flips; a changed reason or message alone does
not move it. That is what makes an unchanged ApiKey cost no write.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keywright.domain.reasons import Reason

__all__ = ["Condition", "ConditionStatus", "ConditionType", "Finding", "find", "settle"]


class ConditionType(StrEnum):
    """What is being said about an ApiKey."""

    READY = "Ready"
    """The spec has been enacted, also when it asked for a revoked key."""
    ACTIVE = "Active"
    """Verifiers accept the current key."""
    EXPIRING = "Expiring"
    """The current key ends within the class's ``warnBefore``."""
    STALLED = "Stalled"
    """A person has to act; the message says how."""
    SECRET_DELIVERED = "SecretDelivered"
    """The current plain key lies in the Secret that status names."""


class ConditionStatus(StrEnum):
    """KEP-1623's three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is the case now, before it is compared with what was said before."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of ``status.conditions``. ``reason`` is text here because a status may hold any."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_at: datetime


def find(conditions: Iterable[Condition], wanted: ConditionType) -> Condition | None:
    """The condition of that type, if any."""
    return next((each for each in conditions if each.type == wanted), None)


def settle(
    before: tuple[Condition, ...], findings: Iterable[Finding], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Turn findings into conditions, keeping the transition time of each whose status did not flip."""
    settled = []
    for finding in findings:
        old = find(before, finding.type)
        kept = old is not None and old.status == finding.status
        settled.append(
            Condition(
                type=finding.type,
                status=finding.status,
                reason=finding.reason,
                message=finding.message,
                observed_generation=generation,
                last_transition_at=old.last_transition_at if old is not None and kept else now,
            )
        )
    return tuple(settled)
