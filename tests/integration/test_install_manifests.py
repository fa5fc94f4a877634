"""What kustomize and Helm install: the same objects, as the API server and its schemas want them, in restricted pods."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from keywright_local import ControlPlane
from keywright_local.packaging_tools import PackagingTools
from tests.integration.conftest import ROOT
from tests.support.installation import (
    OVERLAYS,
    SYSTEM,
    VARIANTS,
    Variant,
    by_name,
    helm_template,
    kubectl,
    kustomize,
    pods,
    render,
)
from tests.support.kube import Kube, Manifest
from tests.support.openapi_schemas import LOCATION, write_schemas
from tests.support.people import refusal

KEEP = {"helm.sh/resource-policy": "keep"}
EVERYWHERE = (
    "--set=verifier.enabled=true",
    "--set=verifier.allNamespaces=true",
    "--set=console.enabled=true",
    "--set=console.allNamespaces=true",
    "--set=console.newKeysIn={payments}",
    "--set=console.tls.enabled=false",
)
# What Helm can make besides, for kinds that the API server knows.
EXTRAS = (
    "--set=verifier.enabled=true",
    "--set=verifier.namespaces={payments,orders}",
    "--set=operator.namespaces={payments,orders}",
    "--set=verifier.classes={standard}",
    "--set=verifier.ownerReviews=true",
    "--set=verifier.audit=-",
    "--set=verifier.rateLimitStore.secretName=store",
    "--set=verifier.tls.enabled=false",
    "--set=operator.extraArgs={--workers=8}",
    "--set=console.enabled=true",
    "--set=console.namespaces={payments,orders}",
    "--set=console.classes={standard}",
    "--set=console.tls.clientCA=true",
    "--set=console.proxy.from={10.4.0.0/16}",
    "--set=console.proxy.userHeader=X-Forwarded-User",
    "--set=console.proxy.groupsHeader=X-Forwarded-Groups",
    "--set=console.tokens=false",
    "--set=console.session.minutes=5",
    "--set=console.rateLimit=60",
    "--set=console.impersonation=Named",
    "--set=console.named.users={alice@example.com}",
    "--set=console.named.groups={payments}",
    "--set=console.named.serviceAccounts={payments/provisioner}",
    "--set=image.digest=sha256:" + "0" * 64,
    '--set-json=imagePullSecrets=[{"name": "registry"}]',
    '--set-json=networkPolicy.verifierEgress=[{"ports": [{"port": 6379}]}]',
    '--set-json=operator.tolerations=[{"key": "system", "operator": "Exists"}]',
)  # fmt: skip
CONSUMER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: my-service, labels: {keywright.dev/verifier: sidecar}}
spec:
  selector: {matchLabels: {app: my-service}}
  template:
    metadata: {labels: {app: my-service}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: service
        image: my-service
        securityContext: {runAsUser: 65533, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: not-asked}
spec:
  selector: {matchLabels: {app: not-asked}}
  template:
    metadata: {labels: {app: not-asked}}
    spec:
      containers: [{name: service, image: my-service}]
"""


@pytest.fixture
def consumer(plane: ControlPlane, tmp_path: Path) -> str:
    """What somebody gets who puts the verifier beside a service."""
    (tmp_path / "service.yaml").write_text(CONSUMER)
    component = os.path.relpath(OVERLAYS / "verifier-sidecar", tmp_path)
    kustomization = {"resources": ["service.yaml"], "components": [component]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize(plane, tmp_path)


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant.name)
def rendered(request: pytest.FixtureRequest, plane: ControlPlane, tools: PackagingTools) -> dict[str, str]:
    variant: Variant = request.param
    return render(plane, tools, variant)


@pytest.fixture(scope="module")
def schemas(plane: ControlPlane, admin: Kube, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this API server says about its kinds. The usual collections of schemas are not to be had everywhere."""
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(admin, folder)
    return folder


@pytest.fixture
def restricted(admin: Kube, namespace: str) -> str:
    """A namespace that takes pods of the Pod Security Standard "restricted" alone, as is known by now."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    patch = {"metadata": {"labels": labels}}
    admin.request("PATCH", f"/api/v1/namespaces/{namespace}", patch, "application/merge-patch+json")
    account = {"metadata": {"name": "any"}}
    admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    wide = {"serviceAccountName": "any", "containers": [{"name": "wide", "image": "wide"}]}
    pod = {"metadata": {"name": "wide"}, "spec": wide}
    pods_here = f"/api/v1/namespaces/{namespace}/pods"
    refusal(lambda: admin.request("POST", pods_here, pod, dryRun="All"), saying="violates PodSecurity")
    return namespace


@pytest.fixture(scope="module")
def workspaces(own_admin: Kube) -> Iterator[None]:
    """The namespaces that the variants name, where no other test has left an account or a role."""
    for name in ("payments", "orders"):
        own_admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield
    for name in ("payments", "orders"):
        own_admin.request("DELETE", f"/api/v1/namespaces/{name}")


def comparable(manifests: dict[str, Manifest]) -> dict[str, Manifest]:
    """Without what the two ways differ in on purpose: Helm neither makes nor labels its namespace, and keeps the CRDs."""
    manifests = {name: each for name, each in manifests.items() if each["kind"] != "Namespace"}
    for each in manifests.values():
        if each["kind"] == "CustomResourceDefinition" and each["metadata"].get("annotations") == KEEP:
            del each["metadata"]["annotations"]
    # kustomize doubles line breaks within folded CEL, where they mean nothing.
    text = json.dumps(manifests)
    loaded: dict[str, Manifest] = json.loads(re.sub(r"(\\n)+", r"\\n", text))
    return loaded


def test_both_ways_install_the_same(rendered: dict[str, str]) -> None:
    """Object by object."""
    kustomized, charted = (comparable(by_name(rendered[way])) for way in ("kustomize", "helm"))
    assert kustomized.keys() == charted.keys()
    for name, manifest in kustomized.items():
        assert manifest == charted[name], name


@pytest.mark.usefixtures("workspaces")
def test_the_api_server_takes_it(own_plane: ControlPlane, rendered: dict[str, str]) -> None:
    """Strictly: no unknown field, no doubled one, no warning."""
    for text in rendered.values():
        done = kubectl(own_plane, "apply", "--dry-run=server", "--validate=strict", "-f", "-", text=text)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("workspaces")
def test_the_api_server_takes_every_option(own_plane: ControlPlane, tools: PackagingTools) -> None:
    """Every switch of the chart but those for kinds that it does not know."""
    for options in (EXTRAS, EVERYWHERE):
        text = helm_template(tools, *options)
        done = kubectl(own_plane, "apply", "--dry-run=server", "--validate=strict", "-f", "-", text=text)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("workspaces")
def test_the_api_server_takes_what_is_for_the_prometheus_operator(
    own_plane: ControlPlane, tools: PackagingTools
) -> None:
    """Where that operator has brought its kinds; a field that is none of theirs is found."""
    kinds = ROOT / "tests/support/schemas/prometheus-operator.yaml"
    assert kubectl(own_plane, "apply", "--server-side", "-f", kinds).returncode == 0
    assert kubectl(own_plane, "wait", "--for=condition=Established", "-f", kinds, "--timeout=30s").returncode == 0
    switches = ("serviceMonitor", "prometheusRule")
    flags = [f"--set=monitoring.{each}.enabled=true" for each in switches]
    labels = [f"--set=monitoring.{each}.labels.release=prometheus" for each in switches]
    text = helm_template(tools, *EVERYWHERE, *flags, *labels)
    assert {"ServiceMonitor", "PrometheusRule"} <= {each["kind"] for each in by_name(text).values()}
    dry_run = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    done = kubectl(own_plane, *dry_run, text=text)
    assert (done.returncode, done.stderr) == (0, "")
    for right, wrong, place in (
        ("honorLabels:", "honourLabels:", "spec.endpoints[0].honourLabels"),
        ("expr:", "expression:", "spec.groups[0].rules[0].expression"),
    ):
        assert right in text
        done = kubectl(own_plane, *dry_run, text=text.replace(right, wrong))
        assert done.returncode == 1
        assert f'unknown field "{place}"' in done.stderr


def test_the_api_server_takes_the_sidecar(plane: ControlPlane, restricted: str, consumer: str) -> None:
    """As a native sidecar of the workload that is labelled, and of no other."""
    done = kubectl(plane, "apply", "--dry-run=server", "--validate=strict", "-n", restricted, "-f", "-", text=consumer)
    # The warning is about the service that is not asked, which is not restricted: so it is looked at.
    assert done.returncode == 0
    assert "Warning: would violate PodSecurity" in done.stderr
    found = {name.rpartition("/")[2]: each for name, each in by_name(consumer).items() if "Deployment" in name}
    assert "initContainers" not in found["not-asked"]["spec"]["template"]["spec"]
    pod = found["my-service"]["spec"]["template"]["spec"]
    (verifier,) = pod["initContainers"]
    assert (verifier["restartPolicy"], verifier["startupProbe"]["httpGet"]["path"]) == ("Always", "/readyz")
    assert pod["automountServiceAccountToken"] is False
    (service,) = pod["containers"]
    assert "volumeMounts" not in service


def conform(tools: PackagingTools, schemas: Path, text: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [tools.kubeconform, "-strict", "-schema-location", f"{schemas}/{LOCATION}", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


def test_it_conforms_to_the_schemas(rendered: dict[str, str], tools: PackagingTools, schemas: Path) -> None:
    """By kubeconform."""
    for text in rendered.values():
        done = conform(tools, schemas, text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_schemas_find_mistakes(plane: ControlPlane, tools: PackagingTools, schemas: Path) -> None:
    """A field that is none, and a value of the wrong kind, deep in a Deployment."""
    text = kustomize(plane, OVERLAYS / "operator")
    for right, wrong in (("readOnlyRootFilesystem:", "readonlyRootFilesystem:"), ("replicas: 2", "replicas: two")):
        assert right in text
        done = conform(tools, schemas, text.replace(right, wrong))
        assert done.returncode == 1
        assert "Deployment keywright-operator is invalid" in done.stdout


def test_pods_are_restricted(plane: ControlPlane, restricted: str, consumer: str, rendered: dict[str, str]) -> None:
    """A namespace that enforces the standard takes them, and would not take them with one capability more."""
    found = [*pods(by_name(rendered["kustomize"])), *pods(by_name(rendered["helm"]))]
    found += [each for each in pods(by_name(consumer)) if each["metadata"]["name"] == "my-service"]
    for pod in found:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": pod["spec"]["serviceAccountName"]},
        }
        kubectl(plane, "apply", "-n", restricted, "-f", "-", text=json.dumps(account))
        create = ("create", "--dry-run=server", "-n", restricted, "-f", "-")
        done = kubectl(plane, *create, text=json.dumps(pod))
        assert (done.returncode, done.stderr) == (0, "")
        container = (pod["spec"].get("initContainers") or pod["spec"]["containers"])[0]
        container["securityContext"]["capabilities"] = {"add": ["NET_ADMIN"], "drop": ["ALL"]}
        done = kubectl(plane, *create, text=json.dumps(pod))
        assert 'violates PodSecurity "restricted' in done.stderr


def test_the_guide_names_other_namespaces(plane: ControlPlane, tmp_path: Path) -> None:
    """Its kustomization moves the shared verifier's argument, and its RoleBinding comes with it."""
    guide = (ROOT / "docs/guides/install.md").read_text().partition("### Whose keys it trusts")[2]
    kustomization, rights = re.findall(r"```text\n(.*?)```", guide, re.DOTALL)[:2]
    ours = os.path.relpath(ROOT, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(kustomization.replace("../keywright", ours))
    (tmp_path / "rights.yaml").write_text(rights)
    found = by_name(kustomize(plane, tmp_path))
    (container,) = found[f"Deployment/{SYSTEM}/keywright-verifier"]["spec"]["template"]["spec"]["containers"]
    assert [each for each in container["args"] if "namespace" in each] == ["--namespace=payments"]
    assert container["image"] == "registry.example.com/keywright:0.1.0"
    own = dict(found[f"RoleBinding/{SYSTEM}/keywright-verifier"])
    assert found["RoleBinding/payments/keywright-verifier"] == {
        **own,
        "metadata": {**own["metadata"], "namespace": "payments"},
    }


def test_the_guide_has_the_console_serve_another_namespace(plane: ControlPlane, tmp_path: Path) -> None:
    """Its kustomization moves the argument, and the RoleBindings that come with it are those of the overlay."""
    guide = (ROOT / "docs/guides/console.md").read_text().partition("## Installing")[2]
    kustomization, rights = re.findall(r"```text\n(.*?)```", guide, re.DOTALL)[:2]
    (tmp_path / "kustomization.yaml").write_text(kustomization.replace("../keywright", os.path.relpath(ROOT, tmp_path)))
    (tmp_path / "rights.yaml").write_text(rights)
    found = by_name(kustomize(plane, tmp_path))
    (container,) = found[f"Deployment/{SYSTEM}/keywright-console"]["spec"]["template"]["spec"]["containers"]
    assert [each for each in container["args"] if "namespace" in each] == ["--namespace=payments"]
    for name in ("reader", "keys", "secrets"):
        own = dict(found[f"RoleBinding/{SYSTEM}/keywright-console-{name}"])
        assert found[f"RoleBinding/payments/keywright-console-{name}"] == {
            **own,
            "metadata": {**own["metadata"], "namespace": "payments"},
        }


def test_the_service_of_the_monitoring_guide_finds_the_operator(plane: ControlPlane) -> None:
    """Its selector is on the pods that are installed, and its port is one of theirs."""
    guide = (ROOT / "docs/guides/monitoring.md").read_text()
    service = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)[0])["spec"]
    (pod,) = pods(by_name(kustomize(plane, OVERLAYS / "operator")))
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert [each["targetPort"] for each in service["ports"]] == [each["containerPort"] for each in container["ports"]]


def test_the_namespace_enforces_it(plane: ControlPlane) -> None:
    """kustomize makes the namespace, so it labels it."""
    (namespace,) = (
        each for each in by_name(kustomize(plane, OVERLAYS / "operator")).values() if each["kind"] == "Namespace"
    )
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
