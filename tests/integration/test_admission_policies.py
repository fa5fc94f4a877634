"""What depends on who asks: the admission policies, tried as ordinary users on the real API server."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually

_counter = itertools.count()
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
def editor(plane: ControlPlane, admin: Kube, namespace: str) -> Iterator[Kube]:
    """A user who may edit the test's namespace, and nothing else."""
    user = f"editor-of-{namespace}"
    bind(admin, namespace, user, "edit")
    kube = Kube(plane.kubeconfig_for(user))
    eventually(lambda: succeeds(lambda: kube.list(namespace)), within=30)
    yield kube
    kube.close()


@pytest.fixture
def restricted(admin: Kube) -> Iterator[str]:
    """A class that nobody was granted, and proof that the policies are active by now."""
    name = f"restricted-{next(_counter)}"
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": {}})
    yield name
    admin.delete(None, name, kind="ApiKeyClass")


def bind(admin: Kube, namespace: str, user: str, role: str, kind: str = "ClusterRole") -> None:
    binding = {
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", binding)


def grant(admin: Kube, namespace: str, user: str, resource: str, verb: str, *names: str) -> None:
    """A Role with one rule, bound to the user."""
    role = f"grant-{next(_counter)}"
    rule = {"apiGroups": ["keywright.dev"], "resources": [resource], "verbs": [verb], "resourceNames": list(names)}
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": role}, "rules": [rule]})
    bind(admin, namespace, user, role, "Role")


def succeeds(request: Callable[[], Any]) -> bool:
    try:
        request()
    except ApiException:
        return False
    return True


def refusal(request: Callable[[], Any]) -> str:
    """The message of the 403 that a policy answers with; policies become active some seconds after they are made."""

    def look() -> str | None:
        try:
            request()
        except ApiException as error:
            if error.status == 409:
                return None  # an operator that runs beside this has written in between
            if error.status != 403:
                raise
            return str(json.loads(error.body or "")["message"])
        return None

    return eventually(look, within=30) or ""


def key(namespace: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "ApiKey", "metadata": {"generateName": "key-", "namespace": namespace}, "spec": spec}


def test_a_class_must_be_granted(admin: Kube, editor: Kube, namespace: str, restricted: str) -> None:
    """An editor may use `standard`, may not use another class, and may once a RoleBinding says so."""
    editor.create(key(namespace))
    editor.create(key(namespace, className="standard"))
    message = refusal(lambda: editor.create(key(namespace, className=restricted)))
    assert f"may not use the ApiKeyClass {restricted}" in message
    assert "spec.className" in message
    grant(admin, namespace, f"editor-of-{namespace}", "apikeyclasses", "use", restricted)
    eventually(lambda: succeeds(lambda: editor.create(key(namespace, className=restricted))))


def test_leaving_the_class_out_does_not_get_round_it(
    admin: Kube, editor: Kube, namespace: str, restricted: str
) -> None:
    """When a class that is not granted becomes the default, a key without className is refused as well."""
    annotation = {"metadata": {"annotations": {"keywright.dev/is-default-class": "true"}}}
    admin.patch(None, restricted, annotation, kind="ApiKeyClass")
    message = refusal(lambda: editor.create(key(namespace)))
    assert f"may not use the default ApiKeyClass {restricted}" in message
    editor.create(key(namespace, className="standard"))


def test_whoever_is_on_call_can_always_act(admin: Kube, editor: Kube, namespace: str, restricted: str) -> None:
    """Suspending, revoking and deleting a key takes no right to its class."""
    refusal(lambda: editor.create(key(namespace, className=restricted)))
    admin.apikey(namespace, "theirs", className=restricted)
    for change in ({"suspended": True}, {"revoked": True}):
        editor.patch(namespace, "theirs", {"spec": change})
    editor.delete(namespace, "theirs")


RULES = [
    {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["get", "list", "update", "patch", "delete"]}
]
WIDENING: dict[str, dict[str, Any]] = {
    "a rotation": {"spec": {"rotation": {"trigger": "now"}}},
    "rotation by itself": {"spec": {"rotation": {}}},
    "an annotation": {"metadata": {"annotations": {"keywright.dev/rotate": "now"}}},
    "a grace for a rotation to come": {"metadata": {"annotations": {"keywright.dev/rotate-grace": "0s"}}},
    "rotation on loss": {"spec": {"secret": {"onLoss": "Rotate"}}},
    "a resumption": {"spec": {"suspended": False}},
    "a later end": {"spec": {"expiresAt": "2028-01-01T00:00:00Z"}},
    "no end": {"spec": {"expiresAt": None}},
    "a ttl instead": {"spec": {"expiresAt": None, "ttl": "1d"}},
}
EARLIER = {"spec": {"expiresAt": "2027-01-01T00:00:00Z"}}
FREE: dict[str, dict[str, Any]] = {
    "the same end": {"spec": {"expiresAt": "2027-01-01T00:00:00Z"}},
    "an earlier end": {"spec": {"expiresAt": "2026-12-31T00:00:00Z"}},
    "a label": {"metadata": {"labels": {"a": "b"}}},
    "a description": {"spec": {"description": "for whoever is on call"}},
    "a suspension": {"spec": {"suspended": True}},
    "a revocation": {"spec": {"revoked": True, "revocationReason": "leak"}},
}


def test_what_widens_is_judged_like_creation(plane: ControlPlane, admin: Kube, namespace: str, restricted: str) -> None:
    """Who may change ApiKeys but not create Secrets can suspend, revoke and end earlier, and cannot rotate, resume
    or extend; with Secrets, still not without the class; with both, everything."""
    user = f"on-call-of-{namespace}"
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "on-call"}, "rules": RULES})
    bind(admin, namespace, user, "on-call", "Role")
    on_call = Kube(plane.kubeconfig_for(user))
    admin.apikey(namespace, "key", className=restricted, suspended=True, expiresAt="2027-01-01T00:00:00Z")
    refusal(lambda: on_call.patch(namespace, "key", WIDENING["a rotation"]))
    for case, patch in WIDENING.items():
        message = refusal(lambda p=patch: on_call.patch(namespace, "key", p))  # type: ignore[misc]
        assert "create Secrets" in message, case
    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "secrets"}, "rules": [secrets]})
    bind(admin, namespace, user, "secrets", "Role")
    for case, patch in WIDENING.items():
        eventually(lambda p=patch: "verb use" in refusal(lambda: on_call.patch(namespace, "key", p)), what=case)  # type: ignore[misc]
    for patch in FREE.values():
        on_call.patch(namespace, "key", patch)
    admin.apikey(namespace, "other", suspended=True, expiresAt="2027-01-01T00:00:00Z")
    for patch in WIDENING.values():
        on_call.patch(namespace, "other", patch)
    on_call.close()


@pytest.mark.usefixtures("shared_operator")
def test_an_end_before_the_one_there_is_is_free(plane: ControlPlane, admin: Kube, namespace: str) -> None:
    """Whoever is on call may give an issued key an end that it did not have, and not take it back."""
    user = f"on-call-of-{namespace}"
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "on-call"}, "rules": RULES})
    bind(admin, namespace, user, "on-call", "Role")
    on_call = Kube(plane.kubeconfig_for(user))
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    eventually(lambda: succeeds(lambda: on_call.patch(namespace, "key", EARLIER)), within=30)
    eventually(lambda: "expiresAt" in admin.get(namespace, "key")["status"])
    assert "create Secrets" in refusal(lambda: on_call.patch(namespace, "key", {"spec": {"expiresAt": None}}))
    on_call.close()


def test_status_takes_a_verb_of_its_own(admin: Kube, editor: Kube, namespace: str) -> None:
    """A role that grants apikeys/status by accident still issues nothing: the verb `issue` is missing."""
    user = f"editor-of-{namespace}"
    for verb in ("update", "patch"):
        grant(admin, namespace, user, "apikeys/status", verb)
    admin.apikey(namespace, "key")
    record = {"id": "0" * 12, "state": "Current", "hash": "sha256:" + "0" * 64, "issuedAt": "2026-01-01T00:00:00Z"}

    def forge() -> None:
        manifest = editor.get(namespace, "key")
        manifest["status"]["keys"] = [record]
        editor.request("PUT", editor.path("ApiKey", namespace, "key", "status"), manifest)

    eventually(lambda: "only the operator" in refusal(forge), within=30)
    patch = {"status": {"keys": [record]}}
    assert "only the operator" in refusal(lambda: editor.patch(namespace, "key", patch, subresource="status"))
    grant(admin, namespace, user, "apikeys/status", "issue")
    eventually(lambda: succeeds(lambda: editor.patch(namespace, "key", patch, subresource="status")))
