"""What the account of the key service holds: all that it uses and nothing else, and nothing without the one who asks."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT, Namespaces
from tests.support.askers import BEHIND_A_PROXY, Asker
from tests.support.audit import Request, requests
from tests.support.console import ACCOUNT, HOME, Console, console, console_account, make_account, serve, sign_in
from tests.support.kube import Kube, eventually
from tests.support.people import bind
from tests.support.processes import operator

SERVICE = f"system:serviceaccount:{HOME}:{ACCOUNT}"
HELD = (
    "keywright-console",
    "keywright-console-acting",
    "keywright-console-keys",
    "keywright-console-secrets",
    "keywright-verifier",
    "keywright-usage-publisher",
)
# Asked for by an admission policy, and held by every account by the class reader.
ELSEWHERE = {
    ("publish", "apikeyusages"),
    ("list", "apikeyclasses"),
    ("watch", "apikeyclasses"),
    ("get", "apikeyclasses"),
}


@pytest.fixture(scope="module")
def account(own_plane: ControlPlane, own_admin: Kube) -> Path:
    return console_account(own_plane, own_admin, everywhere=True)


@pytest.fixture(scope="module")
def working(own_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An operator, with its own rights."""
    its = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    with operator(its, tmp_path_factory.mktemp("operator") / "log"):
        yield


@pytest.mark.usefixtures("working")
def test_the_account_holds_exactly_the_rights_it_uses(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, account: Path, tmp_path: Path
) -> None:
    """Everything that can be asked for is asked, by an account and by a person in a group: each call that the service
    made is in its roles, none was refused for want of one, and no rule of them lies idle.
    """
    namespace = make_namespace(own_admin)
    serve(own_admin, namespace)
    await_rights(own_admin, namespace)
    user = f"alice-{namespace}"
    bind(own_admin, namespace, user, "edit")
    token = make_account(own_admin, namespace, "bob", "edit")
    flags = (
        "--usage-interval",
        "1s",
        "--proxy-from",
        "127.0.0.1/32",
        "--proxy-user-header",
        "X-User",
        "--proxy-groups-header",
        "X-Groups",
    )
    with console(account, tmp_path / "log", *flags) as service:
        ask_everything(service, namespace, {"Authorization": f"Bearer {token}"})
        proxied = {"X-User": user, "X-Groups": "dev"}
        ask_everything(service, namespace, proxied)
        path = f"/v1/namespaces/{namespace}/keys"
        for number, owner in enumerate((user, f"system:serviceaccount:{namespace}:bob")):
            name = f"asking-{number}"
            own_admin.apikey(namespace, name, scopes=["keys:manage"], owner={"user": owner})
            own_admin.wait(namespace, name, Active="True")
            plain = own_admin.plain_key(namespace, name)
            eventually(lambda p=plain: service.ask("GET", path, token=p).status == 200, within=30)  # type: ignore[misc]
            answer = service.ask("POST", path, token=plain, body={"name": f"made-{number}"})
            assert answer.status == 201, answer
        for visitor in (proxied, {"Cookie": sign_in(service, token)}):
            for page in ("/", f"/keys/{namespace}/asking-0"):
                answer = service.ask("GET", page, headers=visitor)
                assert answer.status == 200, answer

        # A key that is used says so: once anew, once by a change.
        def publishes() -> bool:
            service.ask("GET", path, token=plain)
            return {"create", "patch"} <= {each.verb for each in own(own_plane) if each.resource == "apikeyusages"}

        eventually(publishes, within=60)
    held = {each for name in HELD for each in granted(name)}

    def used() -> set[tuple[str, str]]:
        return {each for request in own(own_plane) for each in rights_of(request)}

    # A watch is in the log once the API server has noticed that nobody listens any more.
    eventually(lambda: held - used() - ELSEWHERE == set(), what="all that is held is used")
    assert used() - held - ELSEWHERE == set()
    made = own(own_plane)
    assert {each.code for each in made} & {401} == set()
    assert [each for each in made if each.acting_as is None and each.code == 403] == []


def await_rights(admin: Kube, namespace: str) -> None:
    """Until the API server knows the last bindings that were made for the account: one for the cluster, one here."""
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    for place, group, resource in (("", "keywright.dev", "apikeys"), (namespace, "", "secrets")):
        attributes = {"namespace": place, "group": group, "resource": resource, "verb": "impersonate-on:user-info:get"}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": SERVICE, "resourceAttributes": attributes},
        }
        eventually(lambda r=review: admin.request("POST", path, r)["status"]["allowed"], within=30)  # type: ignore[misc]


def ask_everything(service: Console, namespace: str, headers: dict[str, str]) -> None:
    """The whole life of a key by REST, and what pages look at beside it."""
    keys = f"/v1/namespaces/{namespace}/keys"

    def ask(method: str, path: str, status: int, body: Any = None) -> Any:
        answer = service.ask(method, path, headers=headers, body=body)
        assert answer.status == status, answer
        return answer.body

    # Rights that were bound a moment ago become known in their own time.
    eventually(lambda: service.ask("GET", keys, headers=headers).status == 200, within=30)
    made = ask("POST", keys, 201, {"name": "key", "ttl": "1h"})
    assert made["key"].startswith("kw_live_")
    assert ask("GET", f"{keys}/{made['currentKeyId']}", 200)["name"] == "key"
    ask("POST", f"{keys}/key/suspend", 200)
    ask("POST", f"{keys}/key/resume", 200)
    assert ask("POST", f"{keys}/key/rotate", 200)["key"] != made["key"]
    ask("GET", f"/v1/owners/nobody-{namespace}/keys", 403)
    ask("GET", "/v1/classes", 200)
    ask("POST", f"{keys}/key/revoke", 200)
    ask("DELETE", f"{keys}/key", 204)


def own(plane: ControlPlane) -> list[Request]:
    """All that the account of the service has asked for."""
    return [each for each in requests(plane.audit_log) if each.user == SERVICE]


def rights_of(request: Request) -> set[tuple[str, str]]:
    """What it takes to make a request."""
    what = f"{request.resource}/{request.subresource}".rstrip("/")
    if request.constraint is None:
        assert request.acting_as is None, "impersonated by the older, wider verb"
        return {(request.verb, what)}
    kind = request.constraint.partition(":")[2]
    acting = {(f"impersonate-on:{kind}:{request.verb}", what)}
    if kind == "serviceaccount":
        return acting | {(request.constraint, "serviceaccounts")}
    named = set(request.acting_in) - {"system:authenticated"}
    return acting | {(request.constraint, "users")} | ({(request.constraint, "groups")} if named else set())


def granted(role: str) -> set[tuple[str, str]]:
    """What a role in deploy/rbac grants, as (verb, resource)."""
    for file in (ROOT / "deploy/rbac").glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if (document["kind"], document["metadata"]["name"]) == ("ClusterRole", role):
                return {
                    (verb, resource)
                    for rule in document["rules"]
                    for verb in rule["verbs"]
                    for resource in rule["resources"]
                }
    raise AssertionError(role)


def raw(plane: ControlPlane, kubeconfig: Path, *arguments: str, body: Any = None) -> str:
    """What kubectl says to one plain request: the answer, or the refusal."""
    command = [str(plane.kubectl), "--kubeconfig", str(kubeconfig), *arguments]
    sent = json.dumps(body) if body is not None else None
    done = subprocess.run(command, check=False, input=sent, text=True, capture_output=True, timeout=60)
    return done.stdout + done.stderr


def get(path: str, *acting: str) -> tuple[str, ...]:
    return (*acting, "get", "--raw", path)


def test_what_the_account_may_not_do(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, account: Path
) -> None:
    """By itself: no Secret, no change of a key. As somebody who may: nothing that is not about keys, no Secret where the
    service was not let in, nobody of system:masters, no node.
    """
    served, other = make_namespace(own_admin), make_namespace(own_admin)
    serve(own_admin, served)
    for namespace in (served, other):
        bind(own_admin, namespace, "boss", "cluster-admin")
        own_admin.put_secret(namespace, {"metadata": {"name": "secret"}})
        own_admin.apikey(namespace, "key")
    boss, secret = ("--as", "boss"), "/api/v1/namespaces/{}/secrets/secret"
    keys = "/apis/keywright.dev/v1alpha1/namespaces/{}/apikeys"
    eventually(lambda: '"kind":"Secret"' in raw(own_plane, account, *get(secret.format(served), *boss)), within=30)
    refused = {
        "a Secret by itself": get(secret.format(served)),
        "Secrets by itself": get("/api/v1/secrets"),
        "a Secret elsewhere": get(secret.format(other), *boss),
        "all Secrets of a served namespace": get(f"/api/v1/namespaces/{served}/secrets", *boss),
        "configmaps": get(f"/api/v1/namespaces/{served}/configmaps", *boss),
        "pods": get(f"/api/v1/namespaces/{served}/pods", *boss),
        "roles": get(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{served}/roles", *boss),
        "what is no resource": get("/version", *boss),
        "a watch": get(keys.format(served) + "?watch=true", *boss),
        "system:masters": get(keys.format(served), *boss, "--as-group", "system:masters"),
        "a node": get(keys.format(served), "--as", "system:node:n1", "--as-group", "system:nodes"),
        "an account in a group": get(
            keys.format(served), "--as", "system:serviceaccount:kube-system:default", "--as-group", "dev"
        ),
        "deleting a key by itself": ("delete", "--raw", keys.format(served) + "/key"),
        "deleting a Secret": (*boss, "delete", "--raw", secret.format(served)),
        "an extra": get(keys.format(served), *boss, "--as-user-extra", "scopes=all"),
        "a UID": get(keys.format(served), *boss, "--as-uid", "1"),
    }
    for what, arguments in refused.items():
        said = raw(own_plane, account, *arguments)
        assert "(Forbidden)" in said or "unknown flag" in said, f"{what}: {said}"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}}
    key = {"apiVersion": "keywright.dev/v1alpha1", "kind": "ApiKey", "metadata": {"name": "made"}, "spec": {}}
    for path, body, acting in (
        (f"/api/v1/namespaces/{served}/pods", pod, boss),
        (f"/api/v1/namespaces/{served}/serviceaccounts/default/token", {"kind": "TokenRequest"}, boss),
        (keys.format(served), key, ()),
    ):
        said = raw(own_plane, account, *acting, "create", "--raw", path, "-f", "-", body=body)
        assert "(Forbidden)" in said, said
    assert own_admin.secret(served, "secret") is not None


def test_a_namespace_without_the_binding(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, account: Path, tmp_path: Path, working: None
) -> None:
    """Where nobody has let the service in it says which role is missing: 503, and no key is left behind."""
    namespace = make_namespace(own_admin)
    token = make_account(own_admin, namespace, "bob", "edit")
    with console(account, tmp_path / "log") as service:
        keys = f"/v1/namespaces/{namespace}/keys"
        eventually(lambda: service.ask("GET", keys, token=token).status == 200, within=30)
        answer = service.ask("POST", keys, token=token, body={"name": "key"})
    assert (answer.status, answer.code) == (503, "unavailable")
    assert "keywright-console-secrets" in answer.body["detail"]
    eventually(lambda: own_admin.list(namespace) == [])
    assert own_admin.secret(namespace, "key") is None


def test_without_the_secrets_role_keys_are_still_ended(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, account: Path, tmp_path: Path, working: None
) -> None:
    """Where it was left out because nobody makes keys in the console: looking, suspending and revoking go on."""
    namespace = make_namespace(own_admin)
    token = make_account(own_admin, namespace, "bob", "edit")
    own_admin.apikey(namespace, "key")
    own_admin.wait(namespace, "key", Active="True")
    with console(account, tmp_path / "log") as service:
        keys = f"/v1/namespaces/{namespace}/keys"
        eventually(lambda: service.ask("GET", f"{keys}/key", token=token).status == 200, within=30)
        for action, status in (("suspend", "Suspended"), ("revoke", "Revoked")):
            answer = service.ask("POST", f"{keys}/key/{action}", token=token)
            assert (answer.status, answer.body["status"]) == (200, status)


def test_the_role_of_the_guide_is_enough(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, account: Path, tmp_path: Path, working: None
) -> None:
    """A person with the Role that the guide shows and nothing else sees keys, makes one, rotates it and ends it; of the
    class that it names, and of no other.
    """
    namespace = make_namespace(own_admin)
    serve(own_admin, namespace)
    guide = (ROOT / "docs/guides/console.md").read_text().partition("## What a person needs")[2]
    role = yaml.safe_load(guide.partition("```yaml\n")[2].partition("```")[0])
    (named,) = [each for rule in role["rules"] for each in rule.get("resourceNames", ())]
    for name in (named, "others"):
        own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": {"prefix": f"kw_{name}"}})
    own_admin.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles", role)
    user = f"carol-of-{namespace}"
    bind(own_admin, namespace, user, role["metadata"]["name"], "Role")
    with console(account, tmp_path / "log", *BEHIND_A_PROXY) as service:
        carol = Asker(console=service, namespace=namespace, headers={"X-Remote-User": user})
        eventually(lambda: carol.ask("GET").status == 200, within=30)
        made = carol.create(className=named, name="hers", scopes=["orders:read"])
        assert made["key"].startswith(f"kw_{named}_")
        assert carol.create(className="others", status=403)["code"] == "forbidden"
        eventually(lambda: [*own_admin.events(namespace, "hers")])
        page = service.ask("GET", f"/keys/{namespace}/hers", headers=carol.headers)
        assert page.status == 200
        assert "or you may not see them" not in page.body
        assert carol.ask("POST", "/hers/rotate").body["key"] not in (None, made["key"])
        assert [carol.ask("POST", f"/hers/{each}").status for each in ("suspend", "resume", "revoke")] == [200] * 3
        assert carol.ask("DELETE", "/hers").status == 204
    for name in (named, "others"):
        own_admin.delete(None, name, kind="ApiKeyClass")


def test_without_impersonation(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """An account that may ask whose a token is, and may not act as anybody: 503, and what to bind."""
    namespace = make_namespace(own_admin)
    token = make_account(own_admin, namespace, "bob", "edit")
    make_account(own_admin, namespace, "service", "keywright-verifier", "keywright-usage-publisher")
    binding = {
        "metadata": {"name": f"console-of-{namespace}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keywright-console"},
        "subjects": [{"kind": "ServiceAccount", "name": "service", "namespace": namespace}],
    }
    kubeconfig = own_plane.kubeconfig_for_service_account(namespace, "service")
    with console(kubeconfig, tmp_path / "log", namespaces=[namespace]) as service:
        keys = f"/v1/namespaces/{namespace}/keys"
        answer = service.ask("GET", keys, token=token)
        assert (answer.status, "ClusterRole keywright-console to" in answer.body["detail"]) == (503, True)
        own_admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)

        def look() -> bool:
            found = service.ask("GET", keys, token=token)
            return found.status == 503 and "keywright-console-acting" in found.body["detail"]

        eventually(look, within=30)


def test_api_servers_before_constrained_impersonation(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """The older verb, for people that the role names: it does for them, and the others are told what is missing."""
    namespace = make_namespace(own_admin)
    make_account(own_admin, namespace, "service", "keywright-verifier", "keywright-usage-publisher")
    rules = [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["alice", "bob"]},
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": ["dev"]},
    ]
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    own_admin.request("POST", roles, {"metadata": {"name": "named"}, "rules": rules})
    binding = {
        "metadata": {"name": "named"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "named"},
        "subjects": [{"kind": "ServiceAccount", "name": "service", "namespace": namespace}],
    }
    own_admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    for user in ("alice", "carol"):
        bind(own_admin, namespace, user, "view")
    kubeconfig = own_plane.kubeconfig_for_service_account(namespace, "service")
    flags = ("--proxy-from", "127.0.0.1/32", "--proxy-user-header", "X-User", "--proxy-groups-header", "X-Groups")
    with console(kubeconfig, tmp_path / "log", *flags, "--usage", "off", namespaces=[namespace]) as service:
        keys = f"/v1/namespaces/{namespace}/keys"

        def ask(user: str, groups: str = "dev") -> int:
            return service.ask("GET", keys, headers={"X-User": user, "X-Groups": groups}).status

        eventually(lambda: ask("alice") == 200, within=30)
        assert (ask("bob"), ask("carol"), ask("alice", "dev,ops")) == (403, 503, 503)
