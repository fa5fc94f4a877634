"""Whose Secret is it? The rules of invariant 3 (DESIGN section 6), over facts that were read elsewhere.

Labels and owner references are written for people and for the garbage collector; anybody who may write
Secrets can forge them. What counts is the UID in ``status.secretUID``. Before that is recorded a Secret is
ours only when its metadata is what the operator writes and there is nothing in it to believe: it is
empty, or its key proves the hash of the Pending record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keywright.domain.apikey import RecordState, Status
from keywright.domain.template import may_set

__all__ = [
    "ACKNOWLEDGED_ANNOTATION",
    "ADOPTED_ANNOTATION",
    "ENDED_ANNOTATION",
    "FENCE_ANNOTATION",
    "ISSUED_ANNOTATION",
    "SECRET_TYPE",
    "TEMPLATED_ANNOTATION",
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
ACKNOWLEDGED_ANNOTATION = "keywright.dev/acknowledged"
ISSUED_ANNOTATION = "keywright.dev/issued-at"
ADOPTED_ANNOTATION = "keywright.dev/adopted-by"
TEMPLATED_ANNOTATION = "keywright.dev/templated"
ENDED_ANNOTATION = "keywright.dev/ended"
OWN_ANNOTATIONS = frozenset(
    {
        FENCE_ANNOTATION,
        ACKNOWLEDGED_ANNOTATION,
        ISSUED_ANNOTATION,
        ADOPTED_ANNOTATION,
        TEMPLATED_ANNOTATION,
        ENDED_ANNOTATION,
    }
)
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
    """What was read of a Secret, without its key. ``holds`` is the id of the Pending or Current record that its key
    proves; ``key_id`` and ``key_prefix`` are what a well-formed key says of itself, which proves nothing.
    """

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
    is_rendered: bool = True
    holds: str | None = None
    key_id: str | None = None
    key_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """No Secret of that name exists."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A Secret that is on its way out: deleted, or owned by a predecessor that no longer exists."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's Secret. It is never written or removed, unless a person has it adopted after a restore."""

    facts: SecretFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our Secret, the version of it that was read, and the id of the record whose key lies in it.

    ``is_rendered`` says that there is nothing to write: labels, annotations, owner and entries are as asked for.
    """

    uid: str
    resource_version: str
    holds: str | None = None
    is_rendered: bool = True
    acknowledged: str | None = None
    """The id of the key whose delivery somebody has acknowledged."""

    def is_right(self, key_id: str | None) -> bool:
        """Whether nothing is to be done about it while the key with that id is the current one."""
        return key_id is not None and self.holds == key_id and self.is_rendered and self.acknowledged != key_id


SecretView = Absent | Awaited | Foreign | Ours


def labels_for(name: str) -> dict[str, str]:
    """Every label of the Secret of the ApiKey ``name`` that no template asks for. None is copied from the ApiKey: a
    tracking label of a GitOps tool would get the Secret pruned.
    """
    return MANAGED_BY | {NAME_LABEL: name}


def classify(
    facts: SecretFacts | None, *, owner: OwnerReference, status: Status, patterns: tuple[str, ...] = ()
) -> SecretView:
    """Say whose Secret was found. ``owner`` is the ApiKey that wants to deliver into it, ``patterns`` the labels and
    annotations that its class lets a template set.
    """
    if facts is None:
        return Absent()
    pending = status.record(RecordState.PENDING)
    proves_pending = pending is not None and facts.holds == pending.id
    if status.secret_uid is not None:
        is_ours = facts.uid == status.secret_uid
    else:
        is_ours = _is_as_we_write(facts, owner, patterns) and (facts.is_empty or proves_pending)
    if is_ours and not facts.is_deleting:
        return Ours(
            uid=facts.uid,
            resource_version=facts.resource_version,
            holds=facts.holds,
            is_rendered=facts.is_rendered,
            acknowledged=facts.annotations.get(ACKNOWLEDGED_ANNOTATION),
        )
    is_predecessors = any(
        each.kind == owner.kind and each.name == owner.name and each.uid != owner.uid for each in facts.owners
    )
    if facts.is_deleting or is_predecessors:
        return Awaited()
    return Foreign(facts)


def _is_as_we_write(facts: SecretFacts, owner: OwnerReference, patterns: tuple[str, ...]) -> bool:
    ours = labels_for(owner.name)
    others = [key for key in facts.labels if key not in ours]
    others += [key for key in facts.annotations if key not in OWN_ANNOTATIONS]
    return (
        facts.type == SECRET_TYPE
        and not facts.is_immutable
        and not facts.has_finalizers
        and facts.labels.items() >= ours.items()
        and all(may_set(key, patterns) for key in others)
        and facts.owners in ((), (owner,))
    )
