r"""The life of an ApiKey: given what is asked for and what is there, the one next step.

The state diagram. A box is what verifiers see; an arrow is one write.

::

    (no record) --propose--> Pending --deliver, promote--> Current ---end reached---> Expired (terminal)
        |                    |  ^  ^                        |  |  ^                      ^
        |         take over: |  |  |                        |  |  | spec.suspended       |
        |     fence, propose +--+  +---- rotate: propose ---+  | suspend, resume         |
        |              again                                |  +- same record            |
        |                                                   | promote of the new one     |
        |                                                   v                            |
        |                                               Retiring --grace over--> (gone)  |
        +-- a person has a Secret adopted: claim, adopt --> Current                      |
        +-- born revoked, or past its end: nothing is minted ----------------------------+

    any of them --spec.revoked--> Revoked (terminal)

How a key is minted is :mod:`keywright.domain.minting`, when it is replaced :mod:`keywright.domain.rotation`, what is
said of it :mod:`keywright.domain.standing`. After each step the world is looked at again, so a crash anywhere leaves a
state that :func:`decide` knows.

Expiry and revocation are terminal because they are judged from what is recorded (``expiresAt`` of the record,
``revokedAt``) before the newest spec is consulted.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from keywright.domain import entitlement, policy, report, rotation, usage
from keywright.domain.apikey import InvalidSpec, KeyRecord, KeySpec, RecordState, Status, earliest
from keywright.domain.minting import mint, resume
from keywright.domain.plan import Observed, Plan
from keywright.domain.reasons import Reason
from keywright.domain.report import Problem
from keywright.domain.standing import (
    LOOK_AGAIN,
    find_problem,
    finish,
    first_end,
    is_recorded_as_expired,
    keep,
    write,
)

__all__ = ["decide"]


def decide(spec: KeySpec | InvalidSpec, observed: Observed, now: datetime) -> Plan:
    """Say what to do next for one ApiKey. Pure; raises nothing."""
    if observed.is_deleted:
        # Garbage collection removes the Secret (invariant 6). Nothing is minted into a leaving object.
        return Plan()
    if isinstance(spec, InvalidSpec):
        return _decide_unread(spec, observed, now)
    status = usage.fold(_with_ends(spec, observed, now), observed.uses, now)
    if spec.revoked or status.revoked_at is not None:
        return _revoke(spec, observed, status, now)
    if not policy.can_judge(observed):
        return _await_namespace(observed, status, now)
    status = rotation.without_ended(status, now)
    current = status.record(RecordState.CURRENT)
    pending = status.record(RecordState.PENDING)
    if pending is not None:
        return resume(spec, observed, status, pending, now)
    if current is None:
        return mint(spec, observed, status, now)
    if _rotation_is_due(spec, observed, status, current, now):
        return mint(spec, observed, status, now)
    return keep(spec, observed, status, current, now)


def _await_namespace(observed: Observed, status: Status, now: datetime) -> Plan:
    """The labels of a new namespace may be a moment late. Until they are known its keys stay as they are, but for an
    end that came nearer.
    """
    look_again = now + LOOK_AGAIN
    if observed.status.keys:
        return Plan(status=status if status != observed.status else None, wake_at=look_again)
    waiting = report.in_progress("waiting to learn the labels of the namespace, which the class asks for")
    return write(observed, policy.pin_class(observed, observed.status), waiting, now, wake_at=look_again)


def _decide_unread(spec: InvalidSpec, observed: Observed, now: datetime) -> Plan:
    """A spec that cannot be read changes nothing about a key but what it says; ends still come."""
    status = rotation.without_ended(usage.fold(observed.status, observed.uses, now), now)
    if spec.revoked or status.revoked_at is not None:
        return _revoke(spec, observed, status, now)
    current = status.record(RecordState.CURRENT)
    if current is not None and current.expires_at is not None and current.expires_at <= now:
        return finish(spec, observed, status, report.expired(status, current.expires_at), now)
    status = policy.pin_class(observed, status)
    status, problem = _bar_unread(observed, status, Problem(Reason.INVALID_SPEC, spec.message), now)
    return write(observed, status, report.stalled(status, problem), now, wake_at=first_end(status, now))


def _bar_unread(observed: Observed, status: Status, problem: Problem, now: datetime) -> tuple[Status, Problem]:
    """What the class forbids altogether is forbidden to a key with a broken spec too."""
    key_class, effective = observed.key_class, status.effective
    if key_class is None or effective is None or not policy.can_judge(observed):
        return status, problem
    denial = entitlement.bar(effective.owner, key_class, observed.namespace_labels, effective)
    if denial is None:
        return replace(status, disallowed_at=None), problem
    return replace(status, disallowed_at=status.disallowed_at or now), Problem(denial.reason, denial.message)


def _revoke(spec: KeySpec | InvalidSpec, observed: Observed, status: Status, now: datetime) -> Plan:
    revoked = replace(status, revoked_at=status.revoked_at or now)
    return finish(spec, observed, revoked, report.revoked(spec, revoked), now)


def _with_ends(spec: KeySpec, observed: Observed, now: datetime) -> Status:
    """The status with the end of each record as the newest spec and class have it. What restricts acts
    always; what widens acts only while the class accepts the spec, and never on a record that has ended or
    is retiring.
    """
    records = []
    for record in observed.status.keys:
        has_ended = is_recorded_as_expired(observed, record)
        if record.expires_at is not None and (record.expires_at <= now or has_ended):
            records.append(record)
            continue
        verdict = policy.judge_observed(spec, observed, record.issued_at, record)
        match verdict:
            case policy.Accepted(ends_at) if record.state is not RecordState.RETIRING:
                pass
            case policy.Accepted(accepted):
                ends_at = earliest(record.expires_at, accepted)
            case policy.Refused(cap=cap):
                ends_at = earliest(record.expires_at, cap)
            case _:
                assert_never(verdict)
        records.append(replace(record, expires_at=ends_at))
    return replace(observed.status, keys=tuple(records))


def _rotation_is_due(spec: KeySpec, observed: Observed, status: Status, current: KeyRecord, now: datetime) -> bool:
    if observed.key_class is None or spec.suspended:
        return False
    if is_recorded_as_expired(observed, current):
        return False
    has_ended = current.expires_at is not None and current.expires_at <= now
    lives = policy.lifetime(spec, observed.key_class)
    # What ended an ApiKey as a whole is not undone by a rotation; a lifetime only ended this key.
    if has_ended and (lives is None or current.expires_at != current.issued_at + lives):
        return False
    grace = rotation.requested_grace(spec, observed.key_class, status, current, observed.secret, now)
    # What is recorded is what the Pending record is added to: keys that have ended are taken out of it first.
    return (
        grace is not None
        and rotation.has_room(observed.status, grace)
        and find_problem(spec, observed, current) is None
    )
