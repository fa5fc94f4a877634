"""Keys that come from git, and people who act by hand beside it: with Flux's own apply, and with kubectl's, which is what
Argo CD runs. docs/guides/gitops.md promises what is proven here.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from keywright_local import ControlPlane
from tests.support.gitops import Flux
from tests.support.kube import Kube, Manifest, eventually

pytestmark = pytest.mark.usefixtures("shared_operator")

# How Argo CD and Helm mark what they manage, and what they prune by.
TRACKING = {
    "labels": {"app.kubernetes.io/instance": "keys", "argocd.argoproj.io/instance": "keys"},
    "annotations": {"argocd.argoproj.io/tracking-id": "keys:keywright.dev/ApiKey:x/key"},
}
MERGE = {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Merge"}}

Kubectl = Callable[..., None]


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Flux:
    return Flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture
def kubectl(plane: ControlPlane, namespace: str) -> Kubectl:
    """kubectl in the test's namespace; a manifest goes to its standard input."""

    def run(*arguments: str, manifest: Manifest | None = None) -> None:
        command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), "-n", namespace, *arguments]
        text = yaml.safe_dump(manifest) if manifest is not None else ""
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return run


def in_git(namespace: str, metadata: Manifest | None = None, **spec: Any) -> Manifest:
    """The ApiKey ``key`` as a file in git has it."""
    return {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": {"name": "key", "namespace": namespace, **(metadata or {})},
        "spec": spec,
    }


def by_hand(**spec: Any) -> tuple[str, ...]:
    """Arguments of kubectl that change the key's spec."""
    return ("patch", "apikey", "key", "--type=merge", "-p", json.dumps({"spec": spec}))


def is_suspended(admin: Kube, namespace: str) -> bool:
    return bool(admin.get(namespace, "key")["spec"]["suspended"])


def sync(flux: Flux, plane: ControlPlane, manifest: Manifest) -> None:
    assert flux.apply(plane.kubeconfig, manifest) == ""


def test_no_tool_takes_the_secret_for_its_own(
    flux: Flux, plane: ControlPlane, admin: Kube, namespace: str, kubectl: Kubectl
) -> None:
    """Whatever marks the ApiKey, its Secret has none of it, so nothing prunes it; also after a rotation."""
    sync(flux, plane, in_git(namespace, TRACKING))
    assert "kustomize.toolkit.fluxcd.io/name" in admin.get(namespace, "key")["metadata"]["labels"]
    first = admin.wait(namespace, "key", Active="True")["status"]["currentKeyId"]
    for trigger in ("one", "two"):
        sync(flux, plane, in_git(namespace, TRACKING, rotation={"trigger": trigger}))
    eventually(lambda: admin.get(namespace, "key")["status"]["currentKeyId"] != first)
    secret = admin.secret(namespace, "key")
    assert secret is not None
    assert set(secret["metadata"]["labels"]) == {"app.kubernetes.io/managed-by", "keywright.dev/api-key"}
    assert all(each.startswith("keywright.dev/") for each in secret["metadata"]["annotations"])


def test_flux_undoes_what_kubectl_did(
    flux: Flux, plane: ControlPlane, admin: Kube, namespace: str, kubectl: Kubectl
) -> None:
    """A plain kubectl patch lasts until the next sync, a suspension too: the guide warns of it."""
    sync(flux, plane, in_git(namespace))
    kubectl(*by_hand(suspended=True))
    assert is_suspended(admin, namespace)
    sync(flux, plane, in_git(namespace))
    assert not is_suspended(admin, namespace)


@pytest.mark.parametrize(
    ("metadata", "flags"), [({}, ["--field-manager=on-call"]), (MERGE, [])], ids=["a manager of one's own", "Merge"]
)
def test_flux_leaves_a_suspension_by_hand(
    flux: Flux,
    plane: ControlPlane,
    admin: Kube,
    namespace: str,
    kubectl: Kubectl,
    metadata: Manifest,
    flags: list[str],
) -> None:
    """With another field manager than kubectl's, or where git asks Flux to merge. Git can still resume it."""
    sync(flux, plane, in_git(namespace, metadata))
    kubectl(*by_hand(suspended=True), *flags)
    sync(flux, plane, in_git(namespace, metadata, description="changed since"))
    assert is_suspended(admin, namespace)
    sync(flux, plane, in_git(namespace, metadata, suspended=False))
    assert not is_suspended(admin, namespace)


def test_flux_cannot_undo_a_revocation(
    flux: Flux, plane: ControlPlane, admin: Kube, namespace: str, kubectl: Kubectl
) -> None:
    """It stays revoked, the sync fails and says why, and succeeds once git says so too."""
    sync(flux, plane, in_git(namespace))
    kubectl(*by_hand(revoked=True))
    admin.wait(namespace, "key", Active="False/KeyRevoked")
    assert "a revoked key stays revoked" in flux.apply(plane.kubeconfig, in_git(namespace))
    assert admin.get(namespace, "key")["spec"]["revoked"]
    sync(flux, plane, in_git(namespace, revoked=True))


def test_a_field_that_never_changes_fails_the_sync(
    flux: Flux, plane: ControlPlane, admin: Kube, namespace: str
) -> None:
    """The sync says which, and the key goes on as it was."""
    sync(flux, plane, in_git(namespace))
    before = admin.wait(namespace, "key", Active="True")["metadata"]["uid"]
    assert "spec.className is immutable" in flux.apply(plane.kubeconfig, in_git(namespace, className="other"))
    assert admin.wait(namespace, "key", Active="True")["metadata"]["uid"] == before


def test_flux_lets_a_rotation_by_hand_happen_once(
    flux: Flux, plane: ControlPlane, admin: Kube, namespace: str, kubectl: Kubectl
) -> None:
    """Flux takes the annotation away again, which is no second rotation; the same value put back is none either."""

    def current() -> str:
        return str(admin.get(namespace, "key")["status"].get("currentKeyId"))

    sync(flux, plane, in_git(namespace))
    admin.wait(namespace, "key", Active="True")
    issued = [current()]
    annotate = ("annotate", "apikey", "key", "--overwrite")
    for value in ("once", "twice"):
        kubectl(*annotate, f"keywright.dev/rotate={value}")
        eventually(lambda: current() not in issued)
        issued.append(current())
        sync(flux, plane, in_git(namespace))
        assert "keywright.dev/rotate" not in admin.get(namespace, "key")["metadata"].get("annotations", {})
    kubectl(*annotate, "keywright.dev/rotate=twice")
    sync(flux, plane, in_git(namespace, description="looked at since"))
    generation = admin.get(namespace, "key")["metadata"]["generation"]
    eventually(lambda: admin.get(namespace, "key")["status"]["observedGeneration"] == generation)
    assert current() == issued[-1]


def test_kubectl_apply_leaves_what_git_does_not_mention(admin: Kube, namespace: str, kubectl: Kubectl) -> None:
    """So a suspension by hand outlasts a sync of Argo CD, unless git says ``suspended: false``."""
    kubectl("apply", "-f", "-", manifest=in_git(namespace))
    kubectl(*by_hand(suspended=True))
    kubectl("apply", "-f", "-", manifest=in_git(namespace, description="changed since"))
    assert is_suspended(admin, namespace)
    kubectl("apply", "-f", "-", manifest=in_git(namespace, suspended=False))
    assert not is_suspended(admin, namespace)


def test_what_is_pruned_is_dead_and_comes_back_as_another_key(admin: Kube, namespace: str, kubectl: Kubectl) -> None:
    """Taking a key out of git ends it and its Secret; putting the file back makes a new key."""
    kubectl("apply", "-f", "-", manifest=in_git(namespace))
    admin.wait(namespace, "key", Active="True")
    before = admin.plain_key(namespace, "key")
    kubectl("delete", "apikey", "key")
    eventually(lambda: admin.secret(namespace, "key") is None, within=60)
    kubectl("apply", "-f", "-", manifest=in_git(namespace))
    admin.wait(namespace, "key", Active="True")
    assert admin.plain_key(namespace, "key") != before
