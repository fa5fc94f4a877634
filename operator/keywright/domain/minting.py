"""Issuing and rotating: the three steps of the write order, begun, resumed, or taken over.

* (a) :func:`propose` records the hash as Pending; (b) the Secret is written; (c) the record becomes Current.
* A Pending whose key lies in our Secret is promoted, whoever wrote it.
* A Pending younger than :data:`keywright.domain.plan.WRITER_PATIENCE` belongs to its writer and is left alone.
* An older one was abandoned: the Secret is fenced first, so that a slow writer's delivery conflicts, and the record is
  replaced in one write. See docs/decisions/0001.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from keywright.domain import adoption, policy, report, rotation, secret_problems
from keywright.domain.apikey import KeyRecord, KeySpec, RecordState, Status, earliest
from keywright.domain.conditions import ConditionType, find
from keywright.domain.delivery import Absent, Awaited, Foreign, Ours, SecretFacts
from keywright.domain.plainkey import mask
from keywright.domain.plan import WRITER_PATIENCE, Deliver, Fence, Observed, Plan, Propose
from keywright.domain.report import Problem
from keywright.domain.standing import LOOK_AGAIN, finish, first_end, keep, stand, write

__all__ = ["mint", "propose", "resume"]

AWAIT_COLLECTION = timedelta(seconds=5)
AWAIT_LONGER = timedelta(minutes=5)
COLLECTION_TAKES = timedelta(minutes=3)


def propose(spec: KeySpec, observed: Observed, minted: KeyRecord) -> Status:
    """The status that records ``minted`` as Pending (step a), for the class that :class:`Propose` named.

    A rotation leaves the other records and what is said about them as they are, but for one without any
    grace: that is an emergency, and ends them here.
    """
    now = minted.issued_at
    status, key_class = observed.status, observed.key_class
    assert key_class is not None
    verdict = policy.judge_observed(spec, observed, now)
    older = tuple(each for each in status.keys if each.state is not RecordState.PENDING)
    current = status.record(RecordState.CURRENT)
    abandoned = status.record(RecordState.PENDING)
    grace = abandoned.grace_period if abandoned is not None else None
    if current is not None:
        requested = rotation.requested_grace(spec, key_class, status, current, observed.secret, now)
        # A newer request wins over the one that was under way.
        grace = requested if requested is not None else grace
        if grace == timedelta(0):
            older = (replace(current, expires_at=earliest(current.expires_at, now)),)
    record = replace(
        minted,
        state=RecordState.PENDING,
        expires_at=verdict.ends_at if isinstance(verdict, policy.Accepted) else verdict.cap,
        grace_period=grace,
    )
    proposed = rotation.handled(
        spec,
        replace(
            # What the key may do counts from its first instant.
            policy.enact(spec, observed, status, verdict, now),
            keys=(*older, record),
            class_name=key_class.name,
            # A Secret that is gone is replaced by one that has no UID yet.
            secret_uid=status.secret_uid if isinstance(observed.secret, Ours) else None,
            # Made with the key: by the time it is delivered its class may be gone.
            masked_key=status.masked_key if current is not None else mask(key_class.prefix, minted.id),
        ),
    )
    if current is not None and grace != timedelta(0):
        return proposed
    return report.conclude(proposed, report.in_progress("the key is being delivered"), observed.generation, now)


def mint(spec: KeySpec, observed: Observed, status: Status, now: datetime) -> Plan:
    """Begin an issue or a rotation, or say why it cannot begin."""
    status = policy.pin_class(observed, status)
    current, pending = status.record(RecordState.CURRENT), status.record(RecordState.PENDING)
    verdict = policy.judge_observed(spec, observed, now)
    if current is not None and not _may_deliver(observed, verdict, now):
        return keep(spec, observed, _without_undeliverable(observed, status), current, now)
    if isinstance(verdict, policy.Refused):
        # A Pending may have been delivered and lost again: whoever read it holds a key that verifiers accept.
        status = policy.enact(spec, observed, status, verdict, now)
        findings = report.stalled(status, Problem(verdict.reason, verdict.message))
        return write(observed, status, findings, now, wake_at=earliest(first_end(status, now), verdict.lapses_at))
    if verdict.ends_at is not None and verdict.ends_at <= now:
        # Born past its end, or abandoned until then. A Pending stays, because its writer may only be slow: what
        # it delivers yet is recognised by that record and withdrawn.
        ended = replace(status, class_name=observed.key_class.name if observed.key_class else None)
        return finish(spec, observed, ended, report.expired(ended, verdict.ends_at), now)
    match observed.secret:
        case Foreign(facts):
            return _leave_or_adopt(spec, observed, status, facts, now)
        case Awaited():
            return _await(spec, observed, status, now)
        case Absent() | Ours() as secret:
            if pending is not None and not observed.has_fenced:
                return Plan(action=Fence(secret if isinstance(secret, Ours) else None))
            assert observed.key_class is not None
            return Plan(action=Propose(observed.key_class))
        case _:
            assert_never(observed.secret)


def _leave_or_adopt(spec: KeySpec, observed: Observed, status: Status, facts: SecretFacts, now: datetime) -> Plan:
    undelivered = _without_undeliverable(observed, status)
    # Another class may have been pinned meanwhile, so it is judged by what has been recorded.
    match adoption.examine(spec, replace(observed, status=status), facts, now):
        case None:
            return Plan(wake_at=now + AWAIT_COLLECTION)
        case Problem() as problem:
            findings = report.stalled(undelivered, problem)
            return write(observed, undelivered, findings, now, wake_at=now + LOOK_AGAIN)
        case step:
            return Plan(action=step)


def _await(spec: KeySpec, observed: Observed, status: Status, now: datetime) -> Plan:
    """Wait for a Secret that is on its way out, ever more patiently, and say so when it takes too long."""
    said = find(status.conditions, ConditionType.SECRET_DELIVERED)
    since = said.last_transition_at if said is not None else now
    tells_at = since + COLLECTION_TAKES
    if now >= tells_at:
        findings = report.stalled(status, secret_problems.held(spec.secret_name))
        return write(observed, status, findings, now, wake_at=now + AWAIT_LONGER)
    waiting = report.in_progress(
        f"waiting for garbage collection of the Secret {spec.secret_name} of a deleted ApiKey of this name"
    )
    return write(observed, status, waiting, now, wake_at=min(now + max(AWAIT_COLLECTION, now - since), tells_at))


def _without_undeliverable(observed: Observed, status: Status) -> Status:
    """Drop a Pending whose writer, however slow, can only meet a conflict: somebody else's Secret is in its place."""
    if not isinstance(observed.secret, Foreign):
        return status
    return replace(status, keys=tuple(each for each in status.keys if each.state is not RecordState.PENDING))


def resume(spec: KeySpec, observed: Observed, status: Status, pending: KeyRecord, now: datetime) -> Plan:
    """Go on with an issue that has begun, by this pass or another, or take it over once it counts as abandoned."""
    secret = observed.secret
    if isinstance(secret, Ours) and secret.holds == pending.id:
        return _promote(spec, observed, status, pending, secret, now)
    if observed.held == pending.id and isinstance(secret, Absent | Ours):
        return Plan(action=Deliver(secret if isinstance(secret, Ours) else None))
    if observed.held is None and now < (patience := pending.issued_at + WRITER_PATIENCE):
        return Plan(wake_at=patience)
    return mint(spec, observed, status, now)


def _may_deliver(observed: Observed, verdict: policy.Accepted | policy.Refused, now: datetime) -> bool:
    """Whether a rotation can go on; if not, the current key is kept and the trouble is reported with it."""
    return (
        isinstance(verdict, policy.Accepted)
        and (verdict.ends_at is None or verdict.ends_at > now)
        and isinstance(observed.secret, Absent | Ours)
    )


def _promote(
    spec: KeySpec, observed: Observed, status: Status, pending: KeyRecord, secret: Ours, now: datetime
) -> Plan:
    current = replace(pending, state=RecordState.CURRENT, grace_period=None)
    older = tuple(each for each in status.keys if each.id != pending.id)
    retiring = rotation.retire(older, now + (pending.grace_period or timedelta(0)))
    promoted = replace(
        status,
        keys=(*retiring, current),
        current_key_id=current.id,
        issued_at=status.issued_at or current.issued_at,
        secret_name=spec.secret_name,
        secret_uid=secret.uid,
    )
    return stand(spec, replace(observed, secret=secret), rotation.without_ended(promoted, now), current, now)
