"""Objects that are really deleted and made anew: what comes back with its key, and what must not."""

import base64
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keywright.domain import hashing
from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.integration.test_crash import crash
from tests.support.kube import Kube, Manifest, eventually
from tests.support.processes import get, operator
from tests.unit.domain.examples import key

CHEAP = {"hashing": {"algorithm": "sha256"}}
LABELS = {"app.kubernetes.io/managed-by": "keywright", "keywright.dev/api-key": "key"}
ADOPT = "keywright.dev/adopt-secret"

# An adoption is four writes: mark, status, event, Secret.
ADOPTION = [f"{when}:{write}" for write in (1, 2, 3, 4) for when in ("before", "after")]


def backed_up(manifest: Manifest) -> Manifest:
    """As Velero restores an object: no status, no owners, nothing that the API server gave it, and its own labels."""
    saved = copy.deepcopy(manifest)
    metadata = saved["metadata"]
    for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"):
        metadata.pop(field, None)
    metadata["labels"] = (metadata.get("labels") or {}) | {"velero.io/restore-name": "monday"}
    saved.pop("status", None)
    return saved


def secret_of(kube: Kube, namespace: str) -> Manifest:
    secret = kube.secret(namespace, "key")
    assert secret is not None
    return secret


def lose_and_restore(kube: Kube, namespace: str) -> str:
    """Delete both objects, wait until they are gone, restore them from a backup; the UID of the restored Secret."""
    apikey, secret = backed_up(kube.get(namespace, "key")), backed_up(secret_of(kube, namespace))
    kube.delete(namespace, "key")
    eventually(lambda: kube.secret(namespace, "key") is None, within=60)
    uid = kube.put_secret(namespace, secret)["metadata"]["uid"]
    kube.create(apikey)
    return str(uid)


def adopt(kube: Kube, namespace: str, uid: str) -> None:
    kube.patch(namespace, "key", {"metadata": {"annotations": {ADOPT: uid}}})


def message_of(kube: Kube, namespace: str) -> str:
    manifest = kube.wait(namespace, "key", Stalled="True/SecretConflict", Ready="False")
    assert "keys" not in manifest["status"]
    said = {each["type"]: each["message"] for each in manifest["status"]["conditions"]}
    return str(said["Stalled"])


def plant(kube: Kube, namespace: str, plain: str, **metadata: Any) -> Manifest:
    manifest = {
        "metadata": {"name": "key", **metadata},
        "type": "Opaque",
        "data": {"api-key": base64.b64encode(plain.encode()).decode()},
    }
    return kube.put_secret(namespace, manifest)


def test_a_revoked_key_does_not_come_back_by_the_secret_that_was_kept(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """Its ApiKey deleted and made anew without the revocation, by somebody who may adopt."""
    plain = issue(secret={"deletionPolicy": "Retain", "whenInactive": "Keep"})
    admin.patch(namespace, "key", {"spec": {"revoked": True}})
    eventually(lambda: "keywright.dev/ended" in secret_of(admin, namespace)["metadata"]["annotations"])
    admin.delete(namespace, "key")
    admin.apikey(namespace, "key", secret={"deletionPolicy": "Retain"})
    adopt(admin, namespace, secret_of(admin, namespace)["metadata"]["uid"])
    eventually(lambda: "cannot be adopted, because its key is revoked" in message_of(admin, namespace))
    assert admin.plain_key(namespace, "key") == plain
    assert get(verifying, X_API_Key=plain)[0] == 401


def test_the_end_is_marked_also_where_the_class_is_gone(
    issue: Callable[..., str], admin: Kube, namespace: str, make_class: Callable[..., str]
) -> None:
    """Whoever makes the class anew does not bring the key back by that."""
    name = make_class(**CHEAP)
    issue(className=name, secret={"deletionPolicy": "Retain", "whenInactive": "Keep"})
    admin.delete(None, name, kind="ApiKeyClass")
    admin.wait(namespace, "key", Stalled="True/ClassNotFound")
    try:
        admin.patch(namespace, "key", {"spec": {"revoked": True}})
        eventually(lambda: "keywright.dev/ended" in secret_of(admin, namespace)["metadata"]["annotations"])
    finally:
        admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": CHEAP})


def test_a_restore_brings_the_key_back(issue: Callable[..., str], admin: Kube, namespace: str, verifying: str) -> None:
    """Without the annotation it says how; with it the same key is accepted again, as old as it was, and none is minted."""
    plain = issue(ttl="90d", secret={"template": {"data": {"copy": "$(key)"}}})
    before = admin.get(namespace, "key")["status"]
    uid = lose_and_restore(admin, namespace)
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 401)
    message = message_of(admin, namespace)
    assert f"kubectl annotate apikey key --overwrite {ADOPT}={uid}" in message
    assert "verb adopt" in message
    assert "delete the Secret" in message
    adopt(admin, namespace, uid)
    manifest = admin.wait(namespace, "key", Ready="True", Active="True", SecretDelivered="True", Stalled="False")
    status = manifest["status"]
    (record,) = status["keys"]
    assert hashing.verify(record["hash"], plain)
    assert record["hash"] != before["keys"][0]["hash"]
    assert (record["id"], record["fingerprint"], record["issuedAt"], record["expiresAt"]) == tuple(
        before["keys"][0][field] for field in ("id", "fingerprint", "issuedAt", "expiresAt")
    )
    assert status["secretUID"] == uid
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)
    eventually(lambda: [each["uid"] for each in owners(admin, namespace)] == [manifest["metadata"]["uid"]])
    secret = secret_of(admin, namespace)
    assert secret["metadata"]["annotations"]["keywright.dev/adopted-by"] == f"{manifest['metadata']['uid']}/{uid}"
    assert secret["metadata"]["labels"] == LABELS | {"velero.io/restore-name": "monday"}
    assert admin.plain_key(namespace, "key", "copy") == plain
    eventually(lambda: list(admin.events(namespace, "key"))[-1] == "SecretAdopted")
    admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "1"}}})
    eventually(lambda: admin.plain_key(namespace, "key") != plain)


def owners(kube: Kube, namespace: str) -> list[Manifest]:
    return secret_of(kube, namespace)["metadata"].get("ownerReferences") or []


def test_a_second_disaster_is_survived_too(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """The backup carries the mark of the first adoption along; the restored Secret is another one."""
    plain = issue()
    for _ in range(2):
        uid = lose_and_restore(admin, namespace)
        message_of(admin, namespace)
        adopt(admin, namespace, uid)
        admin.wait(namespace, "key", Ready="True", Active="True")
        eventually(lambda: owners(admin, namespace))
        assert admin.plain_key(namespace, "key") == plain


def test_gitops_makes_it_anew_with_retain(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """Deleted and applied again: its Secret was left, and is adopted. An annotation that stays in git brings nothing
    back a second time.
    """
    retain = {"deletionPolicy": "Retain"}
    plain = issue(secret=retain)
    uid = str(secret_of(admin, namespace)["metadata"]["uid"])
    manifest = {
        "kind": "ApiKey",
        "metadata": {"name": "key", "namespace": namespace, "annotations": {ADOPT: uid}},
        "spec": {"secret": retain},
    }
    admin.delete(namespace, "key")
    admin.create(manifest)
    admin.wait(namespace, "key", Ready="True", Active="True")
    assert owners(admin, namespace) == []
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)
    admin.delete(namespace, "key")
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 401)
    admin.create(manifest)
    assert "another ApiKey has adopted it before" in message_of(admin, namespace)
    assert get(verifying, X_API_Key=plain)[0] == 401
    admin.delete_secret(namespace, "key")
    admin.wait(namespace, "key", Ready="True", Active="True")
    assert admin.plain_key(namespace, "key") != plain


def test_deleting_the_secret_gives_a_new_key(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """The other way out that the condition names."""
    plain = issue()
    lose_and_restore(admin, namespace)
    message_of(admin, namespace)
    admin.delete_secret(namespace, "key")
    admin.wait(namespace, "key", Ready="True", Active="True")
    assert admin.plain_key(namespace, "key") != plain


PLANTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "without our labels": ({}, key(70).text, "lacks the labels"),
    "with the labels of another": (
        {"labels": LABELS | {"keywright.dev/api-key": "b"}},
        key(70).text,
        "lacks the labels",
    ),
    "with a key of another prefix": ({"labels": LABELS}, key(70, "kw_test").text, "is not of class standard"),
    "with something else in it": ({"labels": LABELS}, "hello", "no well-formed key"),
}


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize(("metadata", "plain", "why"), PLANTED.values(), ids=PLANTED)
def test_a_planted_secret_is_refused(
    admin: Kube, namespace: str, verifying: str, metadata: dict[str, Any], plain: str, why: str
) -> None:
    """Also when somebody annotates the ApiKey with its UID."""
    planted = plant(admin, namespace, plain, **metadata)
    admin.apikey(namespace, "key")
    message_of(admin, namespace)
    adopt(admin, namespace, planted["metadata"]["uid"])
    eventually(lambda: why in message_of(admin, namespace))
    assert secret_of(admin, namespace) == planted
    assert get(verifying, X_API_Key=plain)[0] == 401


@pytest.mark.usefixtures("shared_operator")
def test_a_forged_owner_and_a_wrong_uid_are_refused(admin: Kube, namespace: str, verifying: str) -> None:
    """Labels and owner to the letter, a well-formed key: nothing counts but the annotation with this Secret's UID."""
    admin.apikey(namespace, "key", suspended=True)
    admin.wait(namespace, "key", Active="False/KeySuspended")
    uid = admin.get(namespace, "key")["metadata"]["uid"]
    admin.delete(namespace, "key")
    eventually(lambda: admin.secret(namespace, "key") is None, within=60)
    plain = key(71).text
    planted = plant(admin, namespace, plain, labels=LABELS)
    manifest = admin.create(
        {"kind": "ApiKey", "metadata": {"name": "key", "namespace": namespace, "annotations": {ADOPT: uid}}, "spec": {}}
    )
    owner = {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "name": "key",
        "uid": manifest["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    path = f"/api/v1/namespaces/{namespace}/secrets/key"
    patch = {"metadata": {"ownerReferences": [owner]}}
    forged = admin.request("PATCH", path, patch, "application/merge-patch+json")
    assert f"{ADOPT}={planted['metadata']['uid']}" in message_of(admin, namespace)
    admin.patch(namespace, "key", {"spec": {"description": "look again"}})
    eventually(lambda: admin.get(namespace, "key")["status"]["observedGeneration"] == 2)
    message_of(admin, namespace)
    assert secret_of(admin, namespace) == forged
    assert get(verifying, X_API_Key=plain)[0] == 401


@pytest.mark.usefixtures("shared_operator")
def test_a_taken_id_is_refused(
    issue: Callable[..., str], admin: Kube, make_namespace: Namespaces, namespace: str, verifying: str
) -> None:
    """A backup restored into a second place beside the first: the first goes on, the copy is told."""
    plain = issue()
    copied = backed_up(secret_of(admin, namespace))
    second = make_namespace(admin)
    copied["metadata"]["namespace"] = second
    uid = admin.put_secret(second, copied)["metadata"]["uid"]
    admin.apikey(second, "key")
    message_of(admin, second)
    adopt(admin, second, uid)
    eventually(lambda: f"belongs to the ApiKey {namespace}/key" in message_of(admin, second))
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)


@pytest.mark.usefixtures("shared_operator")
def test_an_apikey_that_had_keys_adopts_nothing(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """Else whoever may replace a Secret and annotate could choose the key."""
    plain = issue()
    admin.delete_secret(namespace, "key")
    admin.wait(namespace, "key", Stalled="True/SecretMissing")
    planted = plant(admin, namespace, key(72).text, labels=LABELS)
    adopt(admin, namespace, planted["metadata"]["uid"])
    manifest = admin.wait(namespace, "key", Stalled="True/SecretConflict", Active="True")
    time.sleep(1)
    assert secret_of(admin, namespace) == planted
    assert hashing.verify(admin.get(namespace, "key")["status"]["keys"][0]["hash"], plain)
    assert len(manifest["status"]["keys"]) == 1


@pytest.mark.usefixtures("shared_operator")
def test_what_was_revoked_or_suspended_comes_back_so(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """A restored ApiKey that is suspended adopts and stays suspended; one that is revoked adopts nothing."""
    plain = issue(suspended=False)
    admin.patch(namespace, "key", {"spec": {"suspended": True}})
    admin.wait(namespace, "key", Active="False/KeySuspended")
    uid = lose_and_restore(admin, namespace)
    message_of(admin, namespace)
    adopt(admin, namespace, uid)
    admin.wait(namespace, "key", Active="False/KeySuspended", Ready="True", SecretDelivered="True")
    saved = backed_up(secret_of(admin, namespace))
    apikey = backed_up(admin.get(namespace, "key"))
    admin.delete(namespace, "key")
    eventually(lambda: admin.secret(namespace, "key") is None, within=60)
    restored = admin.put_secret(namespace, saved)
    apikey["spec"]["revoked"] = True
    apikey["metadata"]["annotations"] = {ADOPT: restored["metadata"]["uid"]}
    admin.create(apikey)
    manifest = admin.wait(namespace, "key", Active="False/KeyRevoked", Ready="True")
    assert "keys" not in manifest["status"]
    assert secret_of(admin, namespace) == restored
    assert get(verifying, X_API_Key=plain)[0] == 401


def test_an_adoption_survives_a_kill_at_each_write(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Whatever write the operator dies at, the next one adopts the same key, once."""
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "quick"}, "spec": CHEAP})
    namespaces = {failpoint: make_namespace(own_admin) for failpoint in ADOPTION}
    plains = {}
    for number, (failpoint, namespace) in enumerate(namespaces.items()):
        plains[namespace] = key(80 + number).text
        planted = plant(own_admin, namespace, plains[namespace], labels=LABELS)
        annotations = {ADOPT: planted["metadata"]["uid"]}
        metadata = {"name": "key", "namespace": namespace, "annotations": annotations}
        own_admin.create({"kind": "ApiKey", "metadata": metadata, "spec": {"className": "quick"}})
        crash(own_plane, namespace, failpoint, tmp_path)
        assert own_admin.plain_key(namespace, "key") == plains[namespace]
    with operator(own_plane.kubeconfig, tmp_path / "log", namespaces=list(namespaces.values())):
        for namespace, plain in plains.items():
            manifest = own_admin.wait(namespace, "key", Ready="True", Active="True", SecretDelivered="True", within=45)
            (record,) = manifest["status"]["keys"]
            assert hashing.verify(record["hash"], plain)
            eventually(lambda n=namespace: owners(own_admin, n))  # type: ignore[misc]
            assert own_admin.plain_key(namespace, "key") == plain
            assert "KeyIssued" not in list(own_admin.events(namespace, "key"))
    log = (tmp_path / "log").read_text()
    assert not any(plain[-49:] in log for plain in plains.values())
