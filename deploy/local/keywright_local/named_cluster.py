"""A cluster that somebody names on purpose instead of the embedded one.

An exported KUBECONFIG says where kubectl goes, not where tests may create and
delete things, so only ``CLUSTER=current`` counts, and whoever asks is told
which context and server that is before anything happens there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keywright_local.errors import ClusterChoiceError
from keywright_local.private_files import write_private
from keywright_local.versions import cache_directory, read_pinned_versions

__all__ = ["NamedCluster", "named_cluster"]

_CURRENT = "current"
_EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCluster:
    """The context that kubectl uses at the moment of asking."""

    context: str
    server: str
    kubectl: Path

    def export_kubeconfig(self, path: Path, environment: Mapping[str, str] = os.environ) -> Path:
        """Write this one context, credentials included, to ``path`` (mode 0600).

        Whoever works with the file stays at this cluster, even when somebody
        switches contexts meanwhile.
        """
        return write_private(path, _view(self.kubectl, environment, self.context, "--raw"))


def named_cluster(environment: Mapping[str, str] = os.environ) -> NamedCluster | None:
    """The cluster of ``CLUSTER=current``; None for the embedded control plane.

    Raises ClusterChoiceError for any other value, without kubectl, and when
    kubectl has no current context.
    """
    choice = environment.get("CLUSTER", "").strip()
    if choice in {"", _EMBEDDED}:
        return None
    if choice != _CURRENT:
        raise ClusterChoiceError(
            f"CLUSTER={choice} names no cluster.",
            remedy=f"CLUSTER={_CURRENT} takes the cluster of kubectl's current context, "
            f"CLUSTER={_EMBEDDED} or no CLUSTER at all the embedded control plane.",
        )
    kubectl = _find_kubectl(environment)
    view = json.loads(_view(kubectl, environment))
    clusters = view.get("clusters") or []
    if not view.get("current-context") or not clusters:
        raise ClusterChoiceError(
            "CLUSTER=current, but kubectl has no current context.",
            remedy="choose one with `kubectl config use-context`, or unset CLUSTER.",
        )
    return NamedCluster(
        context=view["current-context"],
        server=clusters[0]["cluster"]["server"],
        kubectl=kubectl,
    )


def _find_kubectl(environment: Mapping[str, str]) -> Path:
    cached = cache_directory(environment) / "binaries" / read_pinned_versions().folder
    places = os.pathsep.join([environment.get("PATH", os.defpath), str(cached)])
    found = shutil.which("kubectl", path=places)
    if found is None:
        raise ClusterChoiceError(
            "CLUSTER=current needs kubectl, and there is none.",
            remedy="install kubectl or unset CLUSTER.",
        )
    return Path(found)


def _view(kubectl: Path, environment: Mapping[str, str], context: str = "", *flags: str) -> bytes:
    chosen = ["--context", context] if context else []
    asked = subprocess.run(
        [kubectl, "config", "view", "--minify", "--flatten", "-o", "json", *chosen, *flags],
        env=dict(environment),
        capture_output=True,
        check=False,
    )
    if asked.returncode != 0:
        # With --minify kubectl fails on a missing context; that is for the caller to say.
        if not context and b"current-context" in asked.stderr:
            return b"{}"
        raise ClusterChoiceError(
            f"kubectl cannot read its configuration: {asked.stderr.decode().strip()}",
            remedy="repair the kubeconfig, or unset CLUSTER.",
        )
    return asked.stdout
