"""The Helm chart by itself: its switches, what it says of wrong values, and what only Helm makes."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from keywright_local.packaging_tools import PackagingTools
from tests.integration.conftest import ROOT
from tests.support.installation import CHART, by_name, helm_template, pods
from tests.support.kube import Manifest

KEEP = {"helm.sh/resource-policy": "keep"}
WRONG = {
    "a word that is none": ("operator.replica=3", "at '/operator': additional properties 'replica' not allowed"),
    "no replica": ("operator.replicas=0", "at '/operator/replicas': minimum: got 0, want 1"),
    "a namespace that cannot be": ("operator.namespaces={Pay}", "at '/operator/namespaces/0': 'Pay' does not match"),
    "a proxy for how it asks": ("verifier.requestFrom=envoy", "must be one of 'path', 'original', 'forwarded'"),
    "a tag in the repository": ("image.repository=keywright:1", "at '/image/repository': 'keywright:1' does not match"),
    "a blank in the repository": ("image.repository=key wright", "at '/image/repository': 'key wright' does not match"),
    "a quote in the repository": (
        'image.repository=key"wright',
        "at '/image/repository': 'key\"wright' does not match",
    ),
    "a comment for a tag": ("image.tag=1 # of today", "at '/image/tag': '1 # of today' does not match"),
    "a tag over two lines": (
        "image.tag=1\nhostNetwork: true",
        "at '/image/tag': '1\\nhostNetwork: true' does not match",
    ),
    "a field after the priority": (
        "operator.priorityClassName=high\nhostNetwork: true",
        "at '/operator/priorityClassName': 'high\\nhostNetwork: true' does not match",
    ),
    "a blank in the priority": (
        "verifier.priorityClassName=so high",
        "at '/verifier/priorityClassName': 'so high' does",
    ),
    "a short digest": ("image.digest=sha256:0", "at '/image/digest': 'sha256:0' does not match"),
    "no bound on memory": ("verifier.resources.limits=null", "at '/verifier/resources': missing property 'limits'"),
    "no replica of the console": ("console.replicas=0", "at '/console/replicas': minimum: got 0, want 1"),
    "everybody as the proxy": (
        "console.proxy.from={0.0.0.0/0}",
        "at '/console/proxy/from/0': '0.0.0.0/0' does not match",
    ),
    "an address as the proxy": (
        "console.proxy.from={10.4.0.7}",
        "at '/console/proxy/from/0': '10.4.0.7' does not match",
    ),
    "a colon in a header": (
        "console.proxy.userHeader=X-User:",
        "at '/console/proxy/userHeader': 'X-User:' does not match",
    ),
    "a session of hours": ("console.session.minutes=90", "at '/console/session/minutes': maximum: got 90, want 60"),
    "a session without an end": ("console.session.minutes=0", "at '/console/session/minutes': minimum: got 0, want 1"),
    "no limit": ("console.rateLimit=0", "at '/console/rateLimit': minimum: got 0, want 1"),
    "whom it may not act as": (
        "console.named.groups={system:masters}",
        "at '/console/named/groups/0': 'not' failed",
    ),
    "an account without a namespace": (
        "console.named.serviceAccounts={provisioner}",
        "at '/console/named/serviceAccounts/0': 'provisioner' does not match",
    ),
    "another way to act": ("console.impersonation=All", "must be one of 'Constrained', 'Named'"),
    "a port that is none": ("networkPolicy.apiServerPorts={0}", "at '/networkPolicy/apiServerPorts/0': minimum"),
}
# In a values file: what stands there, and what is said of it.
EMPTY = {
    "client certificates": ("verifier: {tls: {clientCA: }}", "at '/verifier/tls': missing property 'clientCA'"),
    "TLS": ("verifier: {tls: {enabled: }}", "at '/verifier/tls': missing property 'enabled'"),
    "all of TLS": ("verifier: {tls: }", "at '/verifier': missing property 'tls'"),
    "who may ask": ("networkPolicy: {verifierClients: }", "at '/networkPolicy': missing property 'verifierClients'"),
    "a selector of who may ask": (
        "networkPolicy: {verifierClients: [{namespaceSelector: {}, podSelector: }]}",
        "at '/networkPolicy/verifierClients/0/podSelector': got null, want object",
    ),
    "network policies": ("networkPolicy: {enabled: }", "at '/networkPolicy': missing property 'enabled'"),
    "admission policies": ("admission: {enabled: }", "at '/admission': missing property 'enabled'"),
    "who may ask the console": (
        "networkPolicy: {consoleClients: }",
        "at '/networkPolicy': missing property 'consoleClients'",
    ),
    "TLS of the console": ("console: {tls: {enabled: }}", "at '/console/tls': missing property 'enabled'"),
    "the key of sessions": (
        "console: {session: {secretName: }}",
        "at '/console/session': missing property 'secretName'",
    ),
    "how it acts as others": ("console: {impersonation: }", "at '/console': missing property 'impersonation'"),
    "namespaces of the console": ("console: {namespaces: }", "at '/console': missing property 'namespaces'"),
    "namespaces of the operator": ("operator: {namespaces: }", "at '/operator': missing property 'namespaces'"),
    "namespaces of the verifier": ("verifier: {namespaces: }", "at '/verifier': missing property 'namespaces'"),
}


def test_every_crd_is_kept_when_helm_uninstalls(tools: PackagingTools) -> None:
    """All keys would go with them. The switch leaves them out."""
    crds = of_kind(by_name(helm_template(tools)).values(), "CustomResourceDefinition")
    assert len(crds) == len(list((ROOT / "crds").glob("*.yaml"))) == 3
    assert all(each["metadata"]["annotations"] == KEEP for each in crds)
    assert "CustomResourceDefinition" not in helm_template(tools, "--set=crds.enabled=false")


def test_no_class_is_installed(tools: PackagingTools) -> None:
    """Classes are the platform team's; the operator has a standard one built in."""
    assert not [name for name in by_name(helm_template(tools)) if name.startswith("ApiKeyClass/")]


def test_owners_are_filled_in_only_where_that_is_served(tools: PackagingTools) -> None:
    """MutatingAdmissionPolicy is new in Kubernetes 1.36; an older API server would refuse the whole release."""
    served = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
    assert "MutatingAdmissionPolicy" not in helm_template(tools)
    assert "MutatingAdmissionPolicy" in helm_template(tools, served)
    assert "MutatingAdmissionPolicy" not in helm_template(tools, served, "--set=admission.fillOwner=false")


def test_figures_are_scraped_from_every_pod(tools: PackagingTools) -> None:
    """Each ServiceMonitor finds one Service, which finds the pods of one Deployment at a port that they have."""
    both = ("--set=verifier.enabled=true", "--set=console.enabled=true")
    flags = (*both, "--set=monitoring.serviceMonitor.enabled=true")
    found = by_name(helm_template(tools, *flags, "--set=monitoring.serviceMonitor.labels.release=prometheus"))
    monitors = of_kind(found.values(), "ServiceMonitor")
    assert {each["metadata"]["name"] for each in monitors} == {
        "keywright-operator",
        "keywright-verifier",
        "keywright-console",
    }
    for monitor in monitors:
        assert monitor["metadata"]["labels"] == {"release": "prometheus"}
        (service,) = of_kind(found.values(), "Service", monitor["spec"]["selector"]["matchLabels"])
        (endpoint,) = monitor["spec"]["endpoints"]
        (port,) = service["spec"]["ports"]
        assert endpoint["honorLabels"] is True
        assert endpoint["port"] == port["name"]
        (pod,) = of_kind(pods(found), "Pod", service["spec"]["selector"])
        (container,) = pod["spec"]["containers"]
        assert (port["targetPort"], port["port"]) in {(at["name"], at["containerPort"]) for at in container["ports"]}
        assert f"port: {port['port']}" in yaml.safe_dump(policy_of(found, pod)["spec"]["ingress"])


def policy_of(found: dict[str, Manifest], pod: Manifest) -> Manifest:
    """The NetworkPolicy of a pod."""
    labels = pod["metadata"]["labels"]
    (policy,) = (
        each
        for each in of_kind(found.values(), "NetworkPolicy")
        if each["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    )
    return policy


def of_kind(manifests: Iterable[Manifest], kind: str, labels: dict[str, str] | None = None) -> list[Manifest]:
    """Those of a kind that carry all these labels."""
    wanted = (labels or {}).items()
    return [
        each for each in manifests if each["kind"] == kind and wanted <= (each["metadata"].get("labels") or {}).items()
    ]


@pytest.mark.parametrize(("value", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_told_where_it_stands(tools: PackagingTools, value: str, said: str) -> None:
    """By the schema, before anything is sent to a cluster."""
    done = template(tools, "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(("text", "said"), EMPTY.values(), ids=EMPTY)
def test_an_empty_value_switches_nothing_off(tools: PackagingTools, tmp_path: Path, text: str, said: str) -> None:
    """Helm takes away what a values file leaves empty, and templates would take that for false."""
    (tmp_path / "values.yaml").write_text(text)
    done = template(tools, "--set=verifier.enabled=true", f"--values={tmp_path / 'values.yaml'}")
    assert done.returncode != 0
    assert said in done.stderr


def test_every_value_has_to_be_there() -> None:
    """So none that is added later can be left empty either."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for part, defaults in closed_objects(schema, values):
        assert set(part["required"]) == defaults.keys()


def closed_objects(schema: Manifest, values: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    """Each object of the schema that takes no other property, with what the chart says there."""
    yield schema, values
    for name, value in values.items():
        part = schema["properties"][name]
        if part.get("additionalProperties") is False:
            yield from closed_objects(part, value)


TRUSTED = {
    "none named": ((), ["--namespace=keywright-system"], {"RoleBinding/keywright-system/keywright-verifier"}),
    "two named": (
        ("--set=verifier.namespaces={payments,orders}",),
        ["--namespace=payments", "--namespace=orders"],
        {"RoleBinding/payments/keywright-verifier", "RoleBinding/orders/keywright-verifier"},
    ),
    "all": (
        ("--set=verifier.allNamespaces=true",),
        ["--all-namespaces"],
        {"ClusterRoleBinding/-/keywright-verifier"},
    ),
}


@pytest.mark.parametrize(("flags", "arguments", "bindings"), TRUSTED.values(), ids=TRUSTED)
def test_a_verifier_may_read_the_keys_it_trusts(
    tools: PackagingTools, flags: tuple[str, ...], arguments: list[str], bindings: set[str]
) -> None:
    """What it is told and what it is granted are the same."""
    found = by_name(helm_template(tools, "--set=verifier.enabled=true", *flags))
    (container,) = found["Deployment/keywright-system/keywright-verifier"]["spec"]["template"]["spec"]["containers"]
    assert [each for each in container["args"] if "namespace" in each] == arguments
    roles = {name: each["roleRef"]["name"] for name, each in found.items() if "roleRef" in each}
    assert {name for name, role in roles.items() if role == "keywright-verifier"} == bindings


# What it is told, and where it is bound so that it may look at keys and fetch new ones.
SERVED = {
    "none named": (
        (),
        ["--namespace=keywright-system"],
        ["RoleBinding/keywright-system"],
        ["RoleBinding/keywright-system"],
    ),
    "two named": (
        ("--set=console.namespaces={payments,orders}",),
        ["--namespace=payments", "--namespace=orders"],
        ["RoleBinding/payments", "RoleBinding/orders"],
        ["RoleBinding/payments", "RoleBinding/orders"],
    ),
    "all": (("--set=console.allNamespaces=true",), ["--all-namespaces"], ["ClusterRoleBinding/-"], []),
    "all, and new keys in one": (
        ("--set=console.allNamespaces=true", "--set=console.newKeysIn={payments}"),
        ["--all-namespaces"],
        ["ClusterRoleBinding/-"],
        ["RoleBinding/payments"],
    ),
    "all, and new keys as well": (
        ("--set=console.allNamespaces=true", "--set=console.newKeysIn={*}"),
        ["--all-namespaces"],
        ["ClusterRoleBinding/-"],
        ["ClusterRoleBinding/-"],
    ),
}


@pytest.mark.parametrize(("flags", "arguments", "looks", "fetches"), SERVED.values(), ids=SERVED)
def test_a_console_may_act_where_it_serves(
    tools: PackagingTools, flags: tuple[str, ...], arguments: list[str], looks: list[str], fetches: list[str]
) -> None:
    """What it is told and what it is granted are the same. Which people it acts as is not a namespace's."""
    found = by_name(helm_template(tools, "--set=console.enabled=true", *flags))
    (container,) = found["Deployment/keywright-system/keywright-console"]["spec"]["template"]["spec"]["containers"]
    assert [each for each in container["args"] if "namespace" in each] == arguments
    granted = roles_of(found, "keywright-console")
    everywhere = {("ClusterRoleBinding/-", each) for each in ("keywright-console", "keywright-console-acting")}
    at_home = {("RoleBinding/keywright-system", "keywright-usage-publisher")}
    looking = {(place, role) for place in looks for role in ("keywright-verifier", "keywright-console-keys")}
    assert granted == everywhere | at_home | looking | {(place, "keywright-console-secrets") for place in fetches}


def roles_of(found: dict[str, Manifest], account: str) -> set[tuple[str, str]]:
    """Where the account of this name is bound, and to which roles."""
    return {
        (name.rpartition("/")[0], each["roleRef"]["name"])
        for name, each in found.items()
        if "roleRef" in each and each["subjects"][0]["name"] == account
    }


def test_an_older_api_server_is_told_names(tools: PackagingTools) -> None:
    """Then it acts as those who are named, and as nobody else: no role that is about everybody is bound."""
    flags = ("--set=console.enabled=true", "--set=console.impersonation=Named", "--set=console.named.groups={payments}")
    found = by_name(
        helm_template(tools, *flags, "--set=console.named.serviceAccounts={payments/a,payments/b,orders/c}")
    )
    assert roles_of(found, "keywright-console") == {
        ("ClusterRoleBinding/-", "keywright-console"),
        ("ClusterRoleBinding/-", "keywright-console-named"),
        ("RoleBinding/keywright-system", "keywright-usage-publisher"),
        ("RoleBinding/keywright-system", "keywright-verifier"),
        ("RoleBinding/payments", "keywright-console-named"),
        ("RoleBinding/orders", "keywright-console-named"),
    }
    assert found["ClusterRole/-/keywright-console-named"]["rules"] == [
        {"apiGroups": [""], "resources": ["groups"], "resourceNames": ["payments"], "verbs": ["impersonate"]}
    ]
    (accounts,) = found["Role/payments/keywright-console-named"]["rules"]
    assert (accounts["resources"], accounts["resourceNames"]) == (["serviceaccounts"], ["a", "b"])


TOGETHER = {
    "all and some": (
        "console.allNamespaces=true,console.namespaces={payments}",
        "console.namespaces and console.allNamespaces exclude each other: give one of them",
    ),
    "new keys in some of some": (
        "console.newKeysIn={payments}",
        "console.newKeysIn is for console.allNamespaces: without it new keys are made wherever it serves",
    ),
    "a proxy that says nothing": (
        "console.proxy.from={10.4.0.0/16}",
        "console.proxy.from is believed about nobody: give console.proxy.userHeader too",
    ),
    "a header from nobody": (
        "console.proxy.userHeader=X-User",
        "console.proxy names headers that are believed from nobody: give console.proxy.from too",
    ),
    "nobody may ask": (
        "console.keys=false,console.tokens=false",
        "nobody could sign in: give console.keys, console.tokens or console.proxy.from",
    ),
    "nobody is named": (
        "console.impersonation=Named",
        "console.impersonation is Named and nobody is: give console.named.users, .groups or .serviceAccounts",
    ),
    "names that do not matter": (
        "console.named.users={alice@example.com}",
        "console.named is for console.impersonation=Named: anybody may be acted as without it",
    ),
}


@pytest.mark.parametrize(("values", "said"), TOGETHER.values(), ids=TOGETHER)
def test_values_that_do_not_go_together_are_told(tools: PackagingTools, values: str, said: str) -> None:
    """One of them would be ignored, and nobody would know which."""
    done = template(tools, f"--set=console.enabled=true,{values}")
    assert done.returncode != 0
    assert said in done.stderr


def test_the_chart_makes_up_no_secret(tools: PackagingTools) -> None:
    """What it made up would be new at each upgrade, and lie in the release's history. Twice the same comes out."""
    flags = ("--set=console.enabled=true", "--set=verifier.enabled=true")
    first = helm_template(tools, *flags)
    assert not of_kind(by_name(first).values(), "Secret")
    assert helm_template(tools, *flags) == first


def test_all_namespaces_and_some_exclude_each_other(tools: PackagingTools) -> None:
    """One of them would be ignored, and nobody would know which."""
    done = template(tools, "--set=verifier.enabled=true,verifier.allNamespaces=true,verifier.namespaces={payments}")
    assert done.returncode != 0
    assert "verifier.namespaces and verifier.allNamespaces exclude each other: give one of them" in done.stderr


def template(tools: PackagingTools, *flags: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [tools.helm, "template", "keywright", CHART, *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("prefix", ["", "https://docs.example.com/", "https://docs.example.com/a: \"b #c'd$1/"])
def test_the_alerts_are_those_of_the_repository(tools: PackagingTools, prefix: str) -> None:
    """As they come out, with the address of their runbooks, whatever is in it; a chart without them says what to do."""
    flags = ("--set=monitoring.prometheusRule.enabled=true", f"--set=monitoring.prometheusRule.runbookPrefix={prefix}")
    done = template(tools, *flags)
    (rule,) = of_kind(by_name(done.stdout).values(), "PrometheusRule")
    shipped = (ROOT / "deploy/monitoring/alerts.yaml").read_text()
    expected = yaml.safe_load(shipped)
    for alert in (alert for group in expected["groups"] for alert in group["rules"]):
        alert["annotations"]["runbook_url"] = prefix + alert["annotations"]["runbook_url"]
    assert rule["spec"] == expected


def test_helm_finds_nothing_to_complain_about(tools: PackagingTools) -> None:
    """helm lint, with warnings as errors."""
    done = subprocess.run(
        [tools.helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
