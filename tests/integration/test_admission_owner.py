"""Whom a key may act for, and who may let it adopt a Secret: tried as users on the real API server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.support.kube import Kube
from tests.support.people import allowed, bind, bind_cluster, grant, key, refusal

ADOPT = "keywright.dev/adopt-secret"


@pytest.fixture
def alice(plane: ControlPlane, admin: Kube, namespace: str) -> Iterator[Kube]:
    """An editor who is in two groups."""
    user = f"alice-of-{namespace}@example.com"
    bind(admin, namespace, user, "edit")
    kube = Kube(plane.kubeconfig_for(user, ["payments", "on-call"]))
    allowed(lambda: kube.list(namespace))
    yield kube
    kube.close()


def owned(namespace: str, user: str, *groups: str) -> dict[str, Any]:
    return key(namespace, owner={"user": user, **({"groups": list(groups)} if groups else {})})


def test_an_owner_is_oneself_or_whom_one_may_impersonate(admin: Kube, alice: Kube, namespace: str) -> None:
    """Another person takes impersonate on users of that name; a RoleBinding is not enough, as for kubectl --as."""
    user = f"alice-of-{namespace}@example.com"
    alice.create(owned(namespace, user))
    message = refusal(lambda: alice.create(owned(namespace, "bob")), saying="spec.owner.user")
    assert f"name yourself ({user})" in message
    assert "impersonate on users bob" in message
    for other in ("system:admin", "system:serviceaccount:one", "system:serviceaccount:a:b:c", user.upper()):
        refusal(lambda o=other: alice.create(owned(namespace, o)), saying=f"users {other}")  # type: ignore[misc]
    grant(admin, namespace, user, "users", "impersonate", group="")
    grant(admin, namespace, user, "apikeys", "adopt")  # known once it is: then so is the one before it
    allowed(lambda: alice.create(adopting(namespace)))
    refusal(lambda: alice.create(owned(namespace, "bob")))
    rule = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["bob"]}
    bind_cluster(admin, user, rule)
    allowed(lambda: alice.create(owned(namespace, "bob")))
    refusal(lambda: alice.create(owned(namespace, "carol")))


def test_a_service_account_is_asked_for_in_its_namespace(
    admin: Kube, alice: Kube, namespace: str, make_namespace: Callable[[Kube], str]
) -> None:
    """impersonate on serviceaccounts there, by the right to all users neither."""
    user = f"alice-of-{namespace}@example.com"
    elsewhere = make_namespace(admin)
    account = f"system:serviceaccount:{elsewhere}:robot"
    wanted = f"serviceaccounts robot in the namespace {elsewhere}"
    refusal(lambda: alice.create(owned(namespace, account)), saying=wanted)
    bind_cluster(admin, user, {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]})
    allowed(lambda: alice.create(owned(namespace, "bob")))
    grant(admin, namespace, user, "serviceaccounts", "impersonate", "robot", group="")
    allowed(lambda: alice.create(owned(namespace, f"system:serviceaccount:{namespace}:robot")))
    refusal(lambda: alice.create(owned(namespace, account)))
    grant(admin, elsewhere, user, "serviceaccounts", "impersonate", "robot", group="")
    allowed(lambda: alice.create(owned(namespace, account)))
    refusal(lambda: alice.create(owned(namespace, f"system:serviceaccount:{elsewhere}:other")))


def test_groups_are_ones_own_or_impersonable(admin: Kube, alice: Kube, namespace: str) -> None:
    """Each of them; system:authenticated is everybody's own, and system:masters nobody may name."""
    user = f"alice-of-{namespace}@example.com"
    message = refusal(lambda: alice.create(owned(namespace, user, "payments", "admins")), saying="spec.owner.groups")
    assert "impersonate on groups admins" in message
    alice.create(owned(namespace, user, "payments", "on-call", "system:authenticated"))
    refusal(lambda: alice.create(owned(namespace, user, "system:serviceaccounts")))
    rule = {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"]}
    bind_cluster(admin, user, {**rule, "resourceNames": ["admins", "system:masters"]})
    allowed(lambda: alice.create(owned(namespace, user, "payments", "admins")))
    for kube in (alice, admin):
        message = refusal(lambda k=kube: k.create(owned(namespace, user, "system:masters")), status=422)  # type: ignore[misc]
        assert "system:masters" in message
    sixteen = [f"team-{number}" for number in range(16)]
    refusal(lambda: alice.create(owned(namespace, user, *sixteen)), saying="groups team-0")
    bind_cluster(admin, user, {**rule, "resourceNames": sixteen[:-1]})
    refusal(lambda: alice.create(owned(namespace, user, *sixteen)), saying="groups team-15")
    bind_cluster(admin, user, {**rule, "resourceNames": sixteen[-1:]})
    allowed(lambda: alice.create(owned(namespace, user, *sixteen)))


def test_a_service_account_names_itself_and_its_groups(plane: ControlPlane, admin: Kube, namespace: str) -> None:
    """Its groups are its own, as for people."""
    account = {"metadata": {"name": "robot", "namespace": namespace}}
    admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    user = f"system:serviceaccount:{namespace}:robot"
    bind(admin, namespace, user, "edit")
    robot = Kube(plane.kubeconfig_for_service_account(namespace, "robot"))
    refusal(lambda: robot.create(owned(namespace, "alice")), saying="impersonate on users alice")
    robot.create(owned(namespace, user, "system:serviceaccounts", f"system:serviceaccounts:{namespace}"))
    refusal(lambda: robot.create(owned(namespace, user, "system:serviceaccounts:kube-system")))
    robot.close()


def test_who_may_do_everything_in_a_namespace_names_nobody_else(
    plane: ControlPlane, admin: Kube, namespace: str
) -> None:
    """cluster-admin by a RoleBinding: any class and role in there, but no other person."""
    user = f"boss-of-{namespace}"
    bind(admin, namespace, user, "cluster-admin")
    boss = Kube(plane.kubeconfig_for(user))
    allowed(lambda: boss.create(key(namespace, role="admin", scopes=["*"])))
    refusal(lambda: boss.create(owned(namespace, "bob")), saying="users bob")
    refusal(lambda: boss.create(owned(namespace, user, "admins")), saying="groups admins")
    boss.create(owned(namespace, user))
    boss.close()


def adopting(namespace: str, value: str = "0" * 36) -> dict[str, Any]:
    manifest = key(namespace, className="standard")
    manifest["metadata"]["annotations"] = {ADOPT: value}
    return manifest


def test_adoption_takes_a_verb_of_its_own(admin: Kube, editor: Kube, namespace: str) -> None:
    """At creation and later, for another value too; leaving it alone or taking it away is free."""
    user = f"editor-of-{namespace}"
    message = refusal(lambda: editor.create(adopting(namespace)), saying=f"annotation {ADOPT}")
    assert "verb adopt on apikeys/key-" in message
    editor.create(adopting(namespace, value=""))
    admin.apikey(namespace, "key", className="standard")

    def annotate(value: str | None) -> Callable[[], Any]:
        return lambda: editor.patch(namespace, "key", {"metadata": {"annotations": {ADOPT: value}}})

    assert "apikeys/key" in refusal(annotate("1"))
    admin.patch(namespace, "key", {"metadata": {"annotations": {ADOPT: "1"}}})
    editor.patch(namespace, "key", {"spec": {"description": "as before"}})
    annotate("1")()
    refusal(annotate("2"))
    annotate(None)()
    refusal(annotate("1"))
    grant(admin, namespace, user, "apikeys", "adopt", "key")
    allowed(annotate("1"))
    refusal(lambda: editor.create(adopting(namespace)))


def test_adoption_takes_the_right_to_create_secrets(plane: ControlPlane, admin: Kube, namespace: str) -> None:
    """The verb alone is not enough."""
    user = f"restorer-of-{namespace}"
    grant(admin, namespace, user, "apikeys", "create")
    grant(admin, namespace, user, "apikeys", "adopt")
    restorer = Kube(plane.kubeconfig_for(user))
    refusal(lambda: restorer.create(adopting(namespace)), saying="create Secrets")
    grant(admin, namespace, user, "secrets", "create", group="")
    allowed(lambda: restorer.create(adopting(namespace)))
    restorer.close()
