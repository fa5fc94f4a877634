"""Which file of a control plane lies where in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one folder of mode 0700. Sockets lie elsewhere when its name is too long."""

    root: Path
    sockets: Path

    @property
    def authority(self) -> Path:
        """The certificate that the server and its users are signed by."""
        return self.root / "ca.crt"

    @property
    def authority_key(self) -> Path:
        """Key of the certificate authority, for the controller manager to sign requests with."""
        return self.root / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """Serving certificate of the API server."""
        return self.root / "server.crt"

    @property
    def server_key(self) -> Path:
        """Key to the serving certificate."""
        return self.root / "server.key"

    @property
    def tokens_public_key(self) -> Path:
        """What service account tokens are checked with."""
        return self.root / "service-accounts.pub"

    @property
    def tokens_private_key(self) -> Path:
        """What service account tokens are signed with."""
        return self.root / "service-accounts.key"

    @property
    def admin_certificate(self) -> Path:
        """Client certificate of the administrator."""
        return self.root / "admin.crt"

    @property
    def admin_key(self) -> Path:
        """Key to the administrator's certificate."""
        return self.root / "admin.key"

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of the administrator, who is in system:masters."""
        return self.root / "kubeconfig"

    @property
    def controller_manager_kubeconfig(self) -> Path:
        """Kubeconfig of the controller manager, who is subject to RBAC."""
        return self.root / "kube-controller-manager.kubeconfig"

    @property
    def identities(self) -> Path:
        """Folder of the kubeconfigs made for other users."""
        return self.root / "identities"

    @property
    def etcd_data(self) -> Path:
        """Folder of the data."""
        return self.root / "etcd"

    @property
    def etcd_socket(self) -> Path:
        """Where etcd listens; a file of ours, since etcd asks nobody who he is."""
        return self.sockets / "etcd.sock"

    @property
    def etcd_peer_socket(self) -> Path:
        """Where etcd waits for peers that never come."""
        return self.sockets / "peer.sock"

    @property
    def audit_policy(self) -> Path:
        """What the API server writes to the audit log."""
        return self.root / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        """One JSON object for each request."""
        return self.root / "audit.log"

    def log(self, component: str) -> Path:
        """Output of one of the programs."""
        return self.root / f"{component}.log"
