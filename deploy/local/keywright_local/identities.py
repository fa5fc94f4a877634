"""Who may talk to a control plane, and with what: certificates, tokens, kubeconfigs.

The control plane itself is only a client of this: it says who, and gets a file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from keywright_local import components
from keywright_local.admin_client import AdminClient
from keywright_local.certificates import CertificateAuthority, KeyPair, make_signing_key
from keywright_local.errors import LocalClusterError
from keywright_local.kubeconfigs import BearerToken, render_kubeconfig
from keywright_local.layout import Layout
from keywright_local.private_files import make_private_directory, write_private

__all__ = ["Identities"]

_ADMIN = "keywright-local-admin"
_TOKEN_SECONDS = 24 * 60 * 60


class Identities:
    """The certificate authority of one control plane and all it has issued."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._authority = CertificateAuthority.create("keywright-local", now=_now())

    def write_server_files(self) -> None:
        """Everything the three programs read, except what names the port."""
        layout = self._layout
        make_private_directory(layout.identities)
        authority = self._authority.key_pair
        server = self._authority.issue_for_server(components.SERVER_NAMES, components.SERVER_ADDRESSES, now=_now())
        tokens = make_signing_key()
        admin = self._issue(_ADMIN, ["system:masters"])
        for path, content in {
            layout.authority: authority.public,
            layout.authority_key: authority.private,
            layout.server_certificate: server.public,
            layout.server_key: server.private,
            layout.tokens_public_key: tokens.public,
            layout.tokens_private_key: tokens.private,
            layout.admin_certificate: admin.public,
            layout.admin_key: admin.private,
        }.items():
            write_private(path, content)

    def write_system_kubeconfigs(self, server: str) -> None:
        """The kubeconfigs of the administrator and of the controller manager."""
        layout = self._layout
        admin = KeyPair(public=layout.admin_certificate.read_bytes(), private=layout.admin_key.read_bytes())
        self._write(layout.admin_kubeconfig, server, _ADMIN, admin)
        user = "system:kube-controller-manager"
        self._write(layout.controller_manager_kubeconfig, server, user, self._issue(user, []))

    def write_user_kubeconfig(self, server: str, user: str, groups: Sequence[str]) -> Path:
        """A kubeconfig that acts as ``user`` in ``groups``, by client certificate."""
        path = self._path("user", user, *sorted(groups))
        return self._write(path, server, user, self._issue(user, groups))

    def write_service_account_kubeconfig(self, server: str, client: AdminClient, namespace: str, name: str) -> Path:
        """A kubeconfig that acts as a service account, by a token of 24 hours."""
        status, content = client.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": _TOKEN_SECONDS},
            },
        )
        if status != HTTPStatus.CREATED:
            raise LocalClusterError(
                f"There is no token for the service account {namespace}/{name} (the API server answered {status}).",
                remedy="create the namespace and the service account first.",
            )
        token = BearerToken(token=json.loads(content)["status"]["token"])
        path = self._path("serviceaccount", namespace, name)
        return self._write(path, server, f"system:serviceaccount:{namespace}:{name}", token)

    def _issue(self, user: str, groups: Sequence[str]) -> KeyPair:
        return self._authority.issue_for_client(user, groups, now=_now())

    def _write(self, path: Path, server: str, user: str, credential: KeyPair | BearerToken) -> Path:
        authority = self._authority.key_pair.public
        content = render_kubeconfig(server=server, authority=authority, user=user, credential=credential)
        return write_private(path, content)

    def _path(self, *parts: str) -> Path:
        # A user may be called anything; the digest keeps two of a readable name apart.
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(parts[:2]))[:60]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
        return self._layout.identities / f"{readable}-{digest}.kubeconfig"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
