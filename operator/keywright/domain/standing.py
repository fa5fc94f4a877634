"""How a key stands when nothing is to be minted: what is said of it, what is wrong, when to look again."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from keywright.domain import hashing, policy, report, rotation, secret_problems
from keywright.domain.apikey import (
    ENDED,
    Delivery,
    InvalidSpec,
    KeyRecord,
    KeySpec,
    Phase,
    RecordState,
    Status,
    WhenInactive,
    earliest,
)
from keywright.domain.conditions import ConditionType
from keywright.domain.delivery import Absent, Awaited, Foreign, Ours
from keywright.domain.plainkey import mask
from keywright.domain.plan import Observed, Plan, Render, Withdraw
from keywright.domain.reasons import Reason
from keywright.domain.report import Problem
from keywright.domain.times import format_instant

__all__ = ["LOOK_AGAIN", "find_problem", "finish", "first_end", "is_recorded_as_expired", "keep", "stand", "write"]

# A foreign Secret carries no label of ours, so no watch tells when it goes.
LOOK_AGAIN = timedelta(seconds=30)
LOOK_LATER = timedelta(minutes=5)


def keep(spec: KeySpec, observed: Observed, status: Status, current: KeyRecord, now: datetime) -> Plan:
    """Nothing is to be minted: put the Secret right, then say how the current key stands, and when to look again.

    The Secret comes first because what is recorded is which version of it is right.
    """
    secret = observed.secret
    if not _has_ended(observed, current, now) and isinstance(secret, Ours) and _may_change_secret(observed):
        if spec.delivery is Delivery.ONCE and _is_received(spec, secret, current, now):
            return Plan(action=Withdraw(secret.uid, secret.resource_version))
        if secret.holds == current.id and not secret.is_rendered and not observed.is_resting:
            return Plan(action=Render(secret))
    return stand(spec, observed, status, current, now)


def stand(spec: KeySpec, observed: Observed, status: Status, current: KeyRecord, now: datetime) -> Plan:
    """Say how the current key stands, and when to look again."""
    if current.expires_at is not None and _has_ended(observed, current, now):
        ended = replace(status, expires_at=current.expires_at, rotate_at=None)
        return finish(spec, observed, ended, report.expired(ended, current.expires_at), now)
    rotate_at = rotation.rotate_at(spec, observed.key_class, current) if observed.key_class is not None else None
    warn_at = _warn_at(observed, current, rotate_at)
    status = replace(
        policy.enact(spec, observed, status, policy.judge_observed(spec, observed, current.issued_at), now),
        suspended_at=(status.suspended_at or now) if spec.suspended else None,
        expires_at=current.expires_at,
        rotate_at=rotate_at,
        masked_key=_masked_key(observed, status, current),
    )
    is_expiring = warn_at is not None and warn_at <= now
    if observed.key_class is None:
        # Nothing says any more when to warn, and a warning that was given stays true.
        is_expiring = current.expires_at is not None and report.is_said(status, ConditionType.EXPIRING)
    problem = find_problem(spec, observed, current) or _overflow(spec, observed, status, current, now)
    is_once = spec.delivery is Delivery.ONCE
    findings = report.live(
        status,
        current,
        is_suspended=spec.suspended,
        is_expiring=is_expiring,
        problem=problem,
        delivery=_delivery_problem(spec, observed, current),
        is_withdrawn=is_once and isinstance(observed.secret, Absent | Awaited),
    )
    remove_at = current.issued_at + spec.remove_after if is_once and isinstance(observed.secret, Ours) else None
    replace_at = rotation.replace_lost_at(spec, current, observed.secret)
    due = (warn_at, rotate_at, remove_at, replace_at, first_end(status, now))
    ahead = [at for at in due if at is not None and at > now]
    return write(observed, status, findings, now, wake_at=earliest(*ahead, _look_again(observed, now)))


def finish(spec: KeySpec | InvalidSpec, observed: Observed, status: Status, said: report.Said, now: datetime) -> Plan:
    """Record the end first, then take the Secret away: a crash in between leaves a refused key in it."""
    current, secret = status.record(RecordState.CURRENT), observed.secret
    keeps = spec.when_inactive is WhenInactive.KEEP and current is not None
    is_kept = keeps and current is not None and isinstance(secret, Ours) and secret.holds == current.id
    findings = report.ended(said, kept_in=status.secret_name if is_kept else None)
    # No version is to be remembered of a Secret that goes, or of one that does not say yet that its key has ended.
    leaves = observed if keeps and observed.status.phase in ENDED else replace(observed, secret=Absent())
    plan = write(leaves, replace(status, suspended_at=None, disallowed_at=None), findings, now)
    if not isinstance(secret, Ours) or not _may_change_secret(observed):
        return plan
    if not keeps:
        return replace(plan, action=Withdraw(secret.uid))
    is_to_change = is_kept and not secret.is_rendered and not observed.is_resting
    return replace(plan, action=Render(secret)) if is_to_change else plan


def write(
    observed: Observed,
    status: Status,
    findings: report.Findings,
    now: datetime,
    *,
    wake_at: datetime | None = None,
) -> Plan:
    """Conclude. The version of the Secret alone is no reason for a write, unless none is known at all: others may touch
    the Secret as often as they like.
    """
    before = observed.status
    status = replace(status, secret_resource_version=before.secret_resource_version)
    concluded = report.conclude(status, findings, observed.generation, now)
    version = _right_version(observed, status)
    if concluded == before and (version is None or before.secret_resource_version is not None):
        return Plan(wake_at=wake_at)
    return Plan(status=replace(concluded, secret_resource_version=version), wake_at=wake_at)


def _right_version(observed: Observed, status: Status) -> str | None:
    """The version of our Secret, if it is as it should be."""
    secret = observed.secret
    if isinstance(secret, Ours) and secret.is_right(status.current_key_id) and not observed.is_refused:
        return secret.resource_version
    return None


def _may_change_secret(observed: Observed) -> bool:
    """Whether our Secret is ours to change: a copy of a status names the Secret of the older ApiKey."""
    return not observed.is_refused and observed.duplicate_of is None


def _has_ended(observed: Observed, current: KeyRecord, now: datetime) -> bool:
    return current.expires_at is not None and (current.expires_at <= now or is_recorded_as_expired(observed, current))


def _is_received(spec: KeySpec, secret: Ours, current: KeyRecord, now: datetime) -> bool:
    """Whether a Secret that is delivered once has done its service: acknowledged, emptied, or there for too long."""
    return (
        secret.acknowledged == current.id or secret.holds != current.id or current.issued_at + spec.remove_after <= now
    )


def _look_again(observed: Observed, now: datetime) -> datetime | None:
    """When to look without being told: what carries no label of ours goes unnoticed by the watch."""
    match observed.secret:
        case Foreign():
            return now + LOOK_AGAIN
        case Awaited():
            return now + LOOK_LATER
        case _:
            return None


def _masked_key(observed: Observed, status: Status, current: KeyRecord) -> str | None:
    """A class that was made anew may have another prefix than the key."""
    says_so = status.masked_key is not None and f"_{current.id}_" in status.masked_key
    return status.masked_key if says_so or observed.key_class is None else mask(observed.key_class.prefix, current.id)


def is_recorded_as_expired(observed: Observed, record: KeyRecord) -> bool:
    """Whether the end of this record has been recorded: no clock that steps back undoes that."""
    return observed.status.phase is Phase.EXPIRED and record.id == observed.status.current_key_id


def first_end(status: Status, now: datetime) -> datetime | None:
    """The first end that is still ahead."""
    return earliest(*(each.expires_at for each in status.keys if each.expires_at is not None and each.expires_at > now))


def find_problem(spec: KeySpec, observed: Observed, current: KeyRecord) -> Problem | None:
    """What is wrong with a live key apart from its delivery, worst first."""
    if not hashing.is_trustworthy(current.hash):
        return Problem(
            Reason.STATUS_TAMPERED,
            f"the hash of key {current.id} in status was not written by the operator: verifiers refuse the key; "
            "find out who may write apikeys/status, then replace this ApiKey by a new one",
        )
    if observed.duplicate_of is not None:
        return Problem(
            Reason.STATUS_TAMPERED,
            f"the older ApiKey {observed.duplicate_of} has the same key id {current.id}: verifiers accept only "
            "that one; delete this ApiKey and make a new one",
        )
    verdict = policy.judge_observed(spec, observed, current.issued_at)
    return Problem(verdict.reason, verdict.message) if isinstance(verdict, policy.Refused) else None


def _warn_at(observed: Observed, current: KeyRecord, rotate_at: datetime | None) -> datetime | None:
    """When the end of the current key becomes news: not if it will have been replaced by then."""
    if current.expires_at is None or observed.key_class is None:
        return None
    if rotate_at is not None and rotate_at < current.expires_at:
        return None
    return max(current.expires_at - observed.key_class.warn_before, current.issued_at)


def _overflow(spec: KeySpec, observed: Observed, status: Status, current: KeyRecord, now: datetime) -> Problem | None:
    if len(status.keys) < rotation.MAX_RECORDS or observed.key_class is None:
        return None
    grace = rotation.requested_grace(spec, observed.key_class, status, current, observed.secret, now)
    if grace is None or rotation.has_room(status, grace):
        return None
    next_end = first_end(status, now)
    return Problem(
        Reason.INVALID_SPEC,
        f"{rotation.MAX_RECORDS} keys of this ApiKey are still accepted, so it cannot be rotated before "
        f"{format_instant(next_end) if next_end is not None else 'one is revoked'}: rotate less often, or with a "
        "shorter gracePeriod",
    )


def _delivery_problem(spec: KeySpec, observed: Observed, current: KeyRecord) -> Problem | None:
    match observed.secret:
        case Ours(holds=holds) if spec.delivery is not Delivery.ONCE and holds != current.id:
            return secret_problems.emptied(spec.secret_name, spec.secret_key)
        case Ours():
            return secret_problems.refused(spec.secret_name) if observed.is_refused else None
        case Foreign():
            return secret_problems.conflict(spec.secret_name)
        case Absent() | Awaited():
            return secret_problems.missing(spec.secret_name) if spec.delivery is not Delivery.ONCE else None
        case _:
            assert_never(observed.secret)
