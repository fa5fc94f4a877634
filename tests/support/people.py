"""Users with the rights that a test gives them, and how a policy refuses them.

Policies, roles and classes become known to the API server some time after they are made, so what is expected is
waited for.
"""

import itertools
import json
from collections.abc import Callable
from typing import Any

from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.support.kube import Kube, Manifest, eventually

__all__ = [
    "RBAC",
    "allowed",
    "await_owner_filling",
    "bind",
    "bind_cluster",
    "grant",
    "key",
    "make_user",
    "refusal",
    "refused_change",
    "succeeds",
]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
_counter = itertools.count()


def bind(admin: Kube, namespace: str, user: str, role: str, kind: str = "ClusterRole") -> None:
    """Give the user a role in one namespace."""
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", _binding(user, role, kind))


def bind_cluster(admin: Kube, user: str, *rules: Manifest) -> None:
    """Give the user rights that no namespace bounds."""
    role = f"test-{next(_counter)}"
    admin.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": role}, "rules": list(rules)})
    admin.request("POST", f"{RBAC}/clusterrolebindings", _binding(user, role, "ClusterRole"))


def grant(
    admin: Kube, namespace: str, user: str, resource: str, verb: str, *names: str, group: str = "keywright.dev"
) -> None:
    """Give the user a Role with one rule."""
    role = f"grant-{next(_counter)}"
    rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": list(names)}
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": role}, "rules": [rule]})
    bind(admin, namespace, user, role, "Role")


def make_user(plane: ControlPlane, admin: Kube, namespace: str, user: str, *rules: Manifest) -> Kube:
    """A user with these rights in the namespace, and none elsewhere. The caller closes it."""
    role = f"test-{next(_counter)}"
    body = {"metadata": {"name": role}, "rules": list(rules)}
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", body)
    bind(admin, namespace, user, role, "Role")
    return Kube(plane.kubeconfig_for(user))


def _binding(user: str, role: str, kind: str) -> Manifest:
    return {
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def succeeds(request: Callable[[], Any]) -> bool:
    """Whether the API server takes it now."""
    try:
        request()
    except ApiException:
        return False
    return True


def allowed(request: Callable[[], Any], what: str = "") -> None:
    """Wait until the API server takes it."""
    eventually(lambda: succeeds(request), within=30, what=what)


def refusal(request: Callable[[], Any], status: int = 403, saying: str = "") -> str:
    """The message of the refusal with that status, once there is one that says so."""

    def look() -> str | None:
        try:
            request()
        except ApiException as error:
            if error.status == 409:
                return None  # an operator that runs beside this has written in between
            if error.status not in (403, status):
                raise
            message = str(json.loads(error.body or "")["message"])
            return message if error.status == status and saying in message else None
        return None

    return eventually(look, within=30, what=saying) or ""


def await_owner_filling(kube: Kube, namespace: str) -> None:
    """Wait until owners are filled in for people. Until the API server has read a schema that has only just come, the
    policy may answer 503, also after requests that it did not see. Nothing is created.
    """
    wanted = {"apiVersion": "keywright.dev/v1alpha1", **key(namespace)}

    def is_filled() -> bool:
        try:
            return "owner" in kube.request("POST", kube.path("ApiKey", namespace), wanted, dryRun="All")["spec"]
        except ApiException as error:
            if error.status != 503:
                raise
            return False

    eventually(is_filled, within=90)


def refused_change(kube: Kube, namespace: str, name: str, patch: Manifest, saying: str = "") -> str:
    """The message of the 403 that a merge patch of an ApiKey is answered with. Nothing is changed meanwhile."""
    path = kube.path("ApiKey", namespace, name)
    content_type = "application/merge-patch+json"
    return refusal(lambda: kube.request("PATCH", path, patch, content_type, dryRun="All"), saying=saying)


def key(namespace: str, **spec: Any) -> Manifest:
    """An ApiKey of any name."""
    return {"kind": "ApiKey", "metadata": {"generateName": "key-", "namespace": namespace}, "spec": spec}
