"""Manifests of the Secret that belongs to an ApiKey, and what a found Secret says.

The plain key passes through this module on its way into a Secret and out of one. It is put nowhere else.
"""

import base64
from dataclasses import dataclass
from datetime import datetime

from keywright.api import API_VERSION, GROUP
from keywright.domain.apikey import DeletionPolicy, KeySpec, Phase
from keywright.domain.delivery import (
    ACKNOWLEDGED_ANNOTATION,
    ADOPTED_ANNOTATION,
    ENDED_ANNOTATION,
    FENCE_ANNOTATION,
    ISSUED_ANNOTATION,
    SECRET_TYPE,
    TEMPLATED_ANNOTATION,
    OwnerReference,
    SecretFacts,
    labels_for,
)
from keywright.domain.plainkey import PlainKey
from keywright.domain.template import allowed, expand, fault_in_data
from keywright.domain.times import format_instant
from keywright.kube.client import Manifest
from keywright.reconcile.ports import Ref

__all__ = [
    "Target",
    "claimed",
    "fenced",
    "is_rendered",
    "owner_of",
    "secret",
    "secret_facts",
]


def owner_of(apikey: Manifest) -> OwnerReference:
    """The ApiKey as the owner of its Secret."""
    return OwnerReference("ApiKey", apikey["metadata"]["name"], apikey["metadata"]["uid"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The Secret that an ApiKey asks for. ``patterns`` are the labels and annotations that its class lets it set,
    ``ended`` is how its key has ended, if it has: nobody is to adopt it any more.
    """

    ref: Ref
    owner: OwnerReference
    spec: KeySpec
    patterns: tuple[str, ...]
    ended: Phase | None


def secret(target: Target, *, key: PlainKey, issued_at: datetime, found: Manifest | None, is_new_key: bool) -> Manifest:
    """The Secret around ``key``, to be created, or to replace exactly the version that was found.

    Labels and annotations that others have added stay, what an earlier template asked for goes. Entries and owners are
    those that the spec asks for and no others.
    """
    metadata = found["metadata"] if found is not None else {}
    template = allowed(target.spec.template, target.patterns)
    gone = (metadata.get("annotations") or {}).get(TEMPLATED_ANNOTATION, "").split(",")
    annotations = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if f"annotation:{name}" not in gone and name not in (FENCE_ANNOTATION, TEMPLATED_ANNOTATION, ENDED_ANNOTATION)
    }
    if is_new_key:
        annotations.pop(ACKNOWLEDGED_ANNOTATION, None)
    labels = {
        name: value for name, value in (metadata.get("labels") or {}).items() if f"label:{name}" not in gone
    } | dict(template.labels)
    asked = [f"label:{name}" for name in template.labels] + [f"annotation:{name}" for name in template.annotations]
    templated = {TEMPLATED_ANNOTATION: ",".join(sorted(asked))} if asked else {}
    ended = {ENDED_ANNOTATION: target.ended.value} if target.ended is not None else {}
    ours = {ISSUED_ANNOTATION: format_instant(issued_at)} | templated | ended
    return _manifest(
        target,
        found,
        labels=labels | labels_for(target.owner.name),
        annotations=annotations | dict(template.annotations) | ours,
        data=_data(target, key, found),
    )


def fenced(target: Target, *, fence: str, found: Manifest | None) -> Manifest:
    """An empty Secret, or the one that was found, touched: ``fence`` is any new text. It keeps its data, because a
    touch must not take the current key away from those who read it.
    """
    metadata = found["metadata"] if found is not None else {}
    return _manifest(
        target,
        found,
        labels=(metadata.get("labels") or {}) | labels_for(target.owner.name),
        annotations=(metadata.get("annotations") or {}) | {FENCE_ANNOTATION: fence},
        data=(found or {}).get("data") or {},
    )


def claimed(found: Manifest, mark: str) -> Manifest:
    """Somebody's Secret with the mark of who adopts it, and nothing else changed."""
    metadata = found["metadata"]
    annotations = (metadata.get("annotations") or {}) | {ADOPTED_ANNOTATION: mark}
    return found | {"apiVersion": "v1", "kind": "Secret", "metadata": metadata | {"annotations": annotations}}


def is_rendered(found: Manifest, target: Target, *, key: PlainKey, issued_at: datetime) -> bool:
    """Whether the Secret that was found would be written as it is."""
    wanted = secret(target, key=key, issued_at=issued_at, found=found, is_new_key=False)
    metadata = found["metadata"]
    return bool(
        (metadata.get("labels") or {}) == wanted["metadata"]["labels"]
        and (metadata.get("annotations") or {}) == wanted["metadata"]["annotations"]
        and (metadata.get("ownerReferences") or []) == wanted["metadata"]["ownerReferences"]
        and (found.get("data") or {}) == wanted["data"]
    )


def _data(target: Target, key: PlainKey, found: Manifest | None) -> dict[str, str]:
    if found is not None and fault_in_data(target.spec) is not None:
        # Nothing stops working because something else became wrong: what was there stays until it is mended.
        return (found.get("data") or {}) | {target.spec.secret_key: _encode(key.text)}
    values = {
        "key": key.text,
        "keyId": key.key_id,
        "name": target.ref.name,
        "namespace": target.ref.namespace,
    }
    filled = {entry: _encode(expand(text, values)) for entry, text in target.spec.template.data.items()}
    return filled | {target.spec.secret_key: _encode(key.text)}


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _manifest(
    target: Target,
    found: Manifest | None,
    *,
    labels: dict[str, str],
    annotations: dict[str, str],
    data: dict[str, str],
) -> Manifest:
    metadata: Manifest = {
        "name": target.spec.secret_name,
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [],
    }
    if target.spec.deletion_policy is DeletionPolicy.DELETE:
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": target.owner.kind,
                "name": target.owner.name,
                "uid": target.owner.uid,
                "controller": True,
                # Blocking would need rights on finalizers, and would hold up a foreground deletion.
                "blockOwnerDeletion": False,
            }
        ]
    if found is not None:
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        if finalizers := found["metadata"].get("finalizers"):
            metadata["finalizers"] = finalizers
    return {"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "data": data}


def secret_facts(
    manifest: Manifest, *, holds: str | None, key: PlainKey | None, is_rendered: bool = True
) -> SecretFacts:
    """What may be known of a found Secret: of its key no more than the public part."""
    metadata = manifest["metadata"]
    return SecretFacts(
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        owners=tuple(
            # A kind of another group is qualified, so that it is never taken for ours.
            OwnerReference(
                each["kind"] if each["apiVersion"].startswith(f"{GROUP}/") else f"{each['apiVersion']} {each['kind']}",
                each["name"],
                each["uid"],
            )
            for each in metadata.get("ownerReferences") or ()
        ),
        type=manifest.get("type", ""),
        is_immutable=bool(manifest.get("immutable")),
        is_deleting="deletionTimestamp" in metadata,
        has_finalizers=bool(metadata.get("finalizers")),
        is_empty=not manifest.get("data"),
        is_rendered=is_rendered,
        holds=holds,
        key_id=key.key_id if key is not None else None,
        key_prefix=key.prefix if key is not None else None,
    )
