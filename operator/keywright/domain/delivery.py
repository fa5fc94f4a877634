"""Whose Secret is it? The rules of invariant 3 (DESIGN section 6), over facts that were read elsewhere.

Labels and owner references are written for people and for the garbage collector; anybody who may write
Secrets can forge them. What counts is the UID in ``status.secretUID``. Before that is recorded a Secret is
ours only when its metadata is exactly what the operator writes and there is nothing in it to believe: it is
empty, or its key proves the hash of the Pending record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keywright.domain.apikey import RecordState, Status

__all__ = [
    "FENCE_ANNOTATION",
    "SECRET_TYPE",
    "Absent",
    "Awaited",
    "Foreign",
    "Ours",
    "OwnerReference",
    "SecretFacts",
    "SecretView",
    "classify",
    "labels_for",
]

SECRET_TYPE = "Opaque"
FENCE_ANNOTATION = "keywright.dev/fence"
NAME_LABEL = "keywright.dev/api-key"
MANAGED_BY = {"app.kubernetes.io/managed-by": "keywright"}


@dataclass(frozen=True, slots=True)
class OwnerReference:
    """The three fields of an owner reference that identity hangs on."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFacts:
    """What was read of a Secret, without its key. ``holds`` is the id of the record that its key proves."""

    uid: str
    resource_version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[OwnerReference, ...] = ()
    type: str = SECRET_TYPE
    is_immutable: bool = False
    is_deleting: bool = False
    has_finalizers: bool = False
    is_empty: bool = False
    holds: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """No Secret of that name exists."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A Secret that is on its way out: deleted, or owned by a predecessor that no longer exists."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's Secret. It is never read further, written or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our Secret, the version of it that was read, and the id of the record whose key lies in it."""

    uid: str
    resource_version: str
    holds: str | None = None


SecretView = Absent | Awaited | Foreign | Ours


def labels_for(name: str) -> dict[str, str]:
    """Every label of the Secret of the ApiKey ``name``. None is copied from the ApiKey: a tracking label of
    a GitOps tool would get the Secret pruned.
    """
    return MANAGED_BY | {NAME_LABEL: name}


def classify(facts: SecretFacts | None, *, owner: OwnerReference, status: Status) -> SecretView:
    """Say whose Secret was found. ``owner`` is the ApiKey that wants to deliver into it."""
    if facts is None:
        return Absent()
    pending = status.record(RecordState.PENDING)
    proves_pending = pending is not None and facts.holds == pending.id
    if status.secret_uid is not None:
        is_ours = facts.uid == status.secret_uid
    else:
        is_ours = _is_as_we_write(facts, owner) and (facts.is_empty or proves_pending)
    if is_ours and not facts.is_deleting:
        return Ours(uid=facts.uid, resource_version=facts.resource_version, holds=facts.holds)
    is_predecessors = any(
        each.kind == owner.kind and each.name == owner.name and each.uid != owner.uid for each in facts.owners
    )
    if facts.is_deleting or is_predecessors:
        return Awaited()
    return Foreign()


def _is_as_we_write(facts: SecretFacts, owner: OwnerReference) -> bool:
    return (
        facts.type == SECRET_TYPE
        and not facts.is_immutable
        and not facts.has_finalizers
        and facts.labels == labels_for(owner.name)
        and facts.annotations.keys() <= {FENCE_ANNOTATION}
        and facts.owners == (owner,)
    )
