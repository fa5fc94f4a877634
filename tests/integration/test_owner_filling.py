"""Who makes a key by hand is its owner, where MutatingAdmissionPolicy is served; and an API server that has just started.

On a control plane of its own: elsewhere keys have no owner unless they state one.
"""

import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT, Namespaces, apply
from tests.support.kube import Kube, Manifest, eventually
from tests.support.people import await_owner_filling, bind, key, succeeds


@pytest.fixture(scope="module")
def filling(own_plane: ControlPlane) -> ControlPlane:
    """A control plane with every policy there is."""
    apply(own_plane, ROOT / "deploy/admission")
    return own_plane


@pytest.fixture
def place(own_admin: Kube, make_namespace: Namespaces) -> str:
    return make_namespace(own_admin)


@pytest.fixture
def active(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """The policy is at work: the administrator is a person too."""
    assert filling
    await_owner_filling(own_admin, place)


def created_by(plane: ControlPlane, admin: Kube, place: str, user: str, groups: Sequence[str], **spec: Any) -> Manifest:
    bind(admin, place, user, "edit")
    kube = Kube(plane.kubeconfig_for(user, groups))
    eventually(lambda: succeeds(lambda: kube.list(place)), within=30)
    try:
        return kube.create(key(place, **spec))
    finally:
        kube.close()


@pytest.mark.usefixtures("active")
def test_a_person_becomes_the_owner(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """User and groups, but for those that say nothing and the one that no key may have."""
    made = created_by(filling, own_admin, place, "alice@example.com", ["payments", "on-call", "with space inside"])
    owner = made["spec"]["owner"]
    assert owner["user"] == "alice@example.com"
    assert sorted(owner["groups"]) == ["on-call", "payments", "with space inside"]
    administrator = own_admin.create(key(place))
    assert administrator["spec"]["owner"] == {"user": "keywright-local-admin", "groups": []}


@pytest.mark.usefixtures("active")
def test_a_stated_owner_stays(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """Nothing is added to it."""
    made = created_by(filling, own_admin, place, "bob", ["payments"], owner={"user": "bob"})
    assert made["spec"]["owner"] == {"user": "bob"}


@pytest.mark.usefixtures("active")
def test_a_service_account_does_not(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """A GitOps controller would own everybody's keys; what else is called system: neither."""
    account = {"metadata": {"name": "robot", "namespace": place}}
    own_admin.request("POST", f"/api/v1/namespaces/{place}/serviceaccounts", account)
    user = f"system:serviceaccount:{place}:robot"
    bind(own_admin, place, user, "edit")
    robot = Kube(filling.kubeconfig_for_service_account(place, "robot"))
    eventually(lambda: succeeds(lambda: robot.list(place)), within=30)
    assert "owner" not in robot.create(key(place))["spec"]
    robot.close()
    assert "owner" not in created_by(filling, own_admin, place, "system:robot", ["payments"])["spec"]


@pytest.mark.usefixtures("active")
def test_a_name_that_does_not_fit_is_left_out(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """Whoever is called so can have keys all the same; of many groups, the first sixteen."""
    assert "owner" not in created_by(filling, own_admin, place, "Zoë", ["payments"])["spec"]
    for name in ("apikey:somebody", "-"):
        assert "owner" not in created_by(filling, own_admin, place, name, ["payments"])["spec"]
    groups = ["späti", *(f"team-{number}" for number in range(20))]
    owner = created_by(filling, own_admin, place, "carol", groups)["spec"]["owner"]
    assert owner["user"] == "carol"
    assert len(owner["groups"]) == 16
    assert set(owner["groups"]) < set(groups[1:])


def test_what_kubectl_applies_again_keeps_its_owner(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """The manifest says nothing of an owner: applied by two people in turn, it stays the first one's."""
    manifest = f"{{apiVersion: keywright.dev/v1alpha1, kind: ApiKey, metadata: {{name: key, namespace: {place}}}, spec: {{%s}}}}"
    for user, spec in (("dora", ""), ("emil", "displayName: key")):
        bind(own_admin, place, user, "edit")
        command = [str(filling.kubectl), "--kubeconfig", str(filling.kubeconfig_for(user)), "apply", "-f", "-"]

        def reapply(command: list[str] = command, spec: str = spec) -> bool:
            done = subprocess.run(command, input=manifest % spec, text=True, capture_output=True, check=False)
            return done.returncode == 0

        eventually(reapply, within=30)
        assert own_admin.get(place, "key")["spec"]["owner"]["user"] == "dora"


def test_revoking_works_as_soon_as_an_api_server_does(filling: ControlPlane, own_admin: Kube, place: str) -> None:
    """For a while after a start, policies that take a class or fill in an owner may refuse creations; changes do not
    wait for that."""
    eventually(lambda: succeeds(lambda: own_admin.create(key(place))), within=60)
    for number in range(6):
        own_admin.apikey(place, f"key-{number}")
    for number in range(0, 6, 2):
        filling.stop_api_server()
        filling.start_api_server()
        own_admin.patch(place, f"key-{number}", {"spec": {"suspended": True}})
        own_admin.patch(place, f"key-{number}", {"spec": {"revoked": True}})
        own_admin.delete(place, f"key-{number + 1}")
    eventually(lambda: succeeds(lambda: own_admin.create(key(place))), within=60)
