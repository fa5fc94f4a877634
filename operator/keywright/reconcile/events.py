"""Manifests of the Events about an ApiKey."""

import hashlib
from datetime import datetime

from keywright.api import API_VERSION
from keywright.domain.report import Note
from keywright.domain.times import format_instant
from keywright.kube.client import Manifest
from keywright.reconcile.ports import Ref

__all__ = ["event"]

COMPONENT = "keywright-operator"


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
