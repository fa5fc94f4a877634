"""Where the demo plays: a control plane of its own, or the cluster that somebody has named."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keywright_local import ControlPlane, NamedCluster
from story import Terminal

__all__ = ["KEYWRIGHT", "NAMESPACE", "ROOT", "Stage", "embedded", "named"]

ROOT = Path(__file__).parents[2]
KEYWRIGHT = ROOT / ".venv/bin/keywright"
NAMESPACE = "keywright-demo"


@dataclass
class Stage:
    """An environment in which kubectl reaches the cluster, the kubeconfig of each service account, and how to take it
    down.
    """

    environment: dict[str, str]
    kubeconfig_of: Callable[[str], Path]
    is_embedded: bool
    cleanups: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


@contextlib.contextmanager
def embedded(terminal: Terminal) -> Iterator[Stage]:
    terminal.say("A control plane of its own: etcd, kube-apiserver, kube-controller-manager. Nothing else is touched.")
    started = time.monotonic()
    with ControlPlane() as plane, contextlib.ExitStack() as cleanups:
        terminal.say(f"{plane.server} is ready after {time.monotonic() - started:.1f} s")
        environment = {
            **os.environ,
            "KUBECONFIG": str(plane.kubeconfig),
            "PATH": f"{plane.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
        }
        yield Stage(
            environment,
            lambda name: plane.kubeconfig_for_service_account("keywright-system", name),
            is_embedded=True,
            cleanups=cleanups,
        )


@contextlib.contextmanager
def named(terminal: Terminal, cluster: NamedCluster) -> Iterator[Stage]:
    terminal.say(f"CLUSTER=current: kube context {cluster.context} at {cluster.server}")
    confirm(cluster.context)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as cleanups:
        kubeconfig = cluster.export_kubeconfig(Path(folder) / "kubeconfig")
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PATH": f"{cluster.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
        }
        yield Stage(environment, lambda _: kubeconfig, is_embedded=False, cleanups=cleanups)


def confirm(context: str) -> None:
    """A demo must not land in somebody's production."""
    if os.environ.get("CONFIRM") == context:
        return
    if not sys.stdin.isatty():
        sys.exit(f"demo: to use the context {context} without a terminal, say CONFIRM={context}")
    if input(f"This creates the namespace {NAMESPACE} and, if missing, the CRDs. Type the context's name: ") != context:
        sys.exit("demo: not confirmed, nothing was done")
