"""The manifests of an installation as kustomize and Helm render them, to be compared and tried."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from keywright_local import BinariesUnavailableError, ControlPlane
from keywright_local.packaging_tools import PackagingTools, find_packaging_tools
from tests.support.kube import Manifest

__all__ = [
    "CHART",
    "OVERLAYS",
    "SYSTEM",
    "VARIANTS",
    "Variant",
    "by_name",
    "helm_template",
    "kubectl",
    "kustomize",
    "pods",
    "render",
    "tools_or_skip",
]

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deploy/kustomize/overlays"
CHART = ROOT / "deploy/chart/keywright"
SYSTEM = "keywright-system"
WITHOUT_THE_REST = [f"--set={part}.enabled=false" for part in ("crds", "roles", "admission", "operator")]


@dataclass(frozen=True)
class Variant:
    """One installation, said in both ways. ``helm`` holds the flags of ``helm template``."""

    name: str
    overlays: tuple[Path, ...]
    helm: tuple[str, ...]


VARIANTS = [
    Variant("operator", (OVERLAYS / "operator",), ()),
    Variant(
        "operator-fills-owner",
        (OVERLAYS / "operator", ROOT / "deploy/admission/mutating"),
        ("--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",),
    ),
    Variant("single-namespace", (OVERLAYS / "single-namespace",), ("--set=operator.namespaces={payments}",)),
    Variant("console", (OVERLAYS / "console",), (*WITHOUT_THE_REST, "--set=console.enabled=true")),
    Variant("verifier-gateway", (OVERLAYS / "verifier-gateway",), (*WITHOUT_THE_REST, "--set=verifier.enabled=true")),
]


def tools_or_skip() -> PackagingTools:
    """Helm and kubeconform. Skips where they cannot be built, and fails there if nobody reads skips (CI=true)."""
    try:
        return find_packaging_tools()
    except BinariesUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(f"{error.message} {error.remedy}")


def kubectl(plane: ControlPlane, *arguments: str | Path, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """kubectl as the administrator; its outcome is the caller's to judge."""
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


def kustomize(plane: ControlPlane, *folders: Path) -> str:
    """What ``kubectl kustomize`` renders."""
    done = [kubectl(plane, "kustomize", folder) for folder in folders]
    for each in done:
        assert (each.returncode, each.stderr) == (0, "")
    return "---\n".join(each.stdout for each in done)


def helm_template(tools: PackagingTools, *flags: str) -> str:
    """What ``helm template`` renders."""
    command: list[str | Path] = [tools.helm, "template", "keywright", CHART, f"--namespace={SYSTEM}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def render(plane: ControlPlane, tools: PackagingTools, variant: Variant) -> dict[str, str]:
    """Both renderings, by who made them."""
    return {"kustomize": kustomize(plane, *variant.overlays), "helm": helm_template(tools, *variant.helm)}


def by_name(text: str) -> dict[str, Manifest]:
    """Manifests by kind, namespace and name; no two of the same."""
    found: dict[str, Manifest] = {}
    for each in yaml.safe_load_all(text):
        if each is None:
            continue
        name = f"{each['kind']}/{each['metadata'].get('namespace', '-')}/{each['metadata']['name']}"
        assert name not in found, f"{name} is there twice"
        found[name] = each
    return found


def pods(manifests: dict[str, Manifest]) -> Iterator[Manifest]:
    """Each pod that the workloads among them would make."""
    for name, each in manifests.items():
        if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            template = each["spec"]["template"]
            metadata = {**template["metadata"], "name": name.rpartition("/")[2]}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
