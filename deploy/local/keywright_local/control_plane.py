"""A control plane that lives as long as a ``with`` block, or as its process.

Etcd, the API server and the controller manager in a folder of their own, on a
free port, with a certificate authority of their own and RBAC. There are no
nodes: everything the API does is real, and no pod ever runs.
"""

from __future__ import annotations

import json
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from keywright_local import components
from keywright_local.admin_client import AdminClient
from keywright_local.binaries import Binaries, find_binaries
from keywright_local.components import API_SERVER, CONTROLLER_MANAGER, ETCD, AuditLevel
from keywright_local.errors import LocalClusterError, StartError
from keywright_local.identities import Identities
from keywright_local.layout import Layout
from keywright_local.ports import is_port_taken_message, pick_free_port
from keywright_local.private_files import make_private_directory, write_private
from keywright_local.processes import Supervisor

__all__ = ["ControlPlane"]

_READY_SECONDS = 120.0
_PORT_ATTEMPTS = 5
# The path of a Unix socket may have 103 characters on some systems.
_LONGEST_SOCKET_FOLDER = 90


class ControlPlane:
    """A Kubernetes control plane of one's own, started by ``with`` or ``start()``.

    ``directory`` must be absent or empty; it belongs to the plane from then on
    and is removed with it. Without one, a temporary folder is used.
    ``extra_arguments`` are appended to the command line of the program they are
    keyed by (``kube-apiserver``, ...), where the last mention of a flag wins.
    Raises LocalClusterError when it cannot start.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        audit: bool = False,
        audit_level: AuditLevel = AuditLevel.METADATA,
        binaries: Binaries | None = None,
        extra_arguments: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._directory = directory
        self._audit = audit_level if audit else None
        self._binaries = binaries
        self._extra_arguments = dict(extra_arguments or {})
        self._started: _Started | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; returns when the API server is ready and controllers work."""
        if self._started is not None:
            return
        binaries = self._binaries or find_binaries()
        layout = _make_layout(self._directory)
        supervisor = Supervisor(remove=[layout.root, layout.sockets])
        started = _Started(binaries, layout, supervisor, self._audit, self._extra_arguments)
        try:
            started.bring_up()
        except BaseException:
            supervisor.close()
            raise
        self._started = started

    def stop(self) -> None:
        """End everything and remove the folder; nothing of it is kept."""
        if self._started is not None:
            self._started.supervisor.close()
            self._started = None

    @property
    def directory(self) -> Path:
        """The folder with everything in it, logs included."""
        return self._plane.layout.root

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the administrator, a member of system:masters."""
        return self._plane.layout.admin_kubeconfig

    @property
    def server(self) -> str:
        """Address of the API server, such as ``https://127.0.0.1:23456``."""
        return self._plane.server

    @property
    def ca_file(self) -> Path:
        """Certificate of the authority that signed the server's."""
        return self._plane.layout.authority

    @property
    def kubectl(self) -> Path:
        """A kubectl of the server's version."""
        return self._plane.binaries.kubectl

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each answered request; needs ``audit=True``."""
        if self._audit is None:
            raise LocalClusterError("This control plane writes no audit log.", remedy="start it with audit=True.")
        return self._plane.layout.audit_log

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Kubeconfig of a client certificate for ``user``; has no right but what RBAC gives."""
        return self._plane.identities.write_user_kubeconfig(self.server, user, groups)

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """Kubeconfig of an existing service account, with a token of 24 hours."""
        plane = self._plane
        return plane.identities.write_service_account_kubeconfig(plane.server, plane.client, namespace, name)

    def stop_api_server(self, *, kill: bool = False) -> None:
        """An outage: the API server ends in order, or at once with ``kill``; data stay."""
        number = signal.SIGKILL if kill else signal.SIGTERM
        self._plane.supervisor.stop(API_SERVER, number)

    def start_api_server(self) -> None:
        """End the outage, on the same port and data; returns when the server is ready."""
        self._plane.start_api_server()

    @property
    def _plane(self) -> _Started:
        if self._started is None:
            raise LocalClusterError(
                "The control plane is not running.", remedy="use it in a with block, or start() it."
            )
        return self._started


def _make_layout(directory: Path | None) -> Layout:
    if directory is None:
        root = Path(tempfile.mkdtemp(prefix="keywright-"))
    else:
        root = directory.absolute()
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise LocalClusterError(
                f"{root} is not an empty folder, and a control plane removes its folder in the end.",
                remedy="name a folder that does not exist yet.",
            )
        make_private_directory(root)
    if len(str(root)) <= _LONGEST_SOCKET_FOLDER:
        return Layout(root, root)
    return Layout(root, Path(tempfile.mkdtemp(prefix="keywright-", dir="/tmp")))


class _Started:
    """What exists only while the programs run."""

    def __init__(
        self,
        binaries: Binaries,
        layout: Layout,
        supervisor: Supervisor,
        audit: AuditLevel | None,
        extra_arguments: Mapping[str, Sequence[str]],
    ) -> None:
        self.binaries = binaries
        self.layout = layout
        self.supervisor = supervisor
        self.identities = Identities(layout)
        self._audit = audit
        self._extra_arguments = extra_arguments
        self._port = 0

    @property
    def server(self) -> str:
        return f"https://{components.LOOPBACK}:{self._port}"

    @property
    def client(self) -> AdminClient:
        return AdminClient(self.layout, self._port)

    def bring_up(self) -> None:
        """Start etcd, the API server on a free port, then the controllers."""
        self.identities.write_server_files()
        if self._audit is not None:
            policy = json.dumps(components.audit_policy(self._audit))
            write_private(self.layout.audit_policy, policy.encode())
        self._run(ETCD, components.etcd_command(self.binaries.etcd, self.layout))
        # The API server looks for etcd once a second, so it had better be there.
        self._wait(self._is_etcd_listening, ETCD)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = pick_free_port()
            try:
                self.start_api_server()
                break
            except StartError as error:
                if attempt == _PORT_ATTEMPTS or not is_port_taken_message(error.details):
                    raise
        self.identities.write_system_kubeconfigs(self.server)
        program = self.binaries.kube_controller_manager
        self._run(CONTROLLER_MANAGER, components.controller_manager_command(program, self.layout))
        client = self.client
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait(lambda: client.is_found(account), CONTROLLER_MANAGER)

    def start_api_server(self) -> None:
        """Start the API server on the port it has; returns when it is ready."""
        program = self.binaries.kube_apiserver
        self._run(
            API_SERVER,
            components.api_server_command(program, self.layout, self._port, audit=self._audit),
        )
        client = self.client
        self._wait(lambda: client.is_found("/readyz"), API_SERVER)

    def _is_etcd_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.layout.etcd_socket)) == 0

    def _run(self, component: str, command: Sequence[str]) -> None:
        extra = self._extra_arguments.get(component, ())
        self.supervisor.start(component, [*command, *extra], log=self.layout.log(component))

    def _wait(self, is_met: Callable[[], bool], component: str) -> None:
        self.supervisor.wait_until(is_met, component, log=self.layout.log(component), patience=_READY_SECONDS)
