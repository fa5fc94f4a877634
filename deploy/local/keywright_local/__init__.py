"""A Kubernetes control plane of one's own, without containers, for tests and demos.

``ControlPlane`` is the whole of it; ``python -m keywright_local`` is the same by
hand. Knows nothing of Keywright's resources.
"""

from keywright_local.binaries import Binaries, find_binaries
from keywright_local.components import AuditLevel
from keywright_local.control_plane import ControlPlane
from keywright_local.errors import (
    BinariesUnavailableError,
    ClusterChoiceError,
    LocalClusterError,
    StartError,
)
from keywright_local.kubeconfigs import CONTEXT_NAME
from keywright_local.named_cluster import NamedCluster, named_cluster

__all__ = [
    "CONTEXT_NAME",
    "AuditLevel",
    "Binaries",
    "BinariesUnavailableError",
    "ClusterChoiceError",
    "ControlPlane",
    "LocalClusterError",
    "NamedCluster",
    "StartError",
    "find_binaries",
    "named_cluster",
]
