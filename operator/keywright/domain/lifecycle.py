r"""The life of an ApiKey: given what is asked for and what is there, the one next step.

The state diagram. A box is what verifiers see; an arrow is one write.

::

    (no record) --propose--> Pending --deliver, promote--> Current ---end reached---> Expired (terminal)
        |                      |  ^                         |   ^                        ^
        |                      +--+ take over: fence,       |   | spec.suspended         |
        |                           propose again        suspend, resume: same record    |
        +-- born revoked, or past its end: nothing is minted, straight to the right -----+
                                                            |
                                                 spec.revoked (any state) --> Revoked (terminal)

The order of an issue is (a) a Pending record with the hash, (b) the Secret, (c) Pending becomes Current. After
each step the world is looked at again, so a crash anywhere leaves a state that :func:`decide` knows:

* a Pending whose key lies in our Secret is promoted, whoever wrote it;
* a Pending younger than :data:`WRITER_PATIENCE` belongs to its writer and is left alone;
* an older one was abandoned: the Secret is fenced first, so that a slow writer's delivery conflicts, and the
  record is replaced in one write.

Expiry and revocation are terminal because they are judged from what is recorded (``expiresAt`` of the record,
``revokedAt``) before the newest spec is consulted. See docs/decisions/0001 for the write order.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from keywright.domain import hashing, policy, report
from keywright.domain.apikey import InvalidSpec, KeyRecord, KeySpec, Phase, RecordState, Status, earliest
from keywright.domain.delivery import Absent, Awaited, Foreign, Ours, SecretView
from keywright.domain.keyclass import KeyClass
from keywright.domain.plainkey import mask
from keywright.domain.reasons import Reason
from keywright.domain.report import Problem

__all__ = [
    "WRITER_PATIENCE",
    "Action",
    "Deliver",
    "Fence",
    "Observed",
    "Plan",
    "Propose",
    "Withdraw",
    "decide",
    "propose",
]

WRITER_PATIENCE = timedelta(seconds=15)
AWAIT_COLLECTION = timedelta(seconds=2)
CONFLICT_RECHECK = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was found, gathered in one value. ``held`` and ``has_fenced`` say what this very pass has done:
    the id of the Pending record whose plain key it holds, and whether it has fenced the Secret it sees.
    """

    generation: int
    is_deleted: bool = False
    key_class: KeyClass | None
    status: Status
    secret: SecretView
    held: str | None = None
    has_fenced: bool = False
    duplicate_of: str | None = None


@dataclass(frozen=True, slots=True)
class Propose:
    """(a) Mint a plain key and record its hash as Pending, instead of any Pending there was."""

    key_class: KeyClass


@dataclass(frozen=True, slots=True)
class Deliver:
    """(b) Put the held plain key into the Secret: create it, or update exactly the version that was read."""

    into: Ours | None


@dataclass(frozen=True, slots=True)
class Fence:
    """Make any other writer's delivery conflict: create the Secret empty, or touch the version that was read."""

    touch: Ours | None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Remove our Secret, and only the one with this UID."""

    uid: str


Action = Propose | Deliver | Fence | Withdraw


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next step. ``status`` (if it differs) is written before ``action`` is taken; ``wake_at`` is when
    the passing of time alone calls for another look. Neither status nor action: nothing is to be done.
    """

    status: Status | None = None
    action: Action | None = None
    wake_at: datetime | None = None

    @property
    def is_noop(self) -> bool:
        return self.status is None and self.action is None


def decide(spec: KeySpec | InvalidSpec, observed: Observed, now: datetime) -> Plan:
    """Say what to do next for one ApiKey. Pure; raises nothing."""
    if observed.is_deleted:
        # Garbage collection removes the Secret (invariant 6). Nothing is minted into a leaving object.
        return Plan()
    if isinstance(spec, InvalidSpec):
        return _decide_unread(spec, observed, now)
    status = _with_ends(spec, observed, now)
    current = status.record(RecordState.CURRENT)
    if spec.revoked or status.revoked_at is not None:
        revoked = replace(status, revoked_at=status.revoked_at or now)
        return _end(observed, revoked, report.revoked(spec, revoked), now)
    if current is not None:
        if current.expires_at is not None and (current.expires_at <= now or _is_recorded_as_expired(status)):
            return _end(observed, status, report.expired(status, current.expires_at), now)
        return _keep(spec, observed, status, current, now)
    return _issue(spec, observed, status, now)


def _decide_unread(spec: InvalidSpec, observed: Observed, now: datetime) -> Plan:
    """A spec that cannot be read changes nothing about a key but what it says; ends still come."""
    status = observed.status
    if status.revoked_at is not None:
        return Plan()
    current = status.record(RecordState.CURRENT)
    ends_at = current.expires_at if current is not None else None
    if ends_at is not None and ends_at <= now:
        return _end(observed, status, report.expired(status, ends_at), now)
    findings = report.stalled(status, Problem(Reason.INVALID_SPEC, spec.message))
    return _write(observed, status, findings, now, wake_at=ends_at)


def propose(spec: KeySpec, observed: Observed, minted: KeyRecord) -> Status:
    """The status that records ``minted`` as Pending (step a), for the class that :class:`Propose` named."""
    key_class = observed.key_class
    verdict = policy.judge(spec, key_class, minted.issued_at)
    record = replace(minted, state=RecordState.PENDING, expires_at=_accepted_end(verdict))
    status = replace(
        observed.status,
        keys=(record,),
        class_name=key_class.name if key_class is not None else observed.status.class_name,
        # Made with the key: by the time it is delivered its class may be gone.
        masked_key=mask(key_class.prefix, minted.id) if key_class is not None else None,
    )
    return report.conclude(
        status, report.in_progress("the key is being delivered"), observed.generation, minted.issued_at
    )


def _accepted_end(verdict: policy.Accepted | policy.Refused) -> datetime | None:
    return verdict.ends_at if isinstance(verdict, policy.Accepted) else verdict.cap


def _with_ends(spec: KeySpec, observed: Observed, now: datetime) -> Status:
    """The status with the end of each record as the newest spec and class have it. What restricts acts
    always; what widens acts only while the class accepts the spec and the record has not ended.
    """
    records = []
    for record in observed.status.keys:
        has_ended = _is_recorded_as_expired(observed.status) and record.state is RecordState.CURRENT
        if record.expires_at is not None and (record.expires_at <= now or has_ended):
            records.append(record)
            continue
        verdict = policy.judge(spec, observed.key_class, record.issued_at)
        match verdict:
            case policy.Accepted(ends_at):
                pass
            case policy.Refused(cap=cap):
                ends_at = earliest(record.expires_at, cap)
            case _:
                assert_never(verdict)
        records.append(replace(record, expires_at=ends_at))
    return replace(observed.status, keys=tuple(records))


def _is_recorded_as_expired(status: Status) -> bool:
    """The end has been recorded and the Secret withdrawn: no clock that steps back undoes that."""
    return status.phase is Phase.EXPIRED


def _issue(spec: KeySpec, observed: Observed, status: Status, now: datetime) -> Plan:
    pending = status.record(RecordState.PENDING)
    if pending is not None and (plan := _resume(spec, observed, status, pending, now)) is not None:
        return plan
    secret = observed.secret
    verdict = policy.judge(spec, observed.key_class, now)
    if isinstance(verdict, policy.Refused):
        findings = report.stalled(status, Problem(verdict.reason, verdict.message))
        return _write(observed, status, findings, now)
    if verdict.ends_at is not None and verdict.ends_at <= now:
        # Born past its end, or abandoned until then. A Pending stays, because its writer may only be slow: what
        # it delivers yet is recognised by that record and withdrawn.
        ended = replace(status, class_name=observed.key_class.name if observed.key_class else None)
        return _end(observed, ended, report.expired(ended, verdict.ends_at), now)
    match secret:
        case Foreign():
            undelivered = replace(status, keys=())
            findings = report.stalled(undelivered, report.secret_conflict(spec.secret_name))
            # No watch shows that a Secret without our label has gone, and removing it is the remedy.
            return _write(observed, undelivered, findings, now, wake_at=now + CONFLICT_RECHECK)
        case Awaited():
            waiting = report.in_progress(
                f"waiting for garbage collection of the Secret {spec.secret_name} of a deleted ApiKey of this name"
            )
            return _write(observed, status, waiting, now, wake_at=now + AWAIT_COLLECTION)
        case Absent() | Ours():
            if pending is not None and not observed.has_fenced:
                return Plan(action=Fence(secret if isinstance(secret, Ours) else None))
            assert observed.key_class is not None
            return Plan(action=Propose(observed.key_class))
        case _:
            assert_never(secret)


def _resume(spec: KeySpec, observed: Observed, status: Status, pending: KeyRecord, now: datetime) -> Plan | None:
    """Go on with an issue that has begun, by this pass or another; ``None`` once it counts as abandoned."""
    secret = observed.secret
    if isinstance(secret, Ours) and secret.holds == pending.id:
        return _promote(spec, observed, status, pending, secret, now)
    if observed.held == pending.id and isinstance(secret, Absent | Ours):
        return Plan(action=Deliver(secret if isinstance(secret, Ours) else None))
    if observed.held is None and now < (patience := pending.issued_at + WRITER_PATIENCE):
        return Plan(wake_at=patience)
    return None


def _promote(
    spec: KeySpec, observed: Observed, status: Status, pending: KeyRecord, secret: Ours, now: datetime
) -> Plan:
    current = replace(pending, state=RecordState.CURRENT)
    promoted = replace(
        status,
        keys=(current,),
        current_key_id=current.id,
        issued_at=current.issued_at,
        secret_name=spec.secret_name,
        secret_uid=secret.uid,
    )
    observed = replace(observed, secret=secret)
    if current.expires_at is not None and current.expires_at <= now:
        ended = replace(promoted, expires_at=current.expires_at)
        return _end(observed, ended, report.expired(ended, current.expires_at), now)
    return _keep(spec, observed, promoted, current, now)


def _keep(spec: KeySpec, observed: Observed, status: Status, current: KeyRecord, now: datetime) -> Plan:
    suspended_at = (status.suspended_at or now) if spec.suspended else None
    status = replace(status, suspended_at=suspended_at, expires_at=current.expires_at)
    warn_at = None
    if current.expires_at is not None and observed.key_class is not None:
        warn_at = max(current.expires_at - observed.key_class.warn_before, current.issued_at)
    is_expiring = warn_at is not None and warn_at <= now
    problem = _problem(spec, observed, current)
    delivery = _delivery_problem(spec, observed)
    findings = report.live(
        current, is_suspended=spec.suspended, is_expiring=is_expiring, problem=problem, delivery=delivery
    )
    wake_at = current.expires_at if is_expiring or warn_at is None else warn_at
    return _write(observed, status, findings, now, wake_at=wake_at)


def _problem(spec: KeySpec, observed: Observed, current: KeyRecord) -> Problem | None:
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
    verdict = policy.judge(spec, observed.key_class, current.issued_at)
    return Problem(verdict.reason, verdict.message) if isinstance(verdict, policy.Refused) else None


def _delivery_problem(spec: KeySpec, observed: Observed) -> Problem | None:
    match observed.secret:
        case Ours():
            return None
        case Foreign():
            return report.secret_conflict(spec.secret_name)
        case Absent() | Awaited():
            return report.secret_missing(spec.secret_name)
        case _:
            assert_never(observed.secret)


def _end(observed: Observed, status: Status, findings: report.Findings, now: datetime) -> Plan:
    """Record the end first, then take the Secret away: a crash in between leaves a refused key in it."""
    plan = _write(observed, replace(status, suspended_at=None), findings, now)
    if isinstance(observed.secret, Ours):
        return replace(plan, action=Withdraw(observed.secret.uid))
    return plan


def _write(
    observed: Observed,
    status: Status,
    findings: report.Findings,
    now: datetime,
    *,
    wake_at: datetime | None = None,
) -> Plan:
    concluded = report.conclude(status, findings, observed.generation, now)
    return Plan(status=None if concluded == observed.status else concluded, wake_at=wake_at)
