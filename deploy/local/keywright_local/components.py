"""The command lines of etcd, the API server and the controller manager.

Nothing here starts anything: paths and a port go in, arguments come out.
Everything listens on the loopback address or on a socket in a private folder.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from keywright_local.layout import Layout

__all__ = [
    "API_SERVER",
    "CONTROLLER_MANAGER",
    "ETCD",
    "LOOPBACK",
    "SERVER_ADDRESSES",
    "SERVER_NAMES",
    "AuditLevel",
    "api_server_command",
    "audit_policy",
    "controller_manager_command",
    "etcd_command",
]

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"

LOOPBACK = "127.0.0.1"
# etcd refuses to advertise a socket, and nobody asks: an address that leads nowhere.
_NOWHERE = "http://127.0.0.111:0"
_SERVICE_RANGE = "10.96.0.0/16"
_ISSUER = "https://kubernetes.default.svc.cluster.local"

#: What the serving certificate is for: pods would come by the service's name or
#: address, which is the first of the service range.
SERVER_NAMES = (
    "kubernetes.default.svc",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc.cluster.local",
    "localhost",
)
SERVER_ADDRESSES = (LOOPBACK, "10.96.0.1")


class AuditLevel(StrEnum):
    """How much of each request the audit log holds (kind Policy of audit.k8s.io/v1)."""

    METADATA = "Metadata"
    REQUEST = "Request"
    REQUEST_RESPONSE = "RequestResponse"


def audit_policy(level: AuditLevel) -> dict[str, object]:
    """One line per request, when it is answered."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [{"level": str(level)}],
    }


def etcd_command(program: Path, layout: Layout) -> list[str]:
    """One member without peers that spares the disk: the data live as long as the plane."""
    return [
        str(program),
        "--name=local",
        f"--data-dir={layout.etcd_data}",
        f"--listen-client-urls=unix://{layout.etcd_socket}",
        f"--advertise-client-urls={_NOWHERE}",
        f"--listen-peer-urls=unix://{layout.etcd_peer_socket}",
        f"--initial-advertise-peer-urls={_NOWHERE}",
        f"--initial-cluster=local={_NOWHERE}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_command(program: Path, layout: Layout, port: int, *, audit: AuditLevel | None) -> list[str]:
    """The API server, with RBAC and everything that is on by default."""
    command = [
        str(program),
        f"--etcd-servers=unix://{layout.etcd_socket}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.server_certificate}",
        f"--tls-private-key-file={layout.server_key}",
        f"--client-ca-file={layout.authority}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-account-issuer={_ISSUER}",
        f"--service-account-key-file={layout.tokens_public_key}",
        f"--service-account-signing-key-file={layout.tokens_private_key}",
        f"--service-cluster-ip-range={_SERVICE_RANGE}",
        # A loopback address is no valid endpoint; without this the server
        # would try to publish its own every few seconds, and fail.
        "--endpoint-reconciler-type=none",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        # Without a limit, ending in order waits for the watches of the controllers.
        "--shutdown-watch-termination-grace-period=1s",
    ]
    if audit is not None:
        command += [
            f"--audit-policy-file={layout.audit_policy}",
            f"--audit-log-path={layout.audit_log}",
            # A test reads its own request in the log right after the answer.
            "--audit-log-mode=blocking",
            # Megabytes; the log must not be rotated away under a reader.
            "--audit-log-maxsize=4096",
        ]
    return command


def controller_manager_command(program: Path, layout: Layout) -> list[str]:
    """The controllers, each with a service account of its own, as in real clusters."""
    return [
        str(program),
        f"--kubeconfig={layout.controller_manager_kubeconfig}",
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={layout.tokens_private_key}",
        f"--root-ca-file={layout.authority}",
        f"--cluster-signing-cert-file={layout.authority}",
        f"--cluster-signing-key-file={layout.authority_key}",
        # Clean-up after a test should not wait for the client's own rate limit.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]
