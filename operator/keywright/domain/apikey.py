"""One ApiKey as the domain sees it: what is asked for (spec) and what has been recorded (status)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keywright.domain.conditions import Condition

__all__ = [
    "DEFAULT_ENTRY",
    "InvalidSpec",
    "KeyRecord",
    "KeySpec",
    "OnLoss",
    "Phase",
    "RecordState",
    "RotateRequest",
    "Rotation",
    "Status",
    "earliest",
]

DEFAULT_ENTRY = "api-key"


class Phase(StrEnum):
    """One word for people, derived from the conditions and from nothing else."""

    PENDING = "Pending"
    ACTIVE = "Active"
    EXPIRING = "Expiring"
    SUSPENDED = "Suspended"
    EXPIRED = "Expired"
    REVOKED = "Revoked"
    FAILED = "Failed"


class OnLoss(StrEnum):
    """What to do about a Secret that somebody deleted."""

    REPORT = "Report"
    ROTATE = "Rotate"


class RecordState(StrEnum):
    """Where a minted key stands between its hash being recorded and its plain key being delivered."""

    PENDING = "Pending"
    CURRENT = "Current"
    RETIRING = "Retiring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """That and how a key is to be replaced by itself. What is left open, the class says."""

    interval: timedelta | None = None
    grace_period: timedelta | None = None
    trigger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateRequest:
    """The imperative twin of ``spec.rotation.trigger``: an annotation, with a grace period of its own."""

    value: str
    grace_period: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """What the owner of an ApiKey asks for, with defaults filled in."""

    display_name: str
    class_name: str | None = None
    expires_at: datetime | None = None
    ttl: timedelta | None = None
    suspended: bool = False
    revoked: bool = False
    revocation_reason: str = ""
    secret_name: str
    secret_key: str = DEFAULT_ENTRY
    states_display_name: bool = False
    rotation: Rotation | None = None
    rotate_request: RotateRequest | None = None
    on_loss: OnLoss = OnLoss.REPORT


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that cannot be read; ``message`` names the field and the remedy, never the value.

    ``revoked`` is read all the same: verifiers act on it, and nothing else of the spec may hide it.
    """

    message: str
    revoked: bool = False
    revocation_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One minted plain key: its public id, its hash and its life."""

    id: str
    state: RecordState
    hash: str = field(repr=False)
    fingerprint: str | None = None
    issued_at: datetime
    expires_at: datetime | None = None
    grace_period: timedelta | None = None
    """Of a Pending record: how long the records before it work on once it is Current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``status`` of an ApiKey. The operator is its only writer."""

    observed_generation: int | None = None
    phase: Phase = Phase.PENDING
    class_name: str | None = None
    current_key_id: str | None = None
    masked_key: str | None = None
    keys: tuple[KeyRecord, ...] = ()
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    rotate_at: datetime | None = None
    handled_trigger: str | None = None
    handled_rotate_annotation: str | None = None
    revoked_at: datetime | None = None
    suspended_at: datetime | None = None
    secret_name: str | None = None
    secret_uid: str | None = None
    conditions: tuple[Condition, ...] = ()

    def record(self, state: RecordState) -> KeyRecord | None:
        """The first record in ``state``; there is at most one Pending and at most one Current."""
        return next((each for each in self.keys if each.state is state), None)


def earliest(*ends: datetime | None) -> datetime | None:
    """The first of several ends; ``None`` is an end that never comes."""
    return min((end for end in ends if end is not None), default=None)
