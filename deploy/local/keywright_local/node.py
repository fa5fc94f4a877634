"""A cluster of one node, on which pods run: a control plane, and containerd, kubelet, kube-proxy and kube-scheduler.

It lives in a space of its own (see ``isolation``), so it has nothing to undo. Everything is as in other clusters, but
for two things: there is no DNS for the cluster (pods reach services by address), and no network policy is enforced.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from keywright_local import node_components as components
from keywright_local.binaries import Binaries, find_binaries
from keywright_local.components import API_SERVER
from keywright_local.control_plane import ControlPlane
from keywright_local.errors import NodeUnavailableError, StartError
from keywright_local.isolation import SPACE, control_group_roots
from keywright_local.node_binaries import NodeBinaries, find_node_binaries
from keywright_local.node_components import CONTAINERD, KUBELET, NODE_NAME, PROXY, SCHEDULER, NodeLayout
from keywright_local.node_images import write_image
from keywright_local.node_space import NODE_ADDRESS
from keywright_local.processes import Supervisor
from keywright_local.versions import read_pinned_versions

__all__ = ["Node"]

_READY_SECONDS = 180.0


class Node:
    """A cluster with one node, for as long as a ``with`` block.

    Must run inside of ``isolation.run_isolated``, and raises NodeUnavailableError elsewhere. ``plane`` is its control
    plane, which can be stopped and started while pods run on.
    """

    def __init__(self, *, binaries: Binaries | None = None, node_binaries: NodeBinaries | None = None) -> None:
        space = os.environ.get(SPACE)
        if not space:
            raise NodeUnavailableError(
                "A node changes the machine it runs on, and this process has no space of its own.",
                remedy="run `make e2e`, or whatever it is through keywright_local.isolation.run_isolated.",
            )
        self._space = space
        self._binaries = node_binaries or find_node_binaries()
        folder = Path(tempfile.mkdtemp(prefix="node-"))
        self._layout = NodeLayout(folder)
        directory = folder / "control-plane"
        self.plane = ControlPlane(
            directory,
            binaries=binaries or find_binaries(),
            extra_arguments={
                API_SERVER: components.api_server_arguments(directory / "admin.crt", directory / "admin.key")
            },
        )
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        self.plane.start()
        self._supervisor = Supervisor(remove=[self._layout.root])
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the programs. The containers end with the space, as their mounts and networks do."""
        if self._supervisor is not None:
            self._supervisor.close()
        self.plane.stop()

    def load_image(self, archive: Path) -> None:
        """Make the images of an archive (OCI, or of ``docker save``) known to the container runtime."""
        loaded = self._ctr("images", "import", str(archive))
        if loaded.returncode != 0:
            raise StartError(
                f"{archive} cannot be imported.",
                remedy="read the words of ctr below; it takes OCI archives and those of `docker save`.",
                details=loaded.stdout,
            )

    def _start(self) -> None:
        layout, plane = self._layout, self.plane
        for root in control_group_roots():
            (root / self._space).mkdir(exist_ok=True)
        layout.networks.mkdir()
        (layout.networks / "pods.conflist").write_text(components.network_config(), encoding="utf-8")
        proxy = components.proxy_config(kubeconfig=plane.kubeconfig_for("system:kube-proxy"))
        kubelet = components.kubelet_config(layout, authority=plane.ca_file, control_group=self._space)
        runtime = components.containerd_config(layout, network_plugins=self._binaries.network_plugins)
        configured = {CONTAINERD: runtime, KUBELET: kubelet, PROXY: proxy}
        for component, text in configured.items():
            layout.config(component).write_text(text, encoding="utf-8")

        programs = self._binaries
        self._run(CONTAINERD, programs.containerd, "--config", layout.config(CONTAINERD))
        self._wait(lambda: self._ctr("version").returncode == 0, CONTAINERD)
        self._load_sandbox()
        identity = plane.kubeconfig_for(f"system:node:{NODE_NAME}", ["system:nodes"])
        self._run(
            KUBELET,
            programs.kubelet,
            *("--config", layout.config(KUBELET), "--kubeconfig", identity),
            *("--hostname-override", NODE_NAME, "--node-ip", NODE_ADDRESS),
        )
        self._run(PROXY, programs.kube_proxy, "--config", layout.config(PROXY))
        scheduler = plane.kubeconfig_for("system:kube-scheduler")
        self._run(
            SCHEDULER,
            programs.kube_scheduler,
            *("--kubeconfig", scheduler, "--leader-elect=false", "--secure-port=0"),
        )
        self._wait(self._is_ready, KUBELET)
        # Until then pods find no service, the API server's among them.
        self._wait(_has_proxied, PROXY)

    def _load_sandbox(self) -> None:
        archive = write_image(
            self._layout.root / "pause.tar",
            reference=components.SANDBOX_IMAGE,
            files={"/pause": self._binaries.pause},
            entrypoint=["/pause"],
            versions=read_pinned_versions(),
        )
        self.load_image(archive)

    def _is_ready(self) -> bool:
        asked = subprocess.run(
            [self.plane.kubectl, "--kubeconfig", self.plane.kubeconfig, "get", "node", NODE_NAME, "-o", "json"],
            capture_output=True,
            check=False,
        )
        if asked.returncode != 0:
            return False
        conditions = json.loads(asked.stdout)["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._binaries.ctr, "--address", self._layout.socket, "--namespace", "k8s.io", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def _run(self, component: str, *command: str | Path) -> None:
        assert self._supervisor is not None
        self._supervisor.start(component, [str(part) for part in command], log=self._layout.log(component))

    def _wait(self, is_met: Callable[[], bool], component: str) -> None:
        assert self._supervisor is not None
        self._supervisor.wait_until(is_met, component, log=self._layout.log(component), patience=_READY_SECONDS)


def _has_proxied() -> bool:
    """Whether the proxy says that its rules are in place (its health port, 10256 unless told otherwise)."""
    connection = http.client.HTTPConnection(NODE_ADDRESS, 10256, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
