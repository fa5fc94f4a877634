"""Who may do what: ordinary users through Kubernetes' own roles, and the product's accounts by what they call."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT, Namespaces
from tests.support.audit import requests
from tests.support.kube import Kube, eventually
from tests.support.people import allowed, bind
from tests.support.processes import get, operator, verifier
from tests.support.rights import await_right


@pytest.fixture
def as_user(plane: ControlPlane, admin: Kube, namespace: str) -> Callable[[str], Kube]:
    """A user with one of Kubernetes' roles in the test's namespace, and nothing else."""

    def make(role: str) -> Kube:
        user = f"{role}-of-{namespace}"
        binding = {
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
        admin.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)
        kube = Kube(plane.kubeconfig_for(user))
        verb = "get" if role == "view" else "create"
        eventually(lambda: may(kube, namespace, verb, "apikeys"), within=30, what=f"aggregated rights of {role}")
        return kube

    return make


def may(kube: Kube, namespace: str | None, verb: str, resource: str, group: str = "keywright.dev") -> bool:
    """Ask the API server as this user."""
    resource, _, subresource = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = kube.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def refused(request: Callable[[], Any]) -> str:
    with pytest.raises(ApiException) as error:
        request()
    assert error.value.status == 403
    return str(json.loads(error.value.body or "")["message"])


@pytest.mark.usefixtures("shared_operator")
def test_a_viewer_sees_keys_and_changes_nothing(as_user: Callable[[str], Kube], admin: Kube, namespace: str) -> None:
    """view: list ApiKeys; no create, no patch, no Secret."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    viewer = as_user("view")
    assert [each["metadata"]["name"] for each in viewer.list(namespace)] == ["key"]
    refused(lambda: viewer.apikey(namespace, "mine"))
    refused(lambda: viewer.patch(namespace, "key", {"spec": {"revoked": True}}))
    refused(lambda: viewer.secret(namespace, "key"))


@pytest.mark.parametrize("role", ["edit", "admin"])
@pytest.mark.usefixtures("shared_operator")
def test_an_editor_manages_keys_but_not_their_status(as_user: Callable[[str], Kube], namespace: str, role: str) -> None:
    """edit, admin: the whole life of a key; never its status, which would be a key issued to oneself."""
    editor = as_user(role)
    editor.apikey(namespace, "key")
    manifest = editor.wait(namespace, "key", Active="True")
    assert editor.plain_key(namespace, "key")
    manifest["status"]["keys"][0]["hash"] = "sha256:" + "0" * 64
    path = editor.path("ApiKey", namespace, "key", "status")
    assert "apikeys/status" in refused(lambda: editor.request("PUT", path, manifest))
    assert "apikeys/status" in refused(lambda: editor.patch(namespace, "key", {"status": {}}, subresource="status"))
    # Through the main resource a change of the status is ignored.
    editor.request("PUT", editor.path("ApiKey", namespace, "key"), {**editor.get(namespace, "key"), "status": {}})
    assert editor.get(namespace, "key")["status"]["keys"]
    editor.patch(namespace, "key", {"spec": {"revoked": True}})
    editor.wait(namespace, "key", Active="False/KeyRevoked")
    editor.delete(namespace, "key")
    for verb in ("create", "update", "patch", "delete"):
        assert not may(editor, None, verb, "apikeyclasses")


def test_every_account_may_read_classes(plane: ControlPlane) -> None:
    """A class is policy, not a secret."""
    nobody = Kube(plane.kubeconfig_for("nobody"))
    eventually(lambda: may(nobody, None, "list", "apikeyclasses"))
    assert not may(nobody, "default", "list", "apikeys")


def test_no_aggregated_role_may_write_status(admin: Kube) -> None:
    """Invariant 10, read from the roles as the API server has aggregated them."""

    def aggregated(name: str) -> list[dict[str, Any]]:
        role = admin.request("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}")
        return [rule for rule in role["rules"] if "keywright.dev" in rule.get("apiGroups", ())]

    for name in ("view", "edit", "admin"):
        for rule in eventually(partial(aggregated, name), what=f"{name} has aggregated nothing of ours"):
            assert "apikeys/status" not in rule["resources"]
            assert "*" not in rule["resources"] + rule["verbs"]
            assert not {"use", "grant", "adopt", "issue"} & set(rule["verbs"])


def test_the_admin_of_a_namespace_cannot_grant_himself_a_class(
    as_user: Callable[[str], Kube], admin: Kube, namespace: str
) -> None:
    """Nobody hands out what he does not have; who has keywright-admin in the namespace hands out all of it there."""
    boss = as_user("admin")
    rules = [
        {"apiGroups": ["keywright.dev"], "resources": ["apikeyclasses"], "verbs": ["use"]},
        {"apiGroups": ["keywright.dev"], "resources": ["apikeyclasses/roles"], "verbs": ["grant"]},
        {"apiGroups": ["keywright.dev"], "resources": ["apikeyclasses/scopes"], "verbs": ["grant"]},
        {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["adopt"]},
    ]
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles"
    for number, rule in enumerate(rules):
        role = {"metadata": {"name": f"more-{number}"}, "rules": [rule]}
        assert "attempting to grant" in refused(lambda r=role: boss.request("POST", path, r))  # type: ignore[misc]
    bind(admin, namespace, f"admin-of-{namespace}", "keywright-admin")
    role = {"metadata": {"name": "more"}, "rules": rules}
    allowed(lambda: boss.request("POST", path, role))
    assert not may(boss, namespace, "issue", "apikeys/status")


def granted(role: str) -> set[tuple[str, str]]:
    """What a role in deploy/rbac grants, as (verb, resource), but for verbs that only policies ask for."""
    for file in (ROOT / "deploy/rbac").glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if document["kind"] in ("ClusterRole", "Role") and document["metadata"]["name"] == role:
                return {
                    (verb, resource)
                    for rule in document["rules"]
                    for verb in rule["verbs"]
                    if verb not in ("issue", "publish")
                    for resource in rule["resources"]
                }
    raise AssertionError(role)


MORE = {"operator": [], "verifier": ["keywright-usage-publisher", "keywright-owner-reviewer"]}
RULES = """\
rules:
- {path: /x, methods: [GET], authorize: {group: keywright.dev, resource: apikeys, verb: list}}
"""


def test_accounts_hold_exactly_the_rights_they_use(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Every call that operator and verifier made is in their role, nothing was refused, and no right lies idle."""
    namespace = make_namespace(own_admin)
    for name in ("operator", "verifier"):
        account = {"metadata": {"name": name, "namespace": namespace}}
        own_admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        for role in (f"keywright-{name}", "keywright-class-reader", *MORE[name]):
            binding = {
                "metadata": {"name": f"{name}-{role}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            own_admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    bind_lease(own_admin, namespace)
    users = {name: f"system:serviceaccount:{namespace}:{name}" for name in ("operator", "verifier")}
    for user, verb, resource, group in (
        (users["operator"], "watch", "apikeys", "keywright.dev"),
        (users["operator"], "watch", "apikeyclasses", "keywright.dev"),
        (users["operator"], "create", "leases", "coordination.k8s.io"),
        (users["verifier"], "watch", "apikeys", "keywright.dev"),
        (users["verifier"], "watch", "apikeyclasses", "keywright.dev"),
        (users["verifier"], "publish", "apikeyusages", "keywright.dev"),
        (users["verifier"], "create", "subjectaccessreviews", "authorization.k8s.io"),
    ):
        await_right(own_admin, user, verb, resource, namespace=namespace, group=group)
    accounts = {name: own_plane.kubeconfig_for_service_account(namespace, name) for name in ("operator", "verifier")}
    own_admin.apikey(namespace, "abandoned")
    abandon(own_admin, namespace)
    leave_behind(own_admin, namespace)
    (tmp_path / "rules").write_text(RULES)
    flags = ("--usage-interval", "1s", "--rules", str(tmp_path / "rules"))
    with (
        operator(accounts["operator"], tmp_path / "o", "--lease", f"{namespace}/keywright-operator"),
        verifier(accounts["verifier"], tmp_path / "v", *flags) as (_, listen, _admin),
    ):
        # The operator may list ApiKeys, so a key that acts for it may as well.
        own_admin.apikey(namespace, "key", owner={"user": f"system:serviceaccount:{namespace}:operator"})
        own_admin.wait(namespace, "key", Active="True")
        plain = own_admin.plain_key(namespace, "key")
        eventually(lambda: get(listen, "/verify/x", Authorization=f"Bearer {plain}")[0] == 200)
        own_admin.wait(namespace, "abandoned", Active="True")
        # A use that creates an object, one that changes it, and an object that nobody renews.
        eventually(lambda: "lastUsedAt" in own_admin.get(namespace, "key")["status"], within=30)
        assert get(listen, "/verify/x", Authorization=f"Bearer {plain}")[0] == 200
        changed = (users["verifier"], "patch", "apikeyusages")
        eventually(
            lambda: any((each.user, each.verb, each.resource) == changed for each in requests(own_plane.audit_log)),
            within=30,
        )
        eventually(lambda: names(own_admin.list(namespace, "ApiKeyUsage")) != ["left-behind"])
        eventually(lambda: "left-behind" not in names(own_admin.list(namespace, "ApiKeyUsage")), within=30)
        own_admin.patch(namespace, "key", {"spec": {"revoked": True}})
        eventually(lambda: own_admin.secret(namespace, "key") is None)
    for name, user in users.items():
        made = [each for each in requests(own_plane.audit_log) if each.user == user]
        assert [each for each in made if each.code in (401, 403)] == []
        used = {(each.verb, f"{each.resource}/{each.subresource}".rstrip("/")) for each in made}
        rights = granted(f"keywright-{name}")
        if name == "operator":
            rights |= granted("keywright-operator-lease")
            leases = {(each.namespace, each.name) for each in made if each.resource == "leases"}
            assert leases == {(namespace, "keywright-operator")}
        if name == "verifier":
            rights |= granted("keywright-class-reader") - {("get", "apikeyclasses")}
            rights |= granted("keywright-usage-publisher")
            rights |= granted("keywright-owner-reviewer")
        assert used == rights


def bind_lease(kube: Kube, namespace: str) -> None:
    """The Role for the Lease, as deploy/rbac has it, in another namespace."""
    documents = list(yaml.safe_load_all((ROOT / "deploy/rbac/operator.yaml").read_text()))
    (role,) = (each for each in documents if each["kind"] == "Role")
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    kube.request("POST", f"{path}/roles", {"metadata": {"name": role["metadata"]["name"]}, "rules": role["rules"]})
    binding = {
        "metadata": {"name": role["metadata"]["name"]},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }
    kube.request("POST", f"{path}/rolebindings", binding)


def names(manifests: list[dict[str, Any]]) -> list[str]:
    return [each["metadata"]["name"] for each in manifests]


def leave_behind(kube: Kube, namespace: str) -> None:
    """What a verifier published that died long ago."""
    spec = {"verifier": "dead", "renewedAt": "2026-01-01T00:00:00Z", "uses": {}}
    kube.create({"kind": "ApiKeyUsage", "metadata": {"name": "left-behind", "namespace": namespace}, "spec": spec})


def abandon(kube: Kube, namespace: str) -> None:
    """Leave a Pending record behind, as an operator that died long ago would."""
    manifest = kube.get(namespace, "abandoned")
    manifest["status"]["keys"] = [
        {
            "id": "0" * 12,
            "state": "Pending",
            "hash": "sha256:" + "0" * 64,
            "fingerprint": "0" * 16,
            "issuedAt": "2026-01-01T00:00:00Z",
        }
    ]
    kube.request("PUT", kube.path("ApiKey", namespace, "abandoned", "status"), manifest)
