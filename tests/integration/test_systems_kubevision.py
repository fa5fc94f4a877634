"""Each row of KubeVision's documented behaviour, through the real API server, operator and verifier
(examples/kubevision)."""

import base64
import contextlib
import hashlib
import http.client
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.integration.conftest import CLASS_RULES, apply
from tests.support.console import serve
from tests.support.installed_system import (
    InstalledSystem,
    ci_scripts,
    code_of,
    install_system,
    managing,
    run_script,
    verifying,
)
from tests.support.kube import Kube, eventually
from tests.support.kubectl import apikey, at_terminal
from tests.support.people import RBAC, allowed, bind
from tests.support.pods import container_of
from tests.support.processes import get
from tests.support.system_rows import proves
from tests.support.visitor import Visitor

ALICE: dict[str, Any] = {"user": "alice@example.com", "groups": ["kubevision-users"]}
HERS, BOBS = "kubevision-alice", "kubevision-bob"
PROD = "/api/clusters/prod"
SCHEME = {"scheme": "ApiKey"}


@pytest.fixture(scope="module")
def kubevision(
    own_plane: ControlPlane, own_admin: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InstalledSystem]:
    """The system as its README installs it: a namespace of each user, where he makes keys of his own."""
    apply(own_plane, CLASS_RULES)
    folder = tmp_path_factory.mktemp("kubevision")
    files = ("grafana.yaml", "consumers.yaml")
    with install_system("kubevision", own_plane, own_admin, folder, *files, namespaces=[HERS, BOBS]) as system:
        for namespace, user in ((HERS, "alice@example.com"), (BOBS, "bob@example.com")):
            bind(own_admin, namespace, user, "kubevision-user")
        own_admin.wait("kubevision", "grafana", Active="True", within=30)
        yield system


def issue(kubevision: InstalledSystem, name: str, user: str = "alice@example.com", **spec: Any) -> str:
    """The plain key of a new ApiKey of this user."""
    owner = {"user": user, "groups": ["kubevision-users"]}
    namespace = HERS if user == "alice@example.com" else BOBS
    return kubevision.issue(name, namespace=namespace, **{"owner": owner, **spec})


def person(kubevision: InstalledSystem, user: str, *groups: str) -> Path:
    return kubevision.plane.kubeconfig_for(user, groups)


@proves("kubevision", "`Authorization: ApiKey kv_live_…`")
def test_the_scheme_and_the_prefix(kubevision: InstalledSystem, tmp_path: Path) -> None:
    """That scheme and no other; from a workload's environment and file, and from both CI systems."""
    plain = kubevision.kube.plain_key("kubevision", "grafana")
    assert re.fullmatch(r"kv_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", plain)
    kubevision.becomes(PROD, plain, "allowed", **SCHEME)
    assert code_of(kubevision.ask(PROD, plain, scheme="Bearer")) == "missing_key"
    base = {"KUBEVISION_BASE_URL": f"http://{kubevision.listen}/verify"}
    for script in ci_scripts(kubevision.folder):
        assert run_script(script, base | {"KUBEVISION_API_KEY": plain}) == 0
        assert run_script(script, base | {"KUBEVISION_API_KEY": "kv_live_x"}) == 22
    for deployment in ("grafana", "grafana-from-file"):
        with container_of(kubevision.kube, "kubevision", deployment, tmp_path, base) as output:
            eventually(lambda o=output: "prod read" in o.read_text(), what=deployment)  # type: ignore[misc]


@proves("kubevision", "SHA-256 stored, plaintext never persisted")
def test_a_digest_is_stored(kubevision: InstalledSystem) -> None:
    """Alice makes her keys of keys.yaml, fetches one and says so; then the API server holds its SHA-256 and no key."""
    kubeconfig = person(kubevision, "alice@example.com", "kubevision-users")
    with contextlib.closing(Kube(kubeconfig)) as alice:
        allowed(lambda: alice.list(HERS))
        for manifest in kubevision.documents("keys.yaml"):
            manifest["metadata"]["namespace"] = HERS
            alice.create(manifest)
            alice.wait(HERS, manifest["metadata"]["name"], Active="True", within=30)
        done = apikey(kubeconfig, "reveal", "alice-terminal", "-n", HERS)
        assert done.status == 0, done.err
        plain = done.out.strip()
        eventually(lambda: alice.secret(HERS, "alice-terminal") is None)
        (record,) = alice.get(HERS, "alice-terminal")["status"]["keys"]
    assert record["hash"] == f"sha256:{hashlib.sha256(plain.encode()).hexdigest()}"
    stored = kubevision.stored()
    assert record["id"] in stored
    for needle in (plain, plain[21:-6], base64.b64encode(plain.encode()).decode()):
        assert needle not in stored
    kubevision.becomes(PROD, plain, "allowed", **SCHEME)


@proves("kubevision", "permissions identical to the owner's RBAC and cluster assignments")
def test_a_change_of_the_owners_roles_changes_the_key(kubevision: InstalledSystem) -> None:
    """Seeing prod, changing prod, another cluster: each with its role, and not without; two owners differ."""
    alices, bobs = issue(kubevision, "roles"), issue(kubevision, "roles", "bob@example.com")
    kubevision.becomes(PROD, alices, "allowed", **SCHEME)
    kubevision.becomes(PROD, bobs, "allowed", **SCHEME)
    staging = "/api/clusters/staging"
    for path, method in ((PROD, "PUT"), (staging, "GET")):
        kubevision.becomes(path, alices, "forbidden", method=method, **SCHEME)
    assign(kubevision, "prod-operator", "prod", "update")
    assign(kubevision, "staging-viewer", "staging", "get")
    kubevision.becomes(PROD, alices, "allowed", method="PUT", **SCHEME)
    kubevision.becomes(staging, alices, "allowed", **SCHEME)
    assert code_of(kubevision.ask(PROD, bobs, method="PUT", **SCHEME)) == "forbidden"
    assert code_of(kubevision.ask(staging, bobs, **SCHEME)) == "forbidden"
    kubevision.kube.request("DELETE", f"{RBAC}/clusterrolebindings/staging-viewer")
    kubevision.becomes(staging, alices, "forbidden", **SCHEME)
    kubevision.becomes(PROD, alices, "allowed", **SCHEME)


def assign(kubevision: InstalledSystem, name: str, cluster: str, verb: str) -> None:
    """Give Alice a right on one cluster."""
    rule = {"apiGroups": ["kubevision.example"], "resources": ["clusters"], "resourceNames": [cluster], "verbs": [verb]}
    kubevision.kube.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice@example.com"}
    body = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    kubevision.kube.request("POST", f"{RBAC}/clusterrolebindings", body)


@proves("kubevision", "expiry optional; keys without one are valid until revoked")
def test_a_key_without_an_end_works_until_it_is_revoked(kubevision: InstalledSystem) -> None:
    """No end in status, in the list or in the answer; and then it is revoked."""
    plain = issue(kubevision, "endless")
    ending = issue(kubevision, "ending", ttl="90d")
    answer = kubevision.becomes(PROD, plain, "allowed", **SCHEME)
    assert "x-auth-key-expires" not in answer.headers
    status = kubevision.kube.get(HERS, "endless")["status"]
    assert "expiresAt" not in status
    assert "expiresAt" not in status["keys"][0]
    assert "expiresAt" in kubevision.kube.get(HERS, "ending")["status"]
    kubevision.becomes(PROD, ending, "allowed", **SCHEME)
    kubevision.kube.patch(HERS, "endless", {"spec": {"revoked": True}})
    kubevision.becomes(PROD, plain, "revoked_key", **SCHEME)


@proves("kubevision", "the same rate limit as the owner's other sessions")
def test_all_keys_of_an_owner_have_one_budget(kubevision: InstalledSystem) -> None:
    """Sixty a minute between them, whatever their number and namespace; another owner has his own."""
    carol = {"user": "carol@example.com", "groups": ["kubevision-users"]}
    keys = [
        kubevision.issue("carol-1", namespace=HERS, owner=carol),
        kubevision.issue("carol-2", namespace=BOBS, owner=carol),
    ]
    bobs = issue(kubevision, "bobs-own", "bob@example.com")
    kubevision.becomes(PROD, bobs, "allowed", **SCHEME)
    first = kubevision.becomes(PROD, keys[0], "allowed", **SCHEME)
    assert first.headers["ratelimit-policy"] == '"minute";q=60;w=60'
    second = kubevision.becomes(PROD, keys[1], "allowed", **SCHEME)
    assert '"minute";r=58' in second.headers["ratelimit"]
    started, passed = time.monotonic(), 2
    while (answer := kubevision.ask(PROD, keys[passed % 2], **SCHEME)).status == 200:
        passed += 1
        assert passed <= 60 or time.monotonic() - started > 50
    assert code_of(answer) == "rate_limited"
    for each in keys:
        assert code_of(kubevision.ask(PROD, each, **SCHEME)) == "rate_limited"
    assert kubevision.ask(PROD, bobs, **SCHEME).status == 200


@proves("kubevision", "audit: requests logged under the owner's name with the key's name as the agent")
def test_the_audit_log_names_owner_and_key(kubevision: InstalledSystem) -> None:
    """Of what is allowed, and of what a proven key is refused."""
    plain = issue(kubevision, "audited", displayName="Alice's terminal")
    kubevision.becomes(PROD, plain, "allowed", **SCHEME)
    kubevision.becomes("/api/clusters/audited-elsewhere", plain, "forbidden", **SCHEME)
    kubevision.kube.patch(HERS, "audited", {"spec": {"revoked": True}})
    kubevision.becomes(PROD, plain, "revoked_key", **SCHEME)
    key_id = kubevision.kube.get(HERS, "audited")["status"]["currentKeyId"]

    def lines() -> list[dict[str, Any]] | None:
        # Alice's budget is that of all her keys, and may be used up for a while.
        codes = {"allowed", "forbidden", "revoked_key"}
        about = [each for each in kubevision.audit_lines() if each.get("key") == f"{HERS}/audited"]
        found = [each for each in about if each["code"] in codes]
        return found if {each["code"] for each in found} == codes else None

    for each in eventually(lines):
        assert (each["actor"], each["agent"]) == ("alice@example.com", "Alice's terminal")
        assert (each["keyId"], each["method"]) == (key_id, "GET")
        assert each["path"] == ("/api/clusters/audited-elsewhere" if each["code"] == "forbidden" else PROD)
    assert plain[21:-6] not in kubevision.audit.read_text()


@proves("kubevision", "revocation immediate, requests in flight included")
def test_no_request_passes_once_one_was_refused(kubevision: InstalledSystem, tmp_path: Path) -> None:
    """On connections that are never idle, where each request waits for the API server to say what the owner may: none
    that begins after the first 401 is allowed."""
    (manifest,) = kubevision.documents("class.yaml")
    unlimited = {field: value for field, value in manifest["spec"].items() if not field.startswith("rateLimit")}
    name = "kubevision-unlimited"
    kubevision.kube.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": unlimited})
    plain = issue(kubevision, "in-flight", className=name)
    flags = ("--class", name, "--owner-cache", "0s")
    with (
        verifying("kubevision", kubevision.plane, tmp_path, *flags, namespaces=[HERS]) as (listen, _),
        Asking(listen, plain) as asking,
    ):
        eventually(lambda: asking.last() == {200}, within=30)
        asking.forget()
        eventually(lambda: asking.count() > 20, within=30)
        kubevision.kube.patch(HERS, "in-flight", {"spec": {"revoked": True}})
        eventually(lambda: asking.last() == {401}, within=30)
        seen = asking.count()
        eventually(lambda: asking.count() > seen + 100, within=30)
    answers = asking.answers()
    assert {each.status for each in answers} == {200, 401}
    first_refusal = min(each.ended for each in answers if each.status == 401)
    assert all(each.status == 401 for each in answers if each.began > first_refusal)


@dataclass(frozen=True, slots=True)
class Asked:
    began: float
    ended: float
    status: int


class Asking:
    """Clients that ask without a pause, each on a connection of its own."""

    CLIENTS = 4

    def __init__(self, listen: str, plain: str) -> None:
        self._listen = listen
        self._headers = {"Authorization": f"ApiKey {plain}"}
        self._answers: list[list[Asked]] = [[] for _ in range(self.CLIENTS)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.CLIENTS)]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _ask(self, number: int) -> None:
        with contextlib.closing(http.client.HTTPConnection(self._listen, timeout=15)) as connection:
            while not self._stop.is_set():
                began = time.monotonic()
                connection.request("GET", f"/verify{PROD}", headers=self._headers)
                response = connection.getresponse()
                response.read()
                self._answers[number].append(Asked(began, time.monotonic(), response.status))

    def answers(self) -> list[Asked]:
        return [each for answers in self._answers for each in list(answers)]

    def forget(self) -> None:
        for answers in self._answers:
            answers.clear()

    def count(self) -> int:
        return len(self.answers())

    def last(self) -> set[int]:
        """What each client was answered last, 0 if nothing yet."""
        return {answers[-1].status if answers else 0 for answers in self._answers}


@proves("kubevision", "amber badge near expiry; expiry used to enforce rotation")
def test_a_key_near_its_end_is_amber(kubevision: InstalledSystem) -> None:
    """In the list; by condition, event and metric; and when the end has come, nothing but a new key helps."""
    plain = issue(kubevision, "soon", ttl="13d")
    calm = issue(kubevision, "calm", ttl="30d")
    kubeconfig = person(kubevision, "alice@example.com", "kubevision-users")

    def row(name: str) -> str:
        shown = at_terminal(kubeconfig, "list", "-n", HERS).out.splitlines()
        return next(line for line in shown if re.sub(r"\x1b\[[0-9;]*m", "", line).startswith(f"{name} "))

    eventually(lambda: "Expiring" in row("soon"))
    assert "\x1b[33m" in row("soon")
    assert "\x1b[33m" not in row("calm")
    manifest = kubevision.kube.wait(HERS, "soon", Expiring="True/ExpiresSoon")
    eventually(lambda: "ExpiresSoon" in list(kubevision.kube.events(HERS, "soon")))
    series = f'keywright_apikey_expiration_timestamp_seconds{{namespace="{HERS}",name="soon"}}'
    figures = eventually(
        lambda: [x for x in get(kubevision.operator_metrics, "/metrics")[2].splitlines() if series in x]
    )
    end = datetime.fromisoformat(manifest["status"]["expiresAt"])
    assert float(figures[0].split()[-1]) == end.timestamp()
    answer = kubevision.becomes(PROD, plain, "allowed", **SCHEME)
    assert datetime.fromisoformat(answer.headers["x-auth-key-expires"]) == end
    assert "x-auth-key-expires" not in kubevision.becomes(PROD, calm, "allowed", **SCHEME).headers
    past = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kubevision.kube.patch(HERS, "soon", {"spec": {"ttl": None, "expiresAt": past}})
    kubevision.becomes(PROD, plain, "expired_key", **SCHEME)
    kubevision.kube.wait(HERS, "soon", Active="False/KeyExpired")
    kubevision.kube.patch(HERS, "soon", {"spec": {"expiresAt": "2036-01-01T00:00:00Z"}})
    assert "\x1b[31m" in eventually(lambda: seen if "Expired" in (seen := row("soon")) else None)
    assert code_of(kubevision.ask(PROD, plain, **SCHEME)) == "expired_key"


@proves("kubevision", "an admin sees and revokes any user's keys (leaver, compromise)")
def test_an_admin_revokes_the_keys_of_a_leaver(kubevision: InstalledSystem) -> None:
    """All of his, in every namespace, and nobody else's; without reading a key. A user cannot do it to another."""
    dave = {"user": "dave@example.com", "groups": ["kubevision-users"]}
    his = [kubevision.issue(f"dave-{at}", namespace=at, owner=dave) for at in (HERS, BOBS)]
    hers = issue(kubevision, "stays")
    for each in (*his, hers):
        kubevision.becomes(PROD, each, "allowed", **SCHEME)
    root = person(kubevision, "root@example.com", "kubevision-admins")
    bob = person(kubevision, "bob@example.com", "kubevision-users")
    with contextlib.closing(Kube(root)) as kube:
        allowed(lambda: kube.list(None))
        selector = {"fieldSelector": "spec.owner.user=dave@example.com"}
        seen = kube.request("GET", "/apis/keywright.dev/v1alpha1/apikeys", **selector)["items"]
        assert {each["metadata"]["name"] for each in seen} == {f"dave-{HERS}", f"dave-{BOBS}"}
        with pytest.raises(ApiException):
            kube.secret(HERS, "stays")
    refused = apikey(bob, "revoke", "--owner", "dave@example.com", "-A", "--yes")
    assert refused.status == 1
    assert kubevision.ask(PROD, his[0], **SCHEME).status == 200
    done = apikey(root, "revoke", "--owner", "dave@example.com", "-A", "--reason", "left the company", "--yes")
    assert done.status == 0, done.err
    for each in his:
        kubevision.becomes(PROD, each, "revoked_key", **SCHEME)
    kubevision.becomes(PROD, hers, "allowed", **SCHEME)
    assert kubevision.kube.get(HERS, f"dave-{HERS}")["spec"]["revocationReason"] == "left the company"


@proves("kubevision", "a profile page with one's own keys; an admin's page with any user's")
def test_the_profile_page_and_the_admins_page(kubevision: InstalledSystem, tmp_path: Path) -> None:
    """Signed in by a proxy in front, Erin makes a key on her page, sees it once, and uses it. Bob finds nothing of hers. An
    admin opens her page and revokes all of them."""
    bind(kubevision.kube, HERS, "erin@example.com", "kubevision-user")
    flags = ("--proxy-from", "127.0.0.1/32", "--proxy-user-header", "X-User", "--proxy-groups-header", "X-Groups")
    serve(kubevision.kube, HERS)
    with managing(kubevision, tmp_path, *flags) as service:
        erin, bob = (browser(service.address, f"{name}@example.com", "kubevision-users") for name in ("erin", "bob"))
        root = browser(service.address, "root@example.com", "kubevision-admins")
        hers = f"/?namespace={HERS}"
        eventually(lambda: erin.get(hers).status == 200, within=30)
        form = f"/keys/{HERS}/new"
        shown = erin.submit(f"{form}?class=kubevision", form, displayName="Erin's notebook", ends="30d")
        assert shown.status in (200, 201)
        plain = re.findall(r"kv_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", shown.text)[0]
        assert 'curl -H "Authorization: ApiKey $API_KEY"' in shown.text
        kubevision.becomes(PROD, plain, "allowed", **SCHEME)
        profile = erin.get(hers)
        assert "Erin&#39;s notebook" in profile.text
        assert plain[20:-6] not in profile.text
        assert bob.get(hers).status == 403
        page = "/users/erin%40example.com"
        assert (
            "Erin&#39;s notebook" in eventually(lambda: seen if (seen := root.get(page)).status == 200 else None).text
        )
        assert bob.get(page).status == 403
        done = root.submit(f"{page}?confirm=revoke", page, reason="left the company")
        assert done.status in (200, 303)
        kubevision.becomes(PROD, plain, "revoked_key", **SCHEME)


def browser(service: str, user: str, *groups: str) -> Visitor:
    """Somebody whom the proxy in front has signed in."""
    return Visitor(service, {"X-User": user, "X-Groups": ",".join(groups)})
