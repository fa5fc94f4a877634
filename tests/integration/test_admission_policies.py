"""What depends on who asks: the admission policies, tried as ordinary users on the real API server."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keywright_local import ControlPlane
from kubernetes.client.exceptions import ApiException

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
            assert error.status == 403, error.body
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
