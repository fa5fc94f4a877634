"""After a restore: an ApiKey that lost its status takes over the Secret of its name, instead of a new key.

What is in a Secret proves nothing by itself: whoever may write Secrets could plant a key that he knows. So a person
with the verb ``adopt`` names the Secret's UID in an annotation of the ApiKey, and everything else has to fit as well.

* First the Secret is marked with who adopts it (:class:`keywright.domain.plan.Claim`), at exactly the version that was
  read. Then its key is recorded as Current (:class:`keywright.domain.plan.Adopt`). A crash in between leaves a mark
  that only the same ApiKey goes on from.
* The mark stays. An annotation that was left standing in git does not bring back a key that somebody ended by deleting
  the ApiKey: the next ApiKey of the name has another UID. The mark names the Secret's UID too, because a backup carries
  marks along, and what is restored from it is another Secret.
"""

from dataclasses import replace
from datetime import datetime

from keywright.domain import policy, rotation, secret_problems
from keywright.domain.apikey import KeyRecord, KeySpec, RecordState, Status
from keywright.domain.delivery import (
    ADOPTED_ANNOTATION,
    ENDED_ANNOTATION,
    ISSUED_ANNOTATION,
    SECRET_TYPE,
    Ours,
    OwnerReference,
    SecretFacts,
    labels_for,
)
from keywright.domain.keyclass import KeyClass
from keywright.domain.plainkey import mask
from keywright.domain.plan import Adopt, Claim, Observed
from keywright.domain.report import Problem
from keywright.domain.standing import stand
from keywright.domain.times import format_instant, parse_instant

__all__ = ["adopt", "examine", "issued_at", "mark"]


def examine(spec: KeySpec, observed: Observed, facts: SecretFacts, now: datetime) -> Claim | Adopt | Problem | None:
    """The next step towards adopting somebody's Secret, or why it is left alone; ``None``: it cannot be told yet."""
    name, key_class = spec.secret_name, observed.key_class
    assert key_class is not None
    if _has_held_keys(observed.status):
        return secret_problems.conflict(name)
    if misfit := _find_misfit(facts, observed.owner, key_class):
        return secret_problems.conflict(name, f"; it cannot be adopted, because {misfit}" if spec.adopt_secret else "")
    marked = facts.annotations.get(ADOPTED_ANNOTATION)
    if marked not in (None, mark(observed.owner, facts)) and not _is_about_another(marked, facts):
        return secret_problems.conflict(
            name, "; another ApiKey has adopted it before, and its key ended with that one: delete the Secret"
        )
    if spec.adopt_secret != facts.uid:
        return secret_problems.adoptable(name, facts.uid, observed.owner.name, is_misnamed=bool(spec.adopt_secret))
    if observed.taken_by is not None:
        return secret_problems.conflict(name, f"; its key id belongs to the ApiKey {observed.taken_by}")
    at = issued_at(facts, now)
    match policy.judge_observed(spec, observed, at):
        case policy.Refused(reason=reason, message=message):
            return Problem(reason, message)
        case policy.Accepted(ends_at) if ends_at is not None and ends_at <= now:
            return secret_problems.conflict(name, f"; its key ended at {format_instant(ends_at)}: delete the Secret")
    if not observed.knows_all:
        return None
    return Adopt(facts) if marked == mark(observed.owner, facts) else Claim(facts)


def adopt(spec: KeySpec, observed: Observed, found: KeyRecord, facts: SecretFacts, now: datetime) -> Status:
    """The status that holds the adopted key as Current. ``found`` has its id, the hash made anew and its issue."""
    key_class = observed.key_class
    assert key_class is not None
    verdict = policy.judge_observed(spec, observed, found.issued_at)
    assert isinstance(verdict, policy.Accepted)
    current = replace(found, state=RecordState.CURRENT, expires_at=verdict.ends_at)
    status = rotation.handled(
        spec,
        replace(
            observed.status,
            keys=(current,),
            class_name=key_class.name,
            current_key_id=current.id,
            issued_at=current.issued_at,
            masked_key=mask(key_class.prefix, current.id),
            secret_name=spec.secret_name,
            secret_uid=facts.uid,
        ),
    )
    # Nothing is said about the Secret's version before it has been written again.
    secret = Ours(
        uid=facts.uid, resource_version=facts.resource_version, holds=current.id, is_rendered=False, acknowledged=None
    )
    adopted = stand(spec, replace(observed, secret=secret), status, current, now).status
    assert adopted is not None
    return adopted


def mark(owner: OwnerReference, facts: SecretFacts) -> str:
    """What is written on a Secret that ``owner`` adopts."""
    return f"{owner.uid}/{facts.uid}"


def issued_at(facts: SecretFacts, now: datetime) -> datetime:
    """When the key in the Secret was issued, as the Secret says; ``now`` where it does not, or says nonsense."""
    try:
        at = parse_instant(facts.annotations.get(ISSUED_ANNOTATION, ""))
    except ValueError:
        return now
    return min(at, now)


def _has_held_keys(status: Status) -> bool:
    return bool(status.keys) or status.issued_at is not None or status.current_key_id is not None


def _is_about_another(marked: str | None, facts: SecretFacts) -> bool:
    """Whether the mark came along with a backup, from the Secret that this one is a copy of."""
    _, slash, secret_uid = (marked or "").partition("/")
    return bool(slash) and secret_uid != facts.uid


def _find_misfit(facts: SecretFacts, owner: OwnerReference, key_class: KeyClass) -> str | None:
    checks = (
        (facts.type == SECRET_TYPE, f"its type is not {SECRET_TYPE}"),
        (ENDED_ANNOTATION not in facts.annotations, "its key is revoked or has expired"),
        (not facts.is_immutable, "it is immutable"),
        (facts.owners in ((), (owner,)), "it belongs to another object"),
        (facts.labels.items() >= labels_for(owner.name).items(), "it lacks the labels of this ApiKey's Secret"),
        (facts.key_id is not None, "there is no well-formed key in the entry that the spec names"),
        (facts.key_prefix == key_class.prefix, f"its key is not of class {key_class.name}"),
    )
    return next((why for holds, why in checks if not holds), None)
