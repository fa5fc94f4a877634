"""One ApiKey as the domain sees it: what is asked for (spec) and what has been recorded (status)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keywright.domain.conditions import Condition

__all__ = [
    "DEFAULT_ENTRY",
    "DEFAULT_REMOVE_AFTER",
    "ENDED",
    "Authorization",
    "DeletionPolicy",
    "Delivery",
    "Effective",
    "InvalidSpec",
    "KeyRecord",
    "KeySpec",
    "OnLoss",
    "Owner",
    "Phase",
    "RateLimit",
    "RecordState",
    "RotateRequest",
    "Rotation",
    "Status",
    "Template",
    "WhenInactive",
    "earliest",
]

DEFAULT_ENTRY = "api-key"
DEFAULT_REMOVE_AFTER = timedelta(hours=1)


class Phase(StrEnum):
    """One word for people, derived from the conditions and from nothing else."""

    PENDING = "Pending"
    ACTIVE = "Active"
    EXPIRING = "Expiring"
    SUSPENDED = "Suspended"
    EXPIRED = "Expired"
    REVOKED = "Revoked"
    FAILED = "Failed"


ENDED = frozenset({Phase.EXPIRED, Phase.REVOKED})
"""From these there is no way back."""


class Authorization(StrEnum):
    """Who decides what a key may do: its scopes, or the RBAC of its owner at the time of the request."""

    SCOPES = "Scopes"
    OWNER = "Owner"


class OnLoss(StrEnum):
    """What to do about a Secret that somebody deleted."""

    REPORT = "Report"
    ROTATE = "Rotate"


class Delivery(StrEnum):
    """Whether the Secret stays, or goes once the plain key has been fetched."""

    PERSISTENT = "Persistent"
    ONCE = "Once"


class DeletionPolicy(StrEnum):
    """What happens to the Secret when the ApiKey is deleted."""

    DELETE = "Delete"
    RETAIN = "Retain"


class WhenInactive(StrEnum):
    """What happens to the Secret of a revoked or expired key."""

    DELETE = "Delete"
    KEEP = "Keep"


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
class Owner:
    """On whose behalf a key acts, as Kubernetes names people: a user and, at the time of writing, his groups."""

    user: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """So many requests in any window of that length. In a spec the window may be left to the class."""

    name: str
    requests: int
    window: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What the Secret carries beside the plain key. ``data`` may name it as ``$(key)``."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """What policy has accepted. Verifiers grant from here, and less where the newest spec or class says less.

    ``scopes`` holds those of the role and of the key together, with what they include; it may hold wildcards.
    ``authorization`` is ``OWNER`` or nothing: that the owner is asked about narrows a key, so only its end has to wait.
    """

    role: str | None = None
    scopes: tuple[str, ...] = ()
    owner: Owner | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    authorization: Authorization | None = None


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
    owner: Owner | None = None
    role: str | None = None
    scopes: tuple[str, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    template: Template = field(default_factory=Template)
    delivery: Delivery = Delivery.PERSISTENT
    remove_after: timedelta = DEFAULT_REMOVE_AFTER
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    when_inactive: WhenInactive = WhenInactive.DELETE
    adopt_secret: str | None = None
    """UID of the Secret that may be adopted after a restore, once."""


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that cannot be read; ``message`` names the field and the remedy, never the value.

    ``revoked`` is read all the same: verifiers act on it, and nothing else of the spec may hide it. So is what
    becomes of the Secret then, and the class: one that names no class that there could be is ``""``.
    """

    message: str
    class_name: str | None = None
    revoked: bool = False
    revocation_reason: str = ""
    when_inactive: WhenInactive = WhenInactive.DELETE


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
    last_used_at: datetime | None = None


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
    disallowed_at: datetime | None = None
    """Since when the class does not allow this ApiKey in its namespace any more; refused meanwhile."""
    last_used_at: datetime | None = None
    effective: Effective | None = None
    secret_name: str | None = None
    secret_uid: str | None = None
    secret_resource_version: str | None = None
    """The version of the Secret that was last seen to be as it should, so that a restart need not read it again."""
    conditions: tuple[Condition, ...] = ()

    def record(self, state: RecordState) -> KeyRecord | None:
        """The first record in ``state``; there is at most one Pending and at most one Current."""
        return next((each for each in self.keys if each.state is state), None)


def earliest(*ends: datetime | None) -> datetime | None:
    """The first of several ends; ``None`` is an end that never comes."""
    return min((end for end in ends if end is not None), default=None)
