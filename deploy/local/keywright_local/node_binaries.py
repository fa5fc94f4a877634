"""Find the programs of a node: Kubernetes' own are built as those of the control plane are, the others are Debian's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keywright_local.binaries import Report, exclusive_use, report_to_stderr
from keywright_local.errors import NodeUnavailableError
from keywright_local.go_build import Builder, find_go
from keywright_local.versions import NODE_PROGRAMS, cache_directory, read_pinned_versions

__all__ = ["NodeBinaries", "find_node_binaries"]

# Program -> Debian's package. Daemons and network plugins are not on everybody's PATH.
_SYSTEM_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "host-local": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
}
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/cni")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBinaries:
    """Where each program of a node lies."""

    kubelet: Path
    kube_proxy: Path
    kube_scheduler: Path
    pause: Path
    containerd: Path
    ctr: Path
    network_plugins: Path  # a folder


def find_node_binaries(environment: Mapping[str, str] = os.environ, report: Report = report_to_stderr) -> NodeBinaries:
    """All of them, built if need be.

    Raises NodeUnavailableError when a package is missing, BinariesUnavailableError when nothing can be built.
    """
    system = _find_system_programs(environment)
    versions = read_pinned_versions()
    folder = cache_directory(environment) / "binaries" / versions.folder
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_use(folder, report):
        missing = [program for program in NODE_PROGRAMS if not os.access(folder / program, os.X_OK)]
        if missing:
            go = find_go(environment, versions)
            Builder(go=go, versions=versions, report=report).build(missing, folder)
    return NodeBinaries(
        kubelet=folder / "kubelet",
        kube_proxy=folder / "kube-proxy",
        kube_scheduler=folder / "kube-scheduler",
        pause=folder / "pause",
        containerd=system["containerd"],
        ctr=system["ctr"],
        network_plugins=system["host-local"].parent,
    )


def _find_system_programs(environment: Mapping[str, str]) -> dict[str, Path]:
    places = os.pathsep.join([environment.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    found = {program: shutil.which(program, path=places) for program in _SYSTEM_PROGRAMS}
    missing = [program for program, path in found.items() if path is None]
    if missing:
        packages = " ".join(sorted({_SYSTEM_PROGRAMS[program] for program in missing}))
        raise NodeUnavailableError(
            f"There is no {', no '.join(missing)}.",
            remedy=f"run `make test-deps`, or install {packages} (Debian's names).",
        )
    return {program: Path(path) for program, path in found.items() if path is not None}
