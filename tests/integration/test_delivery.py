"""What is in the Secret, how long it stays, and what others may do to it, on the real API server."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.integration.test_crash import crash
from tests.support.audit import requests
from tests.support.kube import Kube, Manifest, eventually, status_of
from tests.support.processes import get, operator

CHEAP = {"hashing": {"algorithm": "sha256"}}
OURS = {"app.kubernetes.io/managed-by": "keywright", "keywright.dev/api-key": "key"}
RELOAD = "reloader.stakater.com/match"


def secret_of(kube: Kube, namespace: str) -> Manifest:
    secret = kube.secret(namespace, "key")
    assert secret is not None
    return secret


def entries(kube: Kube, namespace: str) -> dict[str, str]:
    data = secret_of(kube, namespace).get("data") or {}
    return {entry: base64.b64decode(value).decode() for entry, value in data.items()}


def annotations(kube: Kube, namespace: str) -> dict[str, str]:
    return secret_of(kube, namespace)["metadata"].get("annotations") or {}


def edit_secret(kube: Kube, namespace: str, patch: Manifest) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/key"
    kube.request("PATCH", path, patch, "application/merge-patch+json")


def acknowledge(kube: Kube, namespace: str, key_id: str) -> None:
    edit_secret(kube, namespace, {"metadata": {"annotations": {"keywright.dev/acknowledged": key_id}}})


def test_a_template_says_what_the_secret_carries(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """Entries with the key filled in, labels and annotations that the class allows; a change mints nothing."""
    template: dict[str, Any] = {
        "labels": {RELOAD: "true"},
        "annotations": {"secret.reloader.stakater.com/reload": "web"},
        "data": {
            "SERVICE_API_KEY": "$(key)",
            "curl.cfg": 'header = "Authorization: Bearer $(key)"',
            "plain": "$$(key)",
        },
    }
    plain = issue(secret={"template": template})
    assert entries(admin, namespace) == {
        "api-key": plain,
        "SERVICE_API_KEY": plain,
        "curl.cfg": f'header = "Authorization: Bearer {plain}"',
        "plain": "$(key)",
    }
    assert secret_of(admin, namespace)["metadata"]["labels"] == OURS | {RELOAD: "true"}
    assert annotations(admin, namespace)["secret.reloader.stakater.com/reload"] == "web"
    before = admin.get(namespace, "key")["status"]
    changed = {"labels": {RELOAD: None}, "annotations": None, "data": {"plain": None, "who": "$(namespace)/$(name)"}}
    admin.patch(namespace, "key", {"spec": {"secret": {"template": changed}}})
    eventually(lambda: entries(admin, namespace).get("who") == f"{namespace}/key")
    assert "plain" not in entries(admin, namespace)
    assert secret_of(admin, namespace)["metadata"]["labels"] == OURS
    assert "secret.reloader.stakater.com/reload" not in annotations(admin, namespace)
    eventually(lambda: admin.get(namespace, "key")["status"]["observedGeneration"] == 2)
    after = admin.get(namespace, "key")["status"]
    assert after["keys"] == before["keys"]
    assert after["secretResourceVersion"] == secret_of(admin, namespace)["metadata"]["resourceVersion"]


def test_a_faulty_template_stops_an_issue_and_no_live_key(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """InvalidSpec names the field; what was delivered stays as it was until it is mended."""
    plain = issue(secret={"template": {"data": {"file": "a $(key)"}}})
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)
    admin.patch(
        namespace,
        "key",
        {"spec": {"secret": {"template": {"data": dict.fromkeys(("file", "b", "c"), "$(key)" * 680)}}}},
    )
    manifest = admin.wait(namespace, "key", Stalled="True/InvalidSpec", Active="True")
    assert "spec.secret.template.data may become larger" in str(manifest["status"]["conditions"])
    assert entries(admin, namespace)["file"] == f"a {plain}"
    assert get(verifying, X_API_Key=plain)[0] == 200
    mended = {"file": "c $(key)", "b": None, "c": None}
    admin.patch(namespace, "key", {"spec": {"secret": {"template": {"data": mended}}}})
    eventually(lambda: entries(admin, namespace)["file"] == f"c {plain}")
    admin.wait(namespace, "key", Stalled="False", Ready="True")
    admin.apikey(namespace, "born", secret={"template": {"annotations": {"example.com/x": "y"}}})
    manifest = admin.wait(namespace, "born", Stalled="True/InvalidSpec")
    assert "keys" not in manifest["status"]


def test_a_class_that_forbids_a_label_takes_it_away(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """At once, from the Secret of a live key, which says so and goes on."""
    name = f"class-{namespace}"
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": CHEAP | {"secretMetadata": ["team"]}})
    try:
        issue(className=name, secret={"template": {"labels": {"team": "a"}}})
        assert secret_of(admin, namespace)["metadata"]["labels"]["team"] == "a"
        admin.patch(None, name, {"spec": {"secretMetadata": ["other"]}}, "ApiKeyClass")
        eventually(lambda: "team" not in secret_of(admin, namespace)["metadata"]["labels"])
        admin.wait(namespace, "key", Stalled="True/InvalidSpec", Active="True", SecretDelivered="True")
    finally:
        admin.delete(None, name, "ApiKeyClass")


def test_what_others_change_is_put_back_and_what_they_add_stays(
    issue: Callable[..., str], admin: Kube, namespace: str
) -> None:
    """Entries, labels and the owner are ours; foreign labels and annotations are theirs; foreign entries go."""
    plain = issue(secret={"template": {"data": {"file": "$(keyId)"}}})
    foreign = {
        "labels": {"a": "b", "app.kubernetes.io/managed-by": None},
        "annotations": {"c": "d"},
        "ownerReferences": [],
    }
    changed = {name: base64.b64encode(b"x").decode() for name in ("file", "extra")}
    edit_secret(admin, namespace, {"metadata": foreign, "data": changed})
    eventually(lambda: entries(admin, namespace) == {"api-key": plain, "file": plain.split("_")[2]})
    metadata = secret_of(admin, namespace)["metadata"]
    assert metadata["labels"] == OURS | {"a": "b"}
    assert metadata["annotations"]["c"] == "d"
    assert [each["kind"] for each in metadata["ownerReferences"]] == ["ApiKey"]
    admin.delete_secret(namespace, "key")
    admin.wait(namespace, "key", Stalled="True/SecretMissing")


@pytest.mark.parametrize(
    "data", [None, {"api-key": base64.b64encode(b"nonsense").decode()}], ids=["emptied", "changed"]
)
def test_an_emptied_secret_is_reported_or_rotated(
    issue: Callable[..., str], admin: Kube, namespace: str, data: Any
) -> None:
    """Like a deleted one, in words of its own; the key written back by its holder is recognised."""
    plain = issue()
    edit_secret(admin, namespace, {"data": data})
    manifest = admin.wait(namespace, "key", Stalled="True/SecretMissing", Active="True", SecretDelivered="False")
    assert "entry api-key" in str(manifest["status"]["conditions"])
    edit_secret(admin, namespace, {"data": {"api-key": base64.b64encode(plain.encode()).decode()}})
    admin.wait(namespace, "key", Stalled="False", SecretDelivered="True")
    uid = secret_of(admin, namespace)["metadata"]["uid"]
    admin.patch(namespace, "key", {"spec": {"secret": {"onLoss": "Rotate"}}})
    edit_secret(admin, namespace, {"data": data})
    eventually(lambda: entries(admin, namespace).get("api-key", "nonsense") not in ("nonsense", plain))
    admin.wait(namespace, "key", Stalled="False", Ready="True")
    assert secret_of(admin, namespace)["metadata"]["uid"] == uid


def test_delivered_once_and_acknowledged(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """The Secret goes with the right acknowledgement, the key works on, and a rotation delivers again."""
    plain = issue(secret={"delivery": "Once"})
    key_id = plain.split("_")[2]
    acknowledge(admin, namespace, "0" * 12)
    time.sleep(1)
    assert admin.plain_key(namespace, "key") == plain
    acknowledge(admin, namespace, key_id)
    eventually(lambda: admin.secret(namespace, "key") is None)
    admin.wait(namespace, "key", SecretDelivered="False/SecretWithdrawn", Ready="True", Active="True")
    eventually(lambda: list(admin.events(namespace, "key")) == ["KeyIssued", "SecretWithdrawn"])
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)
    admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "again"}}})
    eventually(lambda: admin.secret(namespace, "key") is not None)
    again = admin.plain_key(namespace, "key")
    assert again != plain
    admin.wait(namespace, "key", SecretDelivered="True", Ready="True")
    acknowledge(admin, namespace, key_id)
    time.sleep(1)
    assert admin.plain_key(namespace, "key") == again


@pytest.mark.usefixtures("shared_operator")
def test_delivered_once_goes_by_itself(admin: Kube, namespace: str) -> None:
    """removeAfter counts from the issue; becoming Persistent after that says what to do."""
    admin.apikey(namespace, "key", secret={"delivery": "Once", "removeAfter": "3s", "onLoss": "Rotate"})
    admin.wait(namespace, "key", SecretDelivered="False/SecretWithdrawn", Ready="True", Active="True")
    assert admin.secret(namespace, "key") is None
    eventually(lambda: list(admin.events(namespace, "key")) == ["KeyIssued", "SecretWithdrawn"])
    admin.patch(namespace, "key", {"spec": {"secret": {"delivery": "Persistent", "onLoss": "Report"}}})
    manifest = admin.wait(namespace, "key", Stalled="True/SecretMissing")
    assert "spec.rotation.trigger" in str(manifest["status"]["conditions"])
    assert len(manifest["status"]["keys"]) == 1


def test_retain_leaves_the_secret_behind(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """Without an owner reference nobody collects it; switching later adds or removes that."""
    plain = issue(secret={"deletionPolicy": "Retain"})
    assert "ownerReferences" not in secret_of(admin, namespace)["metadata"]
    admin.patch(namespace, "key", {"spec": {"secret": {"deletionPolicy": "Delete"}}})
    eventually(lambda: "ownerReferences" in secret_of(admin, namespace)["metadata"])
    admin.patch(namespace, "key", {"spec": {"secret": {"deletionPolicy": "Retain"}}})
    eventually(lambda: "ownerReferences" not in secret_of(admin, namespace)["metadata"])
    admin.delete(namespace, "key")
    time.sleep(3)
    assert admin.plain_key(namespace, "key") == plain


def test_keep_leaves_the_secret_of_a_revoked_key(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """It says so; Delete takes it away later."""
    plain = issue(secret={"whenInactive": "Keep"})
    admin.patch(namespace, "key", {"spec": {"revoked": True}})
    manifest = admin.wait(namespace, "key", Active="False/KeyRevoked", SecretDelivered="True/KeyRevoked", Ready="True")
    assert "whenInactive" in str(manifest["status"]["conditions"])
    assert admin.plain_key(namespace, "key") == plain
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 401)
    # The mark follows the status.
    eventually(lambda: annotations(admin, namespace).get("keywright.dev/ended") == "Revoked")
    admin.patch(namespace, "key", {"spec": {"secret": {"whenInactive": "Delete"}}})
    eventually(lambda: admin.secret(namespace, "key") is None)
    admin.wait(namespace, "key", SecretDelivered="False/SecretWithdrawn")


def test_a_secret_that_a_finalizer_holds_is_waited_for(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """An ApiKey made anew waits for its predecessor's Secret, and is issued once that is gone."""
    issue()
    edit_secret(admin, namespace, {"metadata": {"finalizers": ["example.com/hold"]}})
    time.sleep(1)
    assert secret_of(admin, namespace)["metadata"]["finalizers"] == ["example.com/hold"]
    admin.delete(namespace, "key")
    eventually(lambda: "deletionTimestamp" in secret_of(admin, namespace)["metadata"], within=90)
    admin.apikey(namespace, "key")
    eventually(lambda: "garbage collection" in str(admin.get(namespace, "key")["status"]))
    edit_secret(admin, namespace, {"metadata": {"finalizers": None}})
    admin.wait(namespace, "key", Ready="True", Active="True")


def test_another_controller_that_wants_the_secret_otherwise_does_not_make_a_storm(
    issue: Callable[..., str], admin: Kube, namespace: str, plane: ControlPlane
) -> None:
    """Each time it is put right the other writes again: the operator gives up for a while, and the key works on."""
    plain = issue()

    def insist(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if "extra" not in entries(admin, namespace):
                edit_secret(admin, namespace, {"data": {"extra": "eA=="}})
            time.sleep(0.02)

    insist(8)
    user = "system:serviceaccount:keywright-system:keywright-operator"

    def writes() -> int:
        made = ((each.user, each.verb, each.resource, each.namespace) for each in requests(plane.audit_log))
        return sum(each == (user, "update", "secrets", namespace) for each in made)

    assert 1 <= writes() <= 10
    assert admin.plain_key(namespace, "key") == plain
    assert status_of(admin.get(namespace, "key"))["Active"] == "True/KeyIssued"
    # What is asked for anew does not wait: observedGeneration says that the Secret is as asked for.
    before = writes()
    generation = admin.patch(namespace, "key", {"spec": {"secret": {"deletionPolicy": "Retain"}}})["metadata"][
        "generation"
    ]
    eventually(lambda: admin.get(namespace, "key")["status"]["observedGeneration"] == generation)
    assert "ownerReferences" not in secret_of(admin, namespace)["metadata"]
    assert writes() > before


# What the operator knows without having been there.


def writes_and_secret_reads(plane: ControlPlane, namespace: str) -> list[str]:
    return [
        f"{each.verb} {each.resource} {each.name}"
        for each in requests(plane.audit_log)
        if each.namespace == namespace
        and (each.verb in ("create", "update", "patch", "delete") or (each.verb, each.resource) == ("get", "secrets"))
        and each.user.startswith("system:serviceaccount:")
    ]


def test_a_restart_reads_what_was_touched_and_writes_nothing(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """An untouched Secret costs no read, an annotated one a read, an edited one a read and a write."""
    namespace = make_namespace(own_admin)
    account = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "fast"}, "spec": CHEAP})
    names = ["untouched", "annotated", "edited", "stripped"]
    with operator(account, tmp_path / "first"):
        for name in names:
            own_admin.apikey(namespace, name, className="fast")
        for name in names:
            own_admin.wait(namespace, name, Ready="True", Active="True")
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    for name, patch in {
        "annotated": {"metadata": {"annotations": {"a": "b"}}},
        "edited": {"data": {"extra": "eA=="}},
        "stripped": {"metadata": {"labels": None}},
    }.items():
        own_admin.request("PATCH", f"{secrets}/{name}", patch, "application/merge-patch+json")
    before = len(writes_and_secret_reads(own_plane, namespace))
    with operator(account, tmp_path / "second"):
        eventually(lambda: len(set(writes_and_secret_reads(own_plane, namespace)[before:])) >= 5)
        time.sleep(1)
    made = writes_and_secret_reads(own_plane, namespace)[before:]
    reads = [each for each in made if each.startswith("get ")]
    # A write of its own may be shown by the watch before it is answered, which costs another look.
    assert set(reads) == {"get secrets annotated", "get secrets edited", "get secrets stripped"}
    assert sorted(set(made) - set(reads)) == ["update secrets edited", "update secrets stripped"]
    assert len(made) - len(reads) == 2


# A withdrawal of a Once delivery is three writes: removal, status, event. A new rendering is two: Secret, status.
WITHDRAWAL = [f"{when}:{write}" for write in (1, 2, 3) for when in ("before", "after")]
RENDERING = [f"{when}:{write}" for write in (1, 2) for when in ("before", "after")]


def test_withdrawal_and_rendering_survive_a_kill_at_each_write(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Whatever write the operator dies at, the next one ends where the first would have; nothing is minted."""
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "quick"}, "spec": CHEAP})
    withdrawing = {failpoint: make_namespace(own_admin) for failpoint in WITHDRAWAL}
    rendering = {failpoint: make_namespace(own_admin) for failpoint in RENDERING}
    everywhere = [*withdrawing.values(), *rendering.values()]
    with operator(own_plane.kubeconfig, tmp_path / "first", namespaces=everywhere):
        for namespace in withdrawing.values():
            own_admin.apikey(namespace, "key", className="quick", secret={"delivery": "Once"})
        for namespace in rendering.values():
            own_admin.apikey(namespace, "key", className="quick")
        for namespace in everywhere:
            own_admin.wait(namespace, "key", Ready="True", Active="True")
    ids = {namespace: own_admin.get(namespace, "key")["status"]["currentKeyId"] for namespace in everywhere}
    for failpoint, namespace in withdrawing.items():
        acknowledge(own_admin, namespace, ids[namespace])
        crash(own_plane, namespace, failpoint, tmp_path)
    for failpoint, namespace in rendering.items():
        own_admin.patch(namespace, "key", {"spec": {"secret": {"template": {"data": {"id": "$(keyId)"}}}}})
        crash(own_plane, namespace, failpoint, tmp_path)
    with operator(own_plane.kubeconfig, tmp_path / "second", namespaces=everywhere):
        for namespace in withdrawing.values():
            eventually(lambda n=namespace: own_admin.secret(n, "key") is None)  # type: ignore[misc]
            own_admin.wait(namespace, "key", SecretDelivered="False/SecretWithdrawn", Ready="True", Active="True")
        for namespace in rendering.values():
            eventually(lambda n=namespace: entries(own_admin, n).get("id") == ids[n])  # type: ignore[misc]
            eventually(lambda n=namespace: own_admin.get(n, "key")["status"]["observedGeneration"] == 2)  # type: ignore[misc]
        for namespace in everywhere:
            (record,) = own_admin.get(namespace, "key")["status"]["keys"]
            assert record["id"] == ids[namespace]
