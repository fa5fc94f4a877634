"""The API server goes away and comes back; the operator restarts; nothing is lost and nothing is written twice."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.audit import requests
from tests.support.kube import Kube, eventually
from tests.support.processes import get, operator, verifier

CHEAP = {"hashing": {"algorithm": "sha256"}}


def is_gone(kube: Kube, namespace: str, secret: str) -> bool:
    return kube.secret(namespace, secret) is None


def states(kube: Kube, namespace: str, name: str) -> set[str]:
    return {each["state"] for each in kube.get(namespace, name)["status"]["keys"]}


def rotates_at(kube: Kube, namespace: str, name: str) -> datetime:
    return datetime.fromisoformat(kube.get(namespace, name)["status"]["rotateAt"])


def created(kube: Kube, namespace: str, name: str) -> None:
    """Create a key on an API server that has just started: for up to half a minute it may not have discovered the class
    that an admission policy asks for, and refuses (docs/decisions/0008).
    """

    def create() -> bool:
        try:
            kube.apikey(namespace, name)
        except ApiException as error:
            if "failed to find resource referenced by paramKind" not in str(error.body):
                raise
            return False
        return True

    eventually(create, within=60)


def phases_of(kube: Kube, namespace: str) -> dict[str, str]:
    return {each["metadata"]["name"]: each["status"]["phase"] for each in kube.list(namespace)}


def test_what_happened_while_the_operator_was_down_is_caught_up(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Expired, revoked, deleted, made again and newly made during its absence: all of it is put right at its start."""
    namespace = make_namespace(own_admin)
    with operator(own_plane.kubeconfig, tmp_path / "first"):
        for name in ("revoked", "deleted", "replaced", "lost"):
            own_admin.apikey(namespace, name)
            own_admin.wait(namespace, name, Active="True")
        before = own_admin.plain_key(namespace, "replaced")
        own_admin.apikey(namespace, "expires", ttl="10s")
        status = own_admin.wait(namespace, "expires", Active="True")["status"]
    ends_at = datetime.fromisoformat(status["expiresAt"])
    own_admin.patch(namespace, "revoked", {"spec": {"revoked": True}})
    own_admin.delete(namespace, "deleted")
    own_admin.delete(namespace, "replaced")
    own_admin.delete_secret(namespace, "lost")
    own_admin.apikey(namespace, "replaced")
    own_admin.apikey(namespace, "new")
    eventually(lambda: datetime.now(UTC) > ends_at)
    with operator(own_plane.kubeconfig, tmp_path / "second"):
        own_admin.wait(namespace, "expires", Active="False/KeyExpired")
        own_admin.wait(namespace, "revoked", Active="False/KeyRevoked")
        own_admin.wait(namespace, "lost", Stalled="True/SecretMissing")
        own_admin.wait(namespace, "new", Active="True")
        own_admin.wait(namespace, "replaced", Active="True", within=90)
        assert own_admin.plain_key(namespace, "replaced") != before
        for name in ("expires", "revoked", "deleted"):
            eventually(partial(is_gone, own_admin, namespace, name), within=90)


def test_a_rotation_goes_on_while_the_operator_is_down(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """The verifier ends a replaced key by itself; the operator that comes back records it, and rotates what was due."""
    namespace = make_namespace(own_admin)
    with verifier(own_plane.kubeconfig, tmp_path / "v", namespaces=[namespace]) as (_, listen, _):
        with operator(own_plane.kubeconfig, tmp_path / "first"):
            own_admin.apikey(namespace, "retiring", rotation={"gracePeriod": "30s"})
            own_admin.apikey(namespace, "due", rotation={"interval": "40s", "gracePeriod": "1h"})
            for name in ("retiring", "due"):
                own_admin.wait(namespace, name, Active="True")
            old, before = (own_admin.plain_key(namespace, name) for name in ("retiring", "due"))
            own_admin.patch(namespace, "retiring", {"spec": {"rotation": {"trigger": "1"}}})
            eventually(lambda: states(own_admin, namespace, "retiring") == {"Current", "Retiring"})
            new = own_admin.plain_key(namespace, "retiring")
            eventually(lambda: get(listen, X_API_Key=new)[0] == 200)
        assert own_admin.plain_key(namespace, "due") == before
        eventually(lambda: get(listen, X_API_Key=old)[0] == 401, within=45)
        assert get(listen, X_API_Key=new)[0] == 200
        assert states(own_admin, namespace, "retiring") == {"Current", "Retiring"}
        eventually(lambda: datetime.now(UTC) > rotates_at(own_admin, namespace, "due"), within=60)
        with operator(own_plane.kubeconfig, tmp_path / "second"):
            eventually(lambda: states(own_admin, namespace, "retiring") == {"Current"})
            eventually(lambda: own_admin.plain_key(namespace, "due") != before)
            eventually(lambda: states(own_admin, namespace, "due") == {"Current", "Retiring"})


def test_a_restart_writes_nothing(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """An operator that finds every key in order reads two lists and writes not one byte (invariant 7)."""
    namespace = make_namespace(own_admin)
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "fast"}, "spec": CHEAP})
    phases = {f"key-{number}": "Active" for number in range(20)} | {"suspended": "Suspended", "gone": "Revoked"}
    with operator(own_plane.kubeconfig, tmp_path / "first", namespaces=[namespace]):
        for number in range(20):
            own_admin.apikey(namespace, f"key-{number}", className="fast", ttl="90d")
        own_admin.apikey(namespace, "suspended", className="fast", suspended=True)
        own_admin.apikey(namespace, "gone", className="fast", revoked=True)
        eventually(lambda: phases_of(own_admin, namespace) == phases, within=30)
    user = "keywright-restarter"
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keywright-operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    own_admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    with operator(own_plane.kubeconfig_for(user), tmp_path / "second", namespaces=[namespace]):
        time.sleep(3)
    made = [each for each in requests(own_plane.audit_log) if each.user == user]
    assert {each.verb for each in made} == {"list", "watch"}


def test_due_times_are_met_after_a_restart(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """A key that was issued by an operator that is gone ends on time under the next one."""
    namespace = make_namespace(own_admin)
    with operator(own_plane.kubeconfig, tmp_path / "first"):
        own_admin.apikey(namespace, "key", ttl="30s")
        manifest = own_admin.wait(namespace, "key", Active="True")
    ends_at = datetime.fromisoformat(manifest["status"]["expiresAt"])
    with operator(own_plane.kubeconfig, tmp_path / "second"):
        assert datetime.now(UTC) < ends_at
        own_admin.wait(namespace, "key", Active="False/KeyExpired", within=50)
        assert datetime.now(UTC) - ends_at < timedelta(seconds=5)


def test_operator_and_verifier_survive_an_api_server_restart(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """The verifier serves from memory during the outage and ends a key on time; afterwards both go on by themselves."""
    namespace = make_namespace(own_admin)
    with operator(own_plane.kubeconfig, tmp_path / "o"), verifier(own_plane.kubeconfig, tmp_path / "v") as running:
        _, listen, _ = running
        own_admin.apikey(namespace, "long")
        own_admin.wait(namespace, "long", Active="True")
        own_admin.apikey(namespace, "short", ttl="15s")
        ends_at = datetime.fromisoformat(own_admin.wait(namespace, "short", Active="True")["status"]["expiresAt"])
        keys = {name: own_admin.plain_key(namespace, name) for name in ("long", "short")}
        eventually(lambda: all(get(listen, X_API_Key=key)[0] == 200 for key in keys.values()))
        own_plane.stop_api_server(kill=True)
        assert datetime.now(UTC) < ends_at
        eventually(lambda: get(listen, X_API_Key=keys["short"])[0] == 401, within=30)
        assert ends_at <= datetime.now(UTC) < ends_at + timedelta(seconds=5)
        assert "expired_key" in get(listen, X_API_Key=keys["short"])[2]
        assert get(listen, X_API_Key=keys["long"])[0] == 200
        own_plane.start_api_server()
        own_admin.wait(namespace, "short", Active="False/KeyExpired", within=40)
        eventually(lambda: own_admin.secret(namespace, "short") is None)
        created(own_admin, namespace, "new")
        own_admin.wait(namespace, "new", Active="True", within=40)
        own_admin.patch(namespace, "long", {"spec": {"revoked": True}})
        eventually(lambda: get(listen, X_API_Key=keys["long"])[0] == 401, within=20)
