"""A key is replaced by a new one while clients go on with the old one, on the real API server and verifier."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from keywright.domain import hashing
from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.integration.test_crash import crash
from tests.support.kube import Kube, Manifest, eventually
from tests.support.processes import get, operator

# A rotation is four writes: Pending record, Secret, Current record, event.
ROTATION = [f"{when}:{write}" for write in (1, 2, 3, 4) for when in ("before", "after")]
CHEAP = {"hashing": {"algorithm": "sha256"}}


def rotated(kube: Kube, namespace: str, before: str, *, within: float = 15) -> str:
    """Wait for another plain key in the Secret, and for the status to be done with it."""
    eventually(lambda: kube.plain_key(namespace, "key") != before, within=within)
    plain = kube.plain_key(namespace, "key")
    eventually(lambda: kube.get(namespace, "key")["status"]["currentKeyId"] in plain)
    return plain


def states(manifest: Manifest) -> list[str]:
    return sorted(each["state"] for each in manifest["status"]["keys"])


def test_a_trigger_rotates_with_an_overlap(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """Both keys pass during the grace period; then the old one is expired, without anybody's help; one event each."""
    old = issue(rotation={"gracePeriod": "10s"})
    eventually(lambda: get(verifying, X_API_Key=old)[0] == 200)
    admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "1"}}})
    new = rotated(admin, namespace, old)
    manifest = admin.get(namespace, "key")
    assert states(manifest) == ["Current", "Retiring"]
    assert "works until" in str(manifest["status"]["conditions"])
    eventually(lambda: get(verifying, X_API_Key=new)[0] == 200)
    status, headers, _ = get(verifying, X_API_Key=old)
    assert status == 200
    assert "x-auth-key-expires" in headers
    eventually(lambda: get(verifying, X_API_Key=old)[0] == 401, within=12)
    assert get(verifying, X_API_Key=new)[0] == 200
    eventually(lambda: states(admin.get(namespace, "key")) == ["Current"])
    eventually(lambda: list(admin.events(namespace, "key")) == ["KeyIssued", "KeyRotated", "GracePeriodEnded"])


def test_the_first_trigger_and_a_removed_one_do_not_rotate(
    issue: Callable[..., str], admin: Kube, namespace: str
) -> None:
    """Values that stand at the issue are handled by it; taking one away asks for nothing."""
    plain = issue(rotation={"trigger": "first"})
    for patch in ({"rotation": {"trigger": None}}, {"rotation": None}, {"rotation": {"trigger": "first"}}):
        generation = admin.patch(namespace, "key", {"spec": patch})["metadata"]["generation"]
        eventually(lambda g=generation: admin.get(namespace, "key")["status"]["observedGeneration"] == g)  # type: ignore[misc]
    assert admin.plain_key(namespace, "key") == plain


def test_an_annotation_rotates_with_its_own_grace(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """`rotate-grace: 0s` ends the old key before the new one is delivered; the next rotation has the usual grace."""
    old = issue()
    eventually(lambda: get(verifying, X_API_Key=old)[0] == 200)
    emergency = {"keywright.dev/rotate": "leak-1", "keywright.dev/rotate-grace": "0s"}
    admin.patch(namespace, "key", {"metadata": {"annotations": emergency}})
    new = rotated(admin, namespace, old)
    eventually(lambda: get(verifying, X_API_Key=old)[0] == 401, within=5)
    eventually(lambda: get(verifying, X_API_Key=new)[0] == 200)
    assert states(admin.get(namespace, "key")) == ["Current"]
    admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "usual"}}})
    newest = rotated(admin, namespace, new)
    assert newest != new
    assert states(admin.get(namespace, "key")) == ["Current", "Retiring"]


def test_an_interval_rotates_by_itself(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """rotateAt is told in status, and kept."""
    old = issue(rotation={"interval": "8s", "gracePeriod": "1h"})
    status = admin.get(namespace, "key")["status"]
    due = datetime.fromisoformat(status["rotateAt"])
    assert due - datetime.fromisoformat(status["issuedAt"]) == timedelta(seconds=8)
    rotated(admin, namespace, old, within=30)
    assert datetime.now(due.tzinfo) >= due


def test_a_ttl_is_renewed_before_its_end(
    issue: Callable[..., str], admin: Kube, namespace: str, verifying: str
) -> None:
    """With rotation a ttl never cuts off a client that reads its Secret again within the grace period. This one does
    it all the time; the grace period is what the machine may be late by.
    """
    issue(ttl="16s", rotation={"gracePeriod": "12s"})
    eventually(lambda: get(verifying, X_API_Key=admin.plain_key(namespace, "key"))[0] == 200)
    refused: list[tuple[float, str]] = []
    began = time.monotonic()
    first_seen: dict[str, float] = {}
    while len(first_seen) < 4 and time.monotonic() < began + 60:
        key, now = admin.plain_key(namespace, "key"), time.monotonic() - began
        first_seen.setdefault(key, now)
        status, _, body = get(verifying, X_API_Key=key)
        if status != 200:
            refused.append((now, body))
        time.sleep(0.1)
    assert refused == [], f"keys came at {list(first_seen.values())}"
    assert len(first_seen) == 4


def test_a_client_never_notices(issue: Callable[..., str], admin: Kube, namespace: str, verifying: str) -> None:
    """A client that calls all the time, with whatever the Secret holds, is not refused once during a rotation."""
    key = issue(rotation={"gracePeriod": "1m"})
    eventually(lambda: get(verifying, X_API_Key=key)[0] == 200)
    stop, statuses = threading.Event(), []

    def call() -> None:
        while not stop.is_set():
            statuses.append(get(verifying, X_API_Key=admin.plain_key(namespace, "key"))[0])

    client = threading.Thread(target=call)
    client.start()
    try:
        for trigger in ("1", "2", "3"):
            admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": trigger}}})
            key = rotated(admin, namespace, key)
            called = len(statuses)
            eventually(lambda n=called: len(statuses) > n + 7)  # type: ignore[misc]
    finally:
        stop.set()
        client.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_a_suspended_key_waits(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """Nothing is minted for a suspended key; the rotation comes when it is resumed."""
    old = issue()
    admin.patch(namespace, "key", {"spec": {"suspended": True, "rotation": {"trigger": "1"}}})
    admin.wait(namespace, "key", Active="False/KeySuspended")
    time.sleep(0.5)
    assert admin.plain_key(namespace, "key") == old
    admin.patch(namespace, "key", {"spec": {"suspended": False}})
    rotated(admin, namespace, old)


def test_a_ttl_as_short_as_the_grace_is_refused(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """InvalidSpec with field and remedy. To end a key earlier is free, so the schema lets it in, and it acts."""
    issue(ttl="2h", rotation={"gracePeriod": "1h"})
    admin.patch(namespace, "key", {"spec": {"ttl": "1h"}})
    status = admin.wait(namespace, "key", Stalled="True/InvalidSpec", Active="True")["status"]
    assert "spec.rotation.gracePeriod" in str(status["conditions"])
    assert datetime.fromisoformat(status["expiresAt"]) - datetime.fromisoformat(status["issuedAt"]) == timedelta(
        hours=1
    )


def test_a_lost_secret_rotates_when_asked_to(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """`onLoss: Rotate`: a deleted Secret comes back with another key, and status names the new Secret."""
    old = issue(secret={"onLoss": "Rotate"})
    admin.delete_secret(namespace, "key")
    eventually(lambda: admin.secret(namespace, "key") is not None)
    new = rotated(admin, namespace, old)
    assert new != old
    secret = admin.secret(namespace, "key")
    assert secret is not None
    manifest = admin.wait(namespace, "key", Ready="True", SecretDelivered="True", Stalled="False")
    assert manifest["status"]["secretUID"] == secret["metadata"]["uid"]


def test_a_trigger_brings_a_lost_secret_back(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """The remedy that SecretMissing names."""
    old = issue()
    admin.delete_secret(namespace, "key")
    admin.wait(namespace, "key", Stalled="True/SecretMissing")
    admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "again"}}})
    eventually(lambda: admin.secret(namespace, "key") is not None)
    assert admin.plain_key(namespace, "key") != old
    admin.wait(namespace, "key", Stalled="False", Ready="True")


def test_a_ninth_key_is_refused(
    issue: Callable[..., str], admin: Kube, namespace: str, make_class: Callable[..., str]
) -> None:
    """Eight keys may work at once; the next rotation waits, says so, and comes when the first of them ends."""
    # All of them are there before the first one ends, also on a machine that is slow to hash.
    plain = issue(className=make_class(**CHEAP), rotation={"gracePeriod": "1h"})
    first = {"keywright.dev/rotate": "first", "keywright.dev/rotate-grace": "40s"}
    admin.patch(namespace, "key", {"metadata": {"annotations": first}})
    plain = rotated(admin, namespace, plain)
    for number in range(6):
        admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": f"{number}"}}})
        plain = rotated(admin, namespace, plain)
    admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "one too many"}}})
    manifest = admin.wait(namespace, "key", Stalled="True/InvalidSpec", Active="True")
    assert len(manifest["status"]["keys"]) == 8
    assert admin.plain_key(namespace, "key") == plain
    plain = rotated(admin, namespace, plain, within=60)
    manifest = admin.wait(namespace, "key", Stalled="False", Ready="True")
    assert len(manifest["status"]["keys"]) == 8
    # A leaked key does not wait for room: without a grace period there is some.
    leaked = {"keywright.dev/rotate": "leaked", "keywright.dev/rotate-grace": "0s"}
    admin.patch(namespace, "key", {"metadata": {"annotations": leaked}})
    rotated(admin, namespace, plain)
    manifest = admin.wait(namespace, "key", Stalled="False", Ready="True")
    assert states(manifest) == ["Current"]


def test_revoked_keys_do_not_rotate(issue: Callable[..., str], admin: Kube, namespace: str) -> None:
    """Revoked is terminal, whatever else is asked for."""
    issue()
    admin.patch(namespace, "key", {"spec": {"revoked": True, "rotation": {"trigger": "1"}}})
    admin.wait(namespace, "key", Active="False/KeyRevoked")
    eventually(lambda: admin.secret(namespace, "key") is None)
    time.sleep(0.5)
    assert len(admin.get(namespace, "key")["status"]["keys"]) == 1


def test_a_rotation_survives_a_kill_at_each_write(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Whatever write of a rotation the operator dies at: the old key stays in the Secret until a new one is, and
    in the end there is one Current key, which the Secret holds, and one Retiring."""
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "cheap"}, "spec": CHEAP})
    namespaces = {failpoint: make_namespace(own_admin) for failpoint in ROTATION}
    before = {}
    with operator(own_plane.kubeconfig, tmp_path / "first", namespaces=list(namespaces.values())):
        for namespace in namespaces.values():
            own_admin.apikey(namespace, "key", className="cheap")
        for namespace in namespaces.values():
            own_admin.wait(namespace, "key", Active="True")
            before[namespace] = own_admin.plain_key(namespace, "key")
    for failpoint, namespace in namespaces.items():
        own_admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "now"}}})
        crash(own_plane, namespace, failpoint, tmp_path)
        assert own_admin.plain_key(namespace, "key")
    with operator(own_plane.kubeconfig, tmp_path / "second", namespaces=list(namespaces.values())):
        for namespace in namespaces.values():
            plain = rotated(own_admin, namespace, before[namespace], within=40)
            manifest = own_admin.wait(namespace, "key", Ready="True", Active="True")
            assert states(manifest) == ["Current", "Retiring"]
            current = next(each for each in manifest["status"]["keys"] if each["state"] == "Current")
            retiring = next(each for each in manifest["status"]["keys"] if each["state"] == "Retiring")
            assert hashing.verify(current["hash"], plain)
            assert hashing.verify(retiring["hash"], before[namespace])
            assert "expiresAt" in retiring
