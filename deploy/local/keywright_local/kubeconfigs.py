"""Kubeconfigs with everything inside, so that the one file is enough.

They are written as JSON, which every reader of YAML reads.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from keywright_local.certificates import KeyPair

__all__ = ["CONTEXT_NAME", "BearerToken", "render_kubeconfig"]

#: Context and cluster are always named so; a test can tell a cluster of ours by it.
CONTEXT_NAME = "keywright-local"


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerToken:
    """A service account token; never shown."""

    token: str = field(repr=False)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def render_kubeconfig(*, server: str, authority: bytes, user: str, credential: KeyPair | BearerToken) -> bytes:
    """A kubeconfig of one context, for ``user`` at ``server`` (``https://…``)."""
    match credential:
        case KeyPair():
            identity = {
                "client-certificate-data": _encode(credential.public),
                "client-key-data": _encode(credential.private),
            }
        case BearerToken():
            identity = {"token": credential.token}
    cluster = {"server": server, "certificate-authority-data": _encode(authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT_NAME,
        "clusters": [{"name": CONTEXT_NAME, "cluster": cluster}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": CONTEXT_NAME, "context": {"cluster": CONTEXT_NAME, "user": user}}],
    }
    return json.dumps(document, indent=2).encode() + b"\n"
