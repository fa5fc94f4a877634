"""What is said about an ApiKey: findings for its conditions, its phase, and the events of a transition.

Each function returns the five findings of one situation, so that no situation can leave a condition behind
from another. Messages hold names, ids and fixed instants only: a message that moved with the clock would
cost a write at every look.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from keywright.domain.apikey import InvalidSpec, KeyRecord, KeySpec, Phase, RecordState, Status
from keywright.domain.conditions import Condition, ConditionStatus, ConditionType, Finding, find, settle
from keywright.domain.reasons import Reason
from keywright.domain.times import format_instant
from keywright.domain.usage import still_used

__all__ = [
    "Findings",
    "Note",
    "Problem",
    "Said",
    "conclude",
    "ended",
    "expired",
    "in_progress",
    "is_said",
    "live",
    "notes",
    "revoked",
    "stalled",
]

Findings = tuple[Finding, ...]
Said = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person has to mend; ``message`` names the field or object and the remedy."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """One Event to be emitted."""

    reason: Reason
    message: str
    is_warning: bool = False


def in_progress(message: str) -> Findings:
    """On the way, nothing for a person to do."""
    return _findings(Reason.PENDING, message, ready=ConditionStatus.UNKNOWN)


def stalled(status: Status, problem: Problem) -> Findings:
    """Nothing more happens until a person acts. What was delivered, accepted or announced before stays so, but for
    a key that its class does not allow.
    """
    said = find(status.conditions, ConditionType.ACTIVE)
    is_back = said is not None and said.reason == Reason.CLASS_NOT_ALLOWED and status.current_key_id is not None
    is_barred = status.disallowed_at is not None or status.suspended_at is not None
    is_active = bool(status.keys) and (is_said(status, ConditionType.ACTIVE) or is_back) and not is_barred
    findings = _findings(
        problem.reason,
        problem.message,
        stalled=ConditionStatus.TRUE,
        active=_status(is_active),
        delivered=_status(is_said(status, ConditionType.SECRET_DELIVERED)),
    )
    expiring = find(status.conditions, ConditionType.EXPIRING)
    if expiring is None or expiring.status != ConditionStatus.TRUE:
        return findings
    announced = _finding(ConditionType.EXPIRING, ConditionStatus.TRUE, (Reason.EXPIRES_SOON, expiring.message))
    return tuple(announced if each.type is ConditionType.EXPIRING else each for each in findings)


def live(
    status: Status,
    current: KeyRecord,
    *,
    is_suspended: bool,
    is_expiring: bool,
    problem: Problem | None,
    delivery: Problem | None,
    is_withdrawn: bool = False,
) -> Findings:
    """A delivered key that has neither ended nor been revoked.

    ``Active`` is true when: not suspended, the class exists and allows the key, the hash is ours, the id is not taken.
    ``Stalled`` is true when: there is any problem, of the key or of its delivery. That a key that is delivered once has
    been withdrawn is none.
    """
    refusing = {Reason.CLASS_NOT_FOUND, Reason.CLASS_NOT_ALLOWED, Reason.STATUS_TAMPERED}
    until = "".join(f"; {each}" for each in _replaced(status))
    issued = (Reason.KEY_ISSUED, f"key {current.id} is in place{until}")
    main = (Reason.KEY_SUSPENDED, "spec.suspended is set") if is_suspended else issued
    is_refused = problem is not None and problem.reason in refusing
    worst = problem or delivery
    active = (problem.reason, problem.message) if problem is not None and is_refused else main
    ready = (worst.reason, worst.message) if worst is not None else main
    expiring = issued
    if is_expiring and current.expires_at is not None:
        expiring = (Reason.EXPIRES_SOON, f"key {current.id} ends at {format_instant(current.expires_at)}")
    delivered = (delivery.reason, delivery.message) if delivery is not None else issued
    if is_withdrawn:
        said = f"key {current.id} was delivered once and its Secret {status.secret_name} is gone"
        again = "set spec.rotation.trigger to a new value to have another key delivered"
        delivered = (Reason.SECRET_WITHDRAWN, f"{said}: {again}")
    return (
        _finding(ConditionType.READY, _status(worst is None), ready),
        _finding(ConditionType.ACTIVE, _status(not is_suspended and not is_refused), active),
        _finding(ConditionType.EXPIRING, _status(is_expiring), expiring),
        _finding(ConditionType.STALLED, _status(worst is not None), ready),
        _finding(ConditionType.SECRET_DELIVERED, _status(delivery is None and not is_withdrawn), delivered),
    )


def revoked(spec: KeySpec | InvalidSpec, status: Status) -> Said:
    """Revoked on purpose."""
    assert status.revoked_at is not None
    because = f": {spec.revocation_reason}" if spec.revocation_reason else ""
    return (Reason.KEY_REVOKED, f"revoked at {format_instant(status.revoked_at)}{because}")


def expired(status: Status, ended_at: datetime) -> Said:
    """Past its end. Nothing brings this key back."""
    key = status.current_key_id
    # Without a key the end may be counted from now, and a message must not move with the clock.
    said = f"key {key} ended at {format_instant(ended_at)}" if key else "the end was past before a key was issued"
    return (Reason.KEY_EXPIRED, said)


def ended(said: Said, *, kept_in: str | None) -> Findings:
    """Revoked or past its end: the spec has been enacted, so Ready is true and Active is not."""
    delivered = (Reason.SECRET_WITHDRAWN, said[1])
    if kept_in is not None:
        delivered = (said[0], f"{said[1]}; its Secret {kept_in} is kept (spec.secret.whenInactive)")
    return (
        _finding(ConditionType.READY, ConditionStatus.TRUE, said),
        _finding(ConditionType.ACTIVE, ConditionStatus.FALSE, said),
        _finding(ConditionType.EXPIRING, ConditionStatus.FALSE, said),
        _finding(ConditionType.STALLED, ConditionStatus.FALSE, said),
        _finding(ConditionType.SECRET_DELIVERED, _status(kept_in is not None), delivered),
    )


def is_said(status: Status, condition_type: ConditionType) -> bool:
    """Whether a condition was true at the last write."""
    found = find(status.conditions, condition_type)
    return found is not None and found.status == ConditionStatus.TRUE


def conclude(status: Status, findings: Findings, generation: int, now: datetime) -> Status:
    """The status with its conditions settled and everything derived from them."""
    conditions = settle(status.conditions, findings, generation=generation, now=now)
    return replace(status, observed_generation=generation, conditions=conditions, phase=_phase(conditions))


def notes(before: Status, after: Status) -> Iterator[Note]:
    """The events of a status write. A pass that changes nothing yields none."""
    # What a problem hides for a while in the conditions still is so: these are told by what is recorded.
    if after.current_key_id is not None and before.current_key_id is None:
        # Every issue goes through a Pending record; what has had none was adopted.
        is_issued = before.record(RecordState.PENDING) is not None
        reason = Reason.KEY_ISSUED if is_issued else Reason.SECRET_ADOPTED
        yield Note(reason, f"key {after.current_key_id} is in place")
    yield from _rotation_notes(before, after)
    yield from _life_notes(before, after)
    if (new := _turned(before, after, ConditionType.EXPIRING, on_reason=False)) and new.status == ConditionStatus.TRUE:
        yield Note(Reason.EXPIRES_SOON, new.message, is_warning=True)
    if (new := _turned(before, after, ConditionType.SECRET_DELIVERED, on_reason=False)) and _is_received(new, after):
        yield Note(Reason.SECRET_WITHDRAWN, new.message)
    if (new := _turned(before, after, ConditionType.STALLED)) and new.status == ConditionStatus.TRUE:
        yield Note(Reason(new.reason), new.message, is_warning=True)


def _turned(
    before: Status, after: Status, condition_type: ConditionType, *, on_reason: bool = True
) -> Condition | None:
    """A condition that is news: another status, or another reason."""
    old, new = find(before.conditions, condition_type), find(after.conditions, condition_type)
    if new is None or (old is not None and old.status == new.status and (not on_reason or old.reason == new.reason)):
        return None
    return new


def _life_notes(before: Status, after: Status) -> Iterator[Note]:
    if (new := _turned(before, after, ConditionType.ACTIVE)) and new.reason in (Reason.KEY_REVOKED, Reason.KEY_EXPIRED):
        yield Note(Reason(new.reason), new.message)
    elif before.suspended_at is None and after.suspended_at is not None:
        yield Note(Reason.KEY_SUSPENDED, "spec.suspended is set")
    elif before.suspended_at is not None and after.suspended_at is None:
        yield Note(Reason.KEY_RESUMED, f"key {after.current_key_id} is in place")
    elif before.disallowed_at is not None and after.disallowed_at is None and before.current_key_id is not None:
        yield Note(Reason.KEY_RESUMED, f"the class allows key {after.current_key_id} again")


def _rotation_notes(before: Status, after: Status) -> Iterator[Note]:
    if before.current_key_id not in (None, after.current_key_id):
        ready = find(after.conditions, ConditionType.READY)
        yield Note(Reason.KEY_ROTATED, ready.message if ready is not None else "")
    if news := still_used(after) - still_used(before):
        said = "; ".join(each for each in _replaced(after, only=news))
        yield Note(Reason.OLD_KEY_STILL_USED, f"{said}: have whoever uses it read the Secret again")
    kept = {each.id for each in after.keys}
    for record in before.keys:
        if record.id not in kept and record.state is RecordState.RETIRING:
            yield Note(Reason.GRACE_PERIOD_ENDED, f"replaced key {record.id} is no longer accepted")


def _is_received(delivered: Condition, status: Status) -> bool:
    """Whether a Secret went because it has done its service, and not because its key has ended."""
    active = find(status.conditions, ConditionType.ACTIVE)
    has_ended = active is not None and active.reason in (Reason.KEY_REVOKED, Reason.KEY_EXPIRED)
    return delivered.reason == Reason.SECRET_WITHDRAWN and not has_ended


def _replaced(status: Status, only: Collection[str] = ()) -> Iterator[str]:
    """What is to be said of each replaced key, as of the last use that is recorded."""
    used = still_used(status)
    for each in status.keys:
        if each.state is not RecordState.RETIRING or each.expires_at is None or (only and each.id not in only):
            continue
        still = f", still used at {format_instant(each.last_used_at)}," if each.last_used_at and each.id in used else ""
        yield f"replaced key {each.id}{still} works until {format_instant(each.expires_at)}"


def _findings(
    reason: Reason,
    message: str,
    *,
    ready: ConditionStatus = ConditionStatus.FALSE,
    stalled: ConditionStatus = ConditionStatus.FALSE,
    active: ConditionStatus = ConditionStatus.FALSE,
    delivered: ConditionStatus = ConditionStatus.FALSE,
) -> Findings:
    said = (reason, message)
    return (
        _finding(ConditionType.READY, ready, said),
        _finding(ConditionType.ACTIVE, active, said),
        _finding(ConditionType.EXPIRING, ConditionStatus.FALSE, said),
        _finding(ConditionType.STALLED, stalled, said),
        _finding(ConditionType.SECRET_DELIVERED, delivered, said),
    )


def _finding(condition_type: ConditionType, status: ConditionStatus, said: tuple[Reason, str]) -> Finding:
    return Finding(type=condition_type, status=status, reason=said[0], message=said[1])


def _status(value: bool) -> ConditionStatus:  # noqa: FBT001 - one argument, and it is the point
    return ConditionStatus.TRUE if value else ConditionStatus.FALSE


def _phase(conditions: tuple[Condition, ...]) -> Phase:
    active = find(conditions, ConditionType.ACTIVE)
    assert active is not None
    ended = {
        Reason.KEY_REVOKED: Phase.REVOKED,
        Reason.KEY_EXPIRED: Phase.EXPIRED,
        Reason.KEY_SUSPENDED: Phase.SUSPENDED,
    }
    for reason, phase in ended.items():
        if active.reason == reason:
            return phase
    for condition_type, phase in (
        (ConditionType.STALLED, Phase.FAILED),
        (ConditionType.EXPIRING, Phase.EXPIRING),
    ):
        found = find(conditions, condition_type)
        if found is not None and found.status == ConditionStatus.TRUE:
            return phase
    return Phase.ACTIVE if active.status == ConditionStatus.TRUE else Phase.PENDING
