"""Manifests of the Secret and the Event that belong to an ApiKey, and what a found Secret says.

The plain key passes through this module on its way into a Secret and out of one. It is put nowhere else.
"""

import base64
import binascii
import hashlib
from datetime import datetime

from keywright.api import API_VERSION, GROUP
from keywright.domain import plainkey
from keywright.domain.delivery import (
    FENCE_ANNOTATION,
    SECRET_TYPE,
    OwnerReference,
    SecretFacts,
    labels_for,
)
from keywright.domain.plainkey import PlainKey
from keywright.domain.report import Note
from keywright.domain.times import format_instant
from keywright.kube.client import Manifest
from keywright.reconcile.ports import Ref

__all__ = ["event", "owner_of", "plain_key_in", "secret", "secret_facts"]

COMPONENT = "keywright-operator"


def owner_of(apikey: Manifest) -> OwnerReference:
    """The ApiKey as the owner of its Secret."""
    return OwnerReference("ApiKey", apikey["metadata"]["name"], apikey["metadata"]["uid"])


def secret(
    name: str,
    owner: OwnerReference,
    *,
    entry: str,
    key: PlainKey | None,
    kept: Manifest | None = None,
    resource_version: str | None = None,
    fence: str | None = None,
) -> Manifest:
    """The whole Secret, nothing carried over from a version that was found but what ``kept`` says.

    Without ``key`` its data are ``kept``, or empty; ``fence`` is any new text, so that a touch changes the
    resourceVersion.
    """
    metadata: Manifest = {
        "name": name,
        "labels": labels_for(owner.name),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                # Blocking would need rights on finalizers, and would hold up a foreground deletion.
                "blockOwnerDeletion": False,
            }
        ],
    }
    if resource_version is not None:
        metadata["resourceVersion"] = resource_version
    if fence is not None:
        metadata["annotations"] = {FENCE_ANNOTATION: fence}
    data = {entry: base64.b64encode(key.text.encode()).decode()} if key is not None else kept or {}
    return {"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE, "metadata": metadata, "data": data}


def secret_facts(manifest: Manifest, *, holds: str | None) -> SecretFacts:
    """What may be known of a found Secret without looking at its key."""
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
        holds=holds,
    )


def plain_key_in(manifest: Manifest, entry: str) -> PlainKey | None:
    """The plain key in a Secret's data entry, if there is a well-formed one."""
    try:
        text = base64.b64decode((manifest.get("data") or {})[entry], validate=True).decode("ascii")
    except (KeyError, binascii.Error, UnicodeDecodeError):
        return None
    parsed = plainkey.parse(text)
    return parsed if isinstance(parsed, PlainKey) else None


def event(apikey: Manifest, ref: Ref, note: Note, now: datetime) -> Manifest:
    """A core/v1 Event about an ApiKey. Its name is made from what happened, so a repeat is refused as existing."""
    metadata = apikey["metadata"]
    at = format_instant(now)
    version = metadata["resourceVersion"]
    digest = hashlib.sha256(f"{metadata['uid']} {note.reason} {version}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{ref.name}.{digest}", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "ApiKey",
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": metadata["uid"],
            "resourceVersion": version,
        },
        "reason": note.reason,
        "message": note.message[:1024],
        "type": "Warning" if note.is_warning else "Normal",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "reportingComponent": COMPONENT,
        "source": {"component": COMPONENT},
    }
