"""When a key is to be replaced by a new one, and how long the old one works on.

Four things ask for it: a changed ``spec.rotation.trigger``, a changed annotation, the interval, and with
``onLoss: Rotate`` a Secret that is gone or has been emptied. What was handled is recorded together with the
Pending record, so that a crash neither loses a request nor answers it twice. A suspended key waits until it is resumed.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from keywright.domain.apikey import Delivery, KeyRecord, KeySpec, OnLoss, RecordState, Status, earliest
from keywright.domain.delivery import Absent, Ours, SecretView
from keywright.domain.keyclass import KeyClass
from keywright.domain.policy import grace_period, lifetime

__all__ = [
    "MAX_RECORDS",
    "PAUSE",
    "handled",
    "has_room",
    "replace_lost_at",
    "requested_grace",
    "retire",
    "rotate_at",
    "without_ended",
]

MAX_RECORDS = 8
PAUSE = timedelta(seconds=5)


def rotate_at(spec: KeySpec, key_class: KeyClass, current: KeyRecord) -> datetime | None:
    """When the passing of time replaces the current key: at its interval, or a grace period before its ttl ends."""
    if spec.rotation is None:
        return None
    lives = lifetime(spec, key_class)
    stated = spec.rotation.interval
    interval = stated if stated is not None else key_class.rotation_interval
    before_end = current.issued_at + lives - grace_period(spec, key_class) if lives is not None else None
    return earliest(current.issued_at + interval, before_end)


def requested_grace(
    spec: KeySpec, key_class: KeyClass, status: Status, current: KeyRecord, secret: SecretView, now: datetime
) -> timedelta | None:
    """The grace period of the rotation that is due now; ``None`` if none is due."""
    usual = grace_period(spec, key_class)
    request = spec.rotate_request
    if request is not None and request.value != status.handled_rotate_annotation:
        return request.grace_period if request.grace_period is not None else usual
    trigger = spec.rotation.trigger if spec.rotation is not None else ""
    due_at = rotate_at(spec, key_class, current)
    is_due = due_at is not None and due_at <= now
    is_triggered = trigger not in ("", status.handled_trigger)
    replace_at = replace_lost_at(spec, current, secret)
    is_lost = replace_at is not None and replace_at <= now
    return usual if is_triggered or is_due or is_lost else None


def replace_lost_at(spec: KeySpec, current: KeyRecord, secret: SecretView) -> datetime | None:
    """When ``onLoss: Rotate`` replaces the current key, if its Secret is lost.

    A moment after its issue at the earliest: whoever keeps deleting the Secret would have keys minted all the time.
    """
    is_gone = isinstance(secret, Absent) or (isinstance(secret, Ours) and secret.holds != current.id)
    # What is delivered once is meant to go.
    is_lost = is_gone and spec.on_loss is OnLoss.ROTATE and spec.delivery is Delivery.PERSISTENT
    return current.issued_at + PAUSE if is_lost else None


def has_room(status: Status, grace: timedelta) -> bool:
    """Whether another record fits in. One without grace for the others takes the place of those that are Retiring."""
    return grace == timedelta(0) or len(status.keys) < MAX_RECORDS


def handled(spec: KeySpec, status: Status) -> Status:
    """The status with every standing request marked as handled."""
    trigger = spec.rotation.trigger if spec.rotation is not None else ""
    request = spec.rotate_request
    return replace(
        status,
        handled_trigger=trigger or status.handled_trigger,
        handled_rotate_annotation=request.value if request is not None else status.handled_rotate_annotation,
    )


def retire(records: tuple[KeyRecord, ...], ends_at: datetime) -> tuple[KeyRecord, ...]:
    """Records that a new key has replaced: each works until its own end or ``ends_at``, whichever is first."""
    return tuple(
        replace(each, state=RecordState.RETIRING, expires_at=earliest(each.expires_at, ends_at)) for each in records
    )


def without_ended(status: Status, now: datetime) -> Status:
    """The status without replaced keys whose grace period is over."""
    kept = tuple(
        each
        for each in status.keys
        if each.state is not RecordState.RETIRING or each.expires_at is None or each.expires_at > now
    )
    return replace(status, keys=kept)
