"""The life of an installation on real pods, step by step: once installed by kustomize, once by Helm.

The tests of this module are steps of one story and run in order; the first that fails ends it.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.applications import Application, behind_the_gateway, with_a_sidecar, with_the_sidecar_of_proxies
from tests.e2e.clients import Calls
from tests.e2e.installations import CRDS, SYSTEM, Helm, Installation, Kustomize, write_certificates
from tests.e2e.inventory import inventory
from tests.e2e.kubectl import Kubectl
from tests.e2e.places import Place
from tests.e2e.provisioner import Provisioner
from tests.support.kube import eventually

OPERATOR = "app.kubernetes.io/name=keywright,app.kubernetes.io/component=operator"
CONSOLE_PODS = "app.kubernetes.io/name=keywright,app.kubernetes.io/component=console"
OUTAGE_SECONDS = 20
# Kubernetes 1.x in which the key service needs no names of those whom it acts as.
CONSTRAINED_SINCE = 36


@dataclass
class Story:
    """What the steps share."""

    place: Place
    installation: Installation
    certificates: Path
    folder: Path
    found: set[str]
    applications: list[Application] = field(default_factory=list)
    provisioners: list[Provisioner] = field(default_factory=list)

    @property
    def kubectl(self) -> Kubectl:
        return self.place.kubectl

    def marks(self) -> list[tuple[Application, int]]:
        """Each application, and how much its client has reported by now."""
        return [(each, len(each.reports())) for each in self.applications]


@pytest.fixture(scope="module", params=["kustomize", "helm"])
def story(request: pytest.FixtureRequest, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp(request.param)
    certificates = write_certificates(folder / "certificates")
    ways: dict[str, type[Kustomize | Helm]] = {"kustomize": Kustomize, "helm": Helm}
    installation = ways[request.param](place, folder, certificates)
    story = Story(place, installation, certificates, folder, inventory(place))
    try:
        yield story
    finally:
        namespaces = [each.namespace for each in story.applications]
        with contextlib.ExitStack() as last:
            last.callback(place.kubectl, "delete", "--ignore-not-found", *CRDS)
            last.callback(installation.uninstall)
            if namespaces:
                last.callback(place.kubectl, "delete", "namespace", "--ignore-not-found", *namespaces)


def is_served(calls: Calls) -> bool:
    return set(calls.statuses) == {"200"}


def is_refused(calls: Calls) -> bool:
    return set(calls.statuses) == {"401"}


def is_served_for(key_id: str) -> Callable[[Calls], bool]:
    return lambda calls: is_served(calls) and set(calls.key_ids) == {key_id}


def test_it_installs(story: Story) -> None:
    """Operator and verifier get ready in a namespace that enforces Pod Security ``restricted``."""
    story.installation.install()
    system = story.kubectl.within(SYSTEM)
    for deployment in ("keywright-operator", "keywright-verifier"):
        system("rollout", "status", f"deployment/{deployment}", "--timeout=90s")


def test_applications_start(story: Story) -> None:
    """One with a verifier beside it, one that asks the shared verifier; a client of each with its Secret mounted."""
    by_kustomize = isinstance(story.installation, Kustomize)
    sidecar = with_a_sidecar if by_kustomize else with_the_sidecar_of_proxies
    story.applications.append(sidecar(story.place, story.folder / "sidecar"))
    story.applications.append(behind_the_gateway(story.place, story.folder / "gateway", story.certificates))
    for each in story.applications:
        each.start()


def test_clients_are_served(story: Story) -> None:
    """Who has a key gets through, and the service learns which; who has none is refused."""
    for each in story.applications:
        key_id = each.key()["currentKeyId"]
        each.wait_for_calls(is_served_for(key_id))
        assert each.call_once() == "200"
        assert each.call_once("--without-key") == "401"


def test_no_call_fails_while_the_chart_is_upgraded(story: Story) -> None:
    """From the version before this one, with this image: pods are replaced while clients call."""
    if not isinstance(story.installation, Helm):
        pytest.skip("kustomize has no versions to go through")
    if story.installation.previous is None:
        pytest.skip("the history of this checkout holds no earlier version of the chart")
    before, marks = pods(story), story.marks()
    story.installation.upgrade()
    eventually(lambda: not before & pods(story), within=120, what="none of the former pods")
    for each, mark in marks:
        each.wait_for_calls(is_served)
        assert set(each.calls_since(mark).statuses) == {"200"}


def pods(story: Story) -> set[str]:
    """Of operator and verifier, those included that are about to end."""
    return set(story.kubectl.within(SYSTEM)("get", "pods", "-o", "name").split())


def test_a_program_makes_and_revokes_a_key(story: Story) -> None:
    """Through the Service of two key services, with the token of its account. The gateway lets the key in, until it is
    revoked.
    """
    version = json.loads(story.kubectl("get", "--raw", "/version"))
    if int(version["minor"].rstrip("+")) < CONSTRAINED_SINCE:
        pytest.skip(f"it acts as others by constrained impersonation, which {version['gitVersion']} has not")
    gateway = story.applications[-1]
    story.installation.add_console(gateway.namespace)
    story.kubectl.within(SYSTEM)("rollout", "status", "deployment/keywright-console", "--timeout=90s")
    assert len(running(story, CONSOLE_PODS)) == 2
    provisioner = Provisioner(story.place, gateway.namespace, story.folder / "provisioner", story.certificates)
    story.provisioners.append(provisioner)
    provisioner.start()
    provisioner.wait_for_calls(is_served)
    made = provisioner.ask("POST", body={"name": "partner", "displayName": "Partner"})
    assert made.status == 201
    plain = made.body.pop("key")
    assert plain not in str(made.body)
    eventually(lambda: gateway.call_once(key=plain) == "200", within=10, what="the gateway knows the new key")
    assert "key" not in provisioner.ask("GET", "/partner").body
    assert not gateway.kubectl.finds("secret", "partner")
    assert provisioner.ask("POST", "/partner/revoke", {"reason": "the contract ended"}).status == 200
    eventually(lambda: gateway.call_once(key=plain) == "401", within=10, what="the gateway refuses the revoked key")


def test_no_request_is_lost_while_console_pods_are_replaced(story: Story) -> None:
    """One that is deleted, and all of them one after the other. New connections and kept ones, and nothing is asked twice."""
    if not story.provisioners:
        pytest.skip("there is no key service")
    (provisioner,) = story.provisioners
    if isinstance(story.installation, Helm):
        provisioner.stop()
        pytest.skip("the chart installs the same pods")
    mark = len(provisioner.reports())
    system = story.kubectl.within(SYSTEM)
    before = running(story, CONSOLE_PODS)
    system("delete", "pod", min(before), "--wait=false")
    before |= running(story, CONSOLE_PODS)
    system("rollout", "restart", "deployment/keywright-console")
    system("rollout", "status", "deployment/keywright-console", "--timeout=120s")
    for name in before:
        system("wait", "--for=delete", f"pod/{name}", "--timeout=60s")
    provisioner.wait_for_reports(len(provisioner.reports()) + 2)
    assert set(provisioner.calls_since(mark).statuses) == {"200"}
    provisioner.stop()


def running(story: Story, labels: str) -> set[str]:
    """Names of the pods of keywright-system that have these labels."""
    pods = story.kubectl.within(SYSTEM).get("pods", "-l", labels)["items"]
    return {each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"]}


def test_no_call_fails_while_keys_are_rotated(story: Story) -> None:
    """The mounted Secret changes under the clients; the old key works until then, and so every call is served."""
    before = {each.namespace: each.key()["currentKeyId"] for each in story.applications}
    marks = story.marks()
    for each in story.applications:
        each.kubectl("patch", "apikey", "client", "--type=merge", "-p", '{"spec":{"rotation":{"trigger":"now"}}}')
    for each, mark in marks:
        old = before[each.namespace]
        new = each.wait_for_rotation(old)
        each.wait_for_calls(is_served_for(new))
        calls = each.calls_since(mark)
        assert set(calls.statuses) == {"200"}
        assert set(calls.key_ids) == {old, new}
        assert {record["id"]: record["state"] for record in each.key()["keys"]} == {old: "Retiring", new: "Current"}


def test_operator_pods_that_are_killed_are_not_missed(story: Story) -> None:
    """Verifiers go on, and the operators that come next issue keys."""
    marks = story.marks()
    system = story.kubectl.within(SYSTEM)
    system("delete", "pod", "-l", OPERATOR, "--grace-period=0", "--force")
    spare = {"apiVersion": "keywright.dev/v1alpha1", "kind": "ApiKey", "metadata": {"name": "spare"}, "spec": {}}
    for each in story.applications:
        each.kubectl.apply(spare)
        each.kubectl("wait", "--for=condition=Active", "apikey/spare", "--timeout=120s")
        assert each.kubectl.finds("secret", "spare")
    system("rollout", "status", "deployment/keywright-operator", "--timeout=90s")
    for each, mark in marks:
        assert set(each.calls_since(mark).statuses) == {"200"}


def test_requests_are_judged_while_the_api_server_is_away(story: Story) -> None:
    """From memory, and nobody notices; when it is back, verifiers learn what has changed."""
    plane = story.place.plane
    if plane is None:
        pytest.skip("the API server of a named cluster is not ours to stop: unset CLUSTER")
    marks = story.marks()
    plane.stop_api_server(kill=True)
    time.sleep(OUTAGE_SECONDS)
    plane.start_api_server()
    for each, mark in marks:
        each.wait_for_reports(mark + OUTAGE_SECONDS)
        calls = each.calls_since(mark)
        assert set(calls.statuses) == {"200"}
    for each in story.applications:
        each.kubectl("patch", "apikey", "client", "--type=merge", "-p", '{"spec":{"suspended":true}}')
        each.wait_for_calls(is_refused)
        each.kubectl("patch", "apikey", "client", "--type=merge", "-p", '{"spec":{"suspended":false}}')
        each.wait_for_calls(is_served)


def test_revoked_keys_are_refused(story: Story) -> None:
    """Soon, everywhere, and the Secret goes."""
    for each in story.applications:
        each.kubectl("patch", "apikey", "client", "--type=merge", "-p", '{"spec":{"revoked":true}}')
    for each in story.applications:
        each.wait_for_calls(is_refused)
        each.kubectl("wait", "--for=delete", "secret/client", "--timeout=60s")
        assert each.kubectl.get("apikey", "client")["status"]["phase"] == "Revoked"


def test_it_leaves_nothing_but_crds_and_keys(story: Story) -> None:
    """Uninstalling keeps keys and Secrets; without those, what is left is the CRDs."""
    story.installation.uninstall()
    for each in story.applications:
        assert each.kubectl.get("apikey", "spare")["status"]["phase"] == "Active"
        assert each.kubectl.finds("secret", "spare")
        assert "keywright-console" not in each.kubectl("get", "rolebindings", "-o", "name")
    story.kubectl("delete", "namespace", *(each.namespace for each in story.applications))
    kept = {each.replace("crd/", "CustomResourceDefinition/") for each in CRDS} | {"APIService/v1alpha1.keywright.dev"}
    with contextlib.suppress(AssertionError):
        eventually(lambda: inventory(story.place) - story.found <= kept, within=60)
    assert inventory(story.place) - story.found == kept
