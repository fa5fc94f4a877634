"""The command lines and configuration files of a node: container runtime, kubelet, proxy and scheduler.

Nothing here starts anything: paths go in, texts come out. What is unlike other nodes, and why: one node alone, in a
network without a way out; a root that may lack CAP_SYS_RESOURCE (no OOM scores below its own) and control groups of
version 1; a disk that is somebody's laptop, of which nothing has to be free. TOML has no writer in the standard
library, but its tables are few here; the other programs read JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from keywright_local.node_space import NODE_ADDRESS

__all__ = [
    "CONTAINERD",
    "KUBELET",
    "NODE_NAME",
    "PROXY",
    "SANDBOX_IMAGE",
    "SCHEDULER",
    "NodeLayout",
    "api_server_arguments",
    "containerd_config",
    "kubelet_config",
    "network_config",
    "proxy_config",
]

CONTAINERD = "containerd"
KUBELET = "kubelet"
PROXY = "kube-proxy"
SCHEDULER = "kube-scheduler"
NODE_NAME = "local"
SANDBOX_IMAGE = "keywright.local/pause:1"

_POD_RANGE = "10.244.0.0/24"


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """Paths of a node below one folder, which is in memory and gone with the space."""

    root: Path

    @property
    def socket(self) -> Path:
        """Where the container runtime listens."""
        return self.root / "containerd.sock"

    @property
    def networks(self) -> Path:
        """Folder of the network configuration."""
        return self.root / "networks"

    def config(self, component: str) -> Path:
        """Configuration of one of the programs."""
        return self.root / f"{component}.config"

    def log(self, component: str) -> Path:
        """Output of one of the programs."""
        return self.root / f"{component}.log"


def api_server_arguments(certificate: Path, key: Path) -> list[str]:
    """What the API server does beyond its usual so that pods reach it, and it reaches the kubelet."""
    return [
        # There is no way into the space: everybody in it may come.
        "--bind-address=0.0.0.0",
        f"--advertise-address={NODE_ADDRESS}",
        "--endpoint-reconciler-type=lease",
        f"--kubelet-client-certificate={certificate}",
        f"--kubelet-client-key={key}",
    ]


def containerd_config(layout: NodeLayout, *, network_plugins: Path) -> str:
    """Debian's containerd with folders and a socket of its own."""
    return f"""\
version = 2
root = "{layout.root}/containerd"
state = "{layout.root}/containerd-state"

[grpc]
address = "{layout.socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{network_plugins}"
conf_dir = "{layout.networks}"

[plugins."io.containerd.internal.v1.opt"]
path = "{layout.root}/containerd-opt"
"""


def network_config() -> str:
    """One bridge for the pods of the node (CNI 0.4.0)."""
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": _POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]})


def kubelet_config(layout: NodeLayout, *, authority: Path, control_group: str) -> str:
    """A kubelet that asks the API server who may talk to it."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{layout.socket}",
            "resolvConf": "",
            "volumePluginDir": str(layout.root / "volume-plugins"),
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{control_group}",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "oomScoreAdj": 0,
            "protectKernelDefaults": True,
            "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "50Mi"},
            "imageGCHighThresholdPercent": 100,
            # A changed Secret reaches the files of a pod at the next sync; a minute, the default, is long for a test.
            "syncFrequency": "2s",
        }
    )


def proxy_config(*, kubeconfig: Path) -> str:
    """Services by iptables, and every client masked, which spares the bridge the filter of its own."""
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "hostnameOverride": NODE_NAME,
            "bindAddress": NODE_ADDRESS,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "iptables": {"masqueradeAll": True},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
                "udpTimeout": "0s",
                "udpStreamTimeout": "0s",
            },
            "oomScoreAdj": 0,
        }
    )
