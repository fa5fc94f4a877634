"""What is built, and where it is kept.

go.mod is the only place that states a version: what is pinned there is what is
built, what names the folder in the cache, and what a found program is held
against. The cache lies outside the project, so every checkout shares it.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GO_MODULE", "NODE_PROGRAMS", "PROGRAMS", "PinnedVersions", "cache_directory", "read_pinned_versions"]

GO_MODULE = Path(__file__).resolve().parent.parent / "go"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NODE_PROGRAMS = ("kubelet", "kube-proxy", "kube-scheduler", "pause")

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersions:
    """The versions that go.mod pins, each with its leading ``v`` except Go's."""

    kubernetes: str
    etcd: str
    go: str

    @property
    def kubernetes_minor(self) -> tuple[int, int]:
        """Major and minor, as Kubernetes' version skew policy counts them."""
        major, minor = self.kubernetes.removeprefix("v").split(".")[:2]
        return int(major), int(minor)

    @property
    def platform(self) -> str:
        """Operating system and architecture in Go's words, such as ``linux-amd64``."""
        machine = platform.machine().lower()
        return f"{platform.system().lower()}-{_ARCHITECTURES.get(machine, machine)}"

    @property
    def folder(self) -> str:
        """Name of the cache folder; a home shared by two kinds of machine holds two."""
        return f"{self.kubernetes}-etcd-{self.etcd}-{self.platform}"


def read_pinned_versions(module: Path = GO_MODULE) -> PinnedVersions:
    """Read the versions out of the go.mod in ``module``."""
    text = (module / "go.mod").read_text(encoding="utf-8")

    def find(pattern: str) -> str:
        match = re.search(pattern, text, re.MULTILINE)
        if match is None:
            raise ValueError(f"{module / 'go.mod'} pins no {pattern!r}")
        return match.group(1)

    return PinnedVersions(
        kubernetes=find(r"^\s*(?:require\s+)?k8s\.io/kubernetes (v\S+)"),
        etcd=find(r"^\s*(?:require\s+)?go\.etcd\.io/etcd/server/v3 (v\S+)"),
        go=find(r"^go (\S+)$"),
    )


def cache_directory(environment: Mapping[str, str]) -> Path:
    """``KEYWRIGHT_CACHE``, or ``keywright`` in the user's cache folder (XDG base directories)."""
    if named := environment.get("KEYWRIGHT_CACHE"):
        return Path(named).expanduser().absolute()
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "keywright"
