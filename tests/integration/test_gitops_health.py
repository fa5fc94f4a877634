"""What kstatus, Flux and Argo CD make of an ApiKey in every phase, on objects that a real API server and operator made."""

import re
import subprocess
from datetime import UTC, datetime

import pytest
import yaml

from keywright.domain.apikey import Phase
from keywright.domain.times import format_instant
from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.support.gitops import ARGO, Flux, argo_health, flux_expressions
from tests.support.kube import Kube, Manifest, status_of
from tests.support.processes import Process

# What an ApiKey is called here: its phase, what kstatus and Flux say, what Argo CD says.
EXPECTED = {
    "pending": ("Pending", "InProgress", "Progressing"),
    "notObserved": ("Active", "InProgress", "Progressing"),
    "active": ("Active", "Current", "Healthy"),
    "expiring": ("Expiring", "Current", "Healthy"),
    "suspended": ("Suspended", "Current", "Healthy"),
    "expired": ("Expired", "Current", "Healthy"),
    "revoked": ("Revoked", "Current", "Healthy"),
    "classNotFound": ("Failed", "Failed", "Degraded"),
    "secretConflict": ("Failed", "Failed", "Degraded"),
    "secretMissing": ("Failed", "Failed", "Degraded"),
}


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Flux:
    return Flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture
def phases(shared_operator: Process, admin: Kube, namespace: str) -> dict[str, Manifest]:
    """An ApiKey in each phase, and in each way to get stuck. What nobody has looked at yet is as the API server answered."""
    assert shared_operator.popen.poll() is None
    admin.put_secret(namespace, {"metadata": {"name": "secret-conflict"}, "stringData": {"mine": "yes"}})
    admin.apikey(namespace, "active", ttl="90d")
    admin.apikey(namespace, "expiring", ttl="1d")
    admin.apikey(namespace, "suspended", suspended=True)
    admin.apikey(namespace, "class-not-found", className="nowhere")
    admin.apikey(namespace, "secret-conflict")
    for name in ("expired", "revoked", "secret-missing", "not-observed"):
        admin.apikey(namespace, name)
        admin.wait(namespace, name, Active="True")
    admin.patch(namespace, "expired", {"spec": {"expiresAt": format_instant(datetime.now(UTC))}})
    admin.patch(namespace, "revoked", {"spec": {"revoked": True, "revocationReason": "leaked"}})
    admin.delete_secret(namespace, "secret-missing")

    def settled(name: str, **conditions: str) -> Manifest:
        return admin.wait(namespace, name, within=40, **conditions)

    return {
        "active": settled("active", Ready="True", Active="True", Expiring="False", SecretDelivered="True"),
        "expiring": settled("expiring", Ready="True", Expiring="True", SecretDelivered="True"),
        "suspended": settled("suspended", Ready="True", Active="False/KeySuspended", SecretDelivered="True"),
        "expired": settled("expired", Ready="True", Active="False/KeyExpired", SecretDelivered="False"),
        "revoked": settled("revoked", Ready="True", Active="False/KeyRevoked", SecretDelivered="False"),
        "classNotFound": settled("class-not-found", Stalled="True/ClassNotFound"),
        "secretConflict": settled("secret-conflict", Stalled="True/SecretConflict"),
        "secretMissing": settled("secret-missing", Stalled="True/SecretMissing"),
        "pending": admin.apikey(namespace, "pending"),
        "notObserved": admin.patch(namespace, "not-observed", {"spec": {"description": "new"}}),
    }


def recorded(name: str) -> Manifest:
    """The object in Argo CD's test data, by the name it has here."""
    (path,) = ARGO.glob(f"testdata/*_{name}.yaml")
    manifest: Manifest = yaml.safe_load(path.read_text())
    return manifest


def test_every_phase_means_the_same_to_all_of_them(phases: dict[str, Manifest], flux: Flux) -> None:
    """A key that is as git wants it is done, one that waits for a person has failed, all else is on its way."""
    assert {phase for phase, _, _ in EXPECTED.values()} == set(Phase)
    opinions = dict(zip(phases, flux.judge(list(phases.values()), flux_expressions()), strict=True))
    seen = {
        name: (manifest["status"]["phase"], *opinions[name], argo_health(manifest)[0])
        for name, manifest in phases.items()
    }
    assert seen == {name: (phase, said, said, argo) for name, (phase, said, argo) in EXPECTED.items()}


def test_the_test_data_is_what_operators_write(phases: dict[str, Manifest]) -> None:
    """Phase and conditions of Argo CD's test data are those of live objects, so it cannot grow old unnoticed."""
    for name, live in phases.items():
        old = recorded(name)
        assert (old["status"]["phase"], status_of(old)) == (live["status"]["phase"], status_of(live)), name


def test_argo_cd_finds_its_test_data_as_it_likes_it() -> None:
    """health_test.yaml as Argo CD's own test reads it: status and message of each file, and no file without a case."""
    cases = yaml.safe_load((ARGO / "health_test.yaml").read_text())["tests"]
    assert {each["inputPath"] for each in cases} == {f"testdata/{path.name}" for path in ARGO.glob("testdata/*")}
    for each in cases:
        manifest = yaml.safe_load((ARGO / each["inputPath"]).read_text())
        assert argo_health(manifest) == (each["healthStatus"]["status"], each["healthStatus"]["message"])


def test_an_object_without_status_is_on_its_way() -> None:
    """As a custom resource is before the CRD has its defaults, or in a dry run."""
    assert argo_health({"metadata": {"generation": 1}}) == ("Progressing", "Waiting for the operator")


def test_a_message_of_any_text_reaches_argo_cd() -> None:
    """Quotes, line ends and letters of other alphabets in a reason for a revocation."""
    message = 'revoked: "лeaked"\n\\back'
    conditions = [{"type": "Ready", "status": "True", "reason": "KeyRevoked", "message": message}]
    manifest = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": conditions}}
    assert argo_health(manifest) == ("Healthy", f"KeyRevoked: {message}")


def test_flux_can_be_stricter(flux: Flux) -> None:
    """The expression of the guide turns a key that has ended by itself into a failure, and nothing else."""
    guide = (ROOT / "docs/guides/gitops.md").read_text()
    (strict,) = re.findall(r"^ *failed: (status.+KeyExpired.+)$", guide, re.MULTILINE)
    judged = flux.judge([recorded(name) for name in EXPECTED], flux_expressions() | {"failed": strict})
    failed = {name for name, (_, said) in zip(EXPECTED, judged, strict=True) if said == "Failed"}
    assert failed == {"expired", "classNotFound", "secretConflict", "secretMissing"}


def test_the_health_check_joins_the_config_map_of_argo_cd(plane: ControlPlane, admin: Kube, namespace: str) -> None:
    """The command of the guide adds one entry and leaves what others have set."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    admin.request("POST", path, {"metadata": {"name": "argocd-cm"}, "data": {"url": "https://argocd.example.com"}})
    kubectl = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig)]
    folder = ROOT / "deploy/gitops/argocd"
    rendered = subprocess.run([*kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout
    here = rendered.replace("namespace: argocd", f"namespace: {namespace}")
    command = [*kubectl, "apply", "--server-side", "--field-manager", "keywright", "-f", "-"]
    subprocess.run(command, input=here, check=True, capture_output=True, text=True)
    merged = admin.request("GET", f"{path}/argocd-cm")
    assert merged["data"] == {
        "url": "https://argocd.example.com",
        "resource.customizations.health.keywright.dev_ApiKey": (ARGO / "health.lua").read_text(),
    }
    assert merged["metadata"]["labels"] == {"app.kubernetes.io/part-of": "argocd"}
