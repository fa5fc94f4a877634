"""The life of a key as its user sees it, on a real API server with the operator's own rights."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from keywright.domain import hashing, plainkey
from keywright.domain.plainkey import PlainKey
from tests.support.kube import Kube, eventually, status_of
from tests.support.people import refusal
from tests.support.processes import Process

pytestmark = pytest.mark.usefixtures("shared_operator")


def instant(seconds: float) -> str:
    """RFC 3339, so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ends_at(kube: Kube, namespace: str, end: str) -> bool:
    return bool(kube.get(namespace, "key")["status"]["expiresAt"] == end)


def test_the_shortest_key_works(admin: Kube, namespace: str) -> None:
    """`spec: {}` becomes a Secret with a well-formed key whose hash is in status."""
    admin.apikey(namespace, "key")
    status = admin.wait(namespace, "key", Ready="True/KeyIssued", Active="True", SecretDelivered="True")["status"]
    plain = admin.plain_key(namespace, "key")
    parsed = plainkey.parse(plain)
    assert isinstance(parsed, PlainKey)
    assert parsed.prefix == "kw_live"
    assert status["currentKeyId"] == parsed.key_id
    assert status["className"] == "standard"
    assert status["phase"] == "Active"
    (record,) = status["keys"]
    assert record["hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hashing.verify(record["hash"], plain)
    assert record["fingerprint"] == hashing.fingerprint(plain)


def test_the_secret_is_plain_and_owned(admin: Kube, namespace: str) -> None:
    """Opaque, mutable, our labels and none of the ApiKey's, owned without blocking, one entry."""
    admin.create(
        {
            "kind": "ApiKey",
            "metadata": {"name": "key", "namespace": namespace, "labels": {"argocd.argoproj.io/instance": "app"}},
            "spec": {"secret": {"name": "elsewhere", "key": "TOKEN"}},
        }
    )
    manifest = admin.wait(namespace, "key", Ready="True")
    secret = admin.secret(namespace, "elsewhere")
    assert secret is not None
    assert secret["type"] == "Opaque"
    assert "immutable" not in secret
    assert list(secret["data"]) == ["TOKEN"]
    assert secret["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "keywright",
        "keywright.dev/api-key": "key",
    }
    (reference,) = secret["metadata"]["ownerReferences"]
    assert reference["uid"] == manifest["metadata"]["uid"]
    assert reference["blockOwnerDeletion"] is False
    assert "finalizers" not in manifest["metadata"]
    assert "annotations" not in manifest["metadata"]


def test_a_class_decides_prefix_and_hash(admin: Kube, namespace: str) -> None:
    """A class of its own: prefix, algorithm and default lifetime are those of the class."""
    admin.create(
        {
            "kind": "ApiKeyClass",
            "metadata": {"name": "kubevision"},
            "spec": {"prefix": "kv_live", "hashing": {"algorithm": "sha256"}, "lifetime": {"default": "30d"}},
        }
    )
    admin.apikey(namespace, "key", className="kubevision")
    status = admin.wait(namespace, "key", Ready="True")["status"]
    assert admin.plain_key(namespace, "key").startswith("kv_live_")
    assert status["keys"][0]["hash"].startswith("sha256:")
    lifetime = datetime.fromisoformat(status["expiresAt"]) - datetime.fromisoformat(status["issuedAt"])
    assert lifetime == timedelta(days=30)


def test_suspend_and_resume(admin: Kube, namespace: str) -> None:
    """Suspending is reversible, keeps the key, and each turn is one event."""
    admin.apikey(namespace, "key")
    before = admin.wait(namespace, "key", Active="True")["status"]
    admin.patch(namespace, "key", {"spec": {"suspended": True}})
    suspended = admin.wait(namespace, "key", Active="False/KeySuspended", Ready="True")["status"]
    assert suspended["phase"] == "Suspended"
    assert "suspendedAt" in suspended
    admin.patch(namespace, "key", {"spec": {"suspended": False}})
    resumed = admin.wait(namespace, "key", Active="True")["status"]
    assert "suspendedAt" not in resumed
    assert resumed["keys"] == before["keys"]
    eventually(lambda: list(admin.events(namespace, "key")) == ["KeyIssued", "KeySuspended", "KeyResumed"])


def test_revoked_is_terminal(admin: Kube, namespace: str) -> None:
    """Ready, not active, Secret withdrawn, hash kept so that verifiers can say why, reason in the event."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    admin.patch(namespace, "key", {"spec": {"revoked": True, "revocationReason": "left on a train"}})
    status = admin.wait(namespace, "key", Active="False/KeyRevoked", Ready="True", Stalled="False")["status"]
    assert status["phase"] == "Revoked"
    assert len(status["keys"]) == 1
    eventually(lambda: admin.secret(namespace, "key") is None)
    admin.wait(namespace, "key", SecretDelivered="False/SecretWithdrawn")

    def said() -> list[str]:
        events = admin.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        return [each["message"] for each in events if each["reason"] == "KeyRevoked"]

    (message,) = eventually(said)
    assert "left on a train" in message


def test_expiry_comes_on_time_and_for_good(admin: Kube, namespace: str) -> None:
    """A key ends when its ttl is over, its Secret goes, and a later end does not bring it back."""
    admin.apikey(namespace, "key", ttl="8s")
    ends_at = datetime.fromisoformat(admin.wait(namespace, "key", Active="True")["status"]["expiresAt"])
    admin.wait(namespace, "key", Active="False/KeyExpired", Ready="True", within=30)
    assert datetime.now(UTC) - ends_at < timedelta(seconds=5)
    eventually(lambda: admin.secret(namespace, "key") is None)
    admin.patch(namespace, "key", {"spec": {"ttl": "90d"}})
    eventually(lambda: admin.get(namespace, "key")["status"]["observedGeneration"] == 2)
    status = admin.get(namespace, "key")["status"]
    assert status["phase"] == "Expired"
    assert status["expiresAt"] == ends_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert admin.secret(namespace, "key") is None


def test_an_end_can_be_moved_while_it_is_ahead(admin: Kube, namespace: str) -> None:
    """Forward and backward, as long as the key lives."""
    admin.apikey(namespace, "key", expiresAt=instant(3600))
    admin.wait(namespace, "key", Active="True")
    for end in (instant(7200), instant(1800)):
        admin.patch(namespace, "key", {"spec": {"expiresAt": end}})
        eventually(partial(ends_at, admin, namespace, end))
    admin.patch(namespace, "key", {"spec": {"expiresAt": instant(1)}})
    admin.wait(namespace, "key", Active="False/KeyExpired")


def test_nothing_is_minted_for_a_key_born_dead(admin: Kube, namespace: str) -> None:
    """Born revoked, or past its end: no record, no Secret, and Ready because that is what was asked for."""
    admin.apikey(namespace, "revoked", revoked=True)
    admin.apikey(namespace, "late", expiresAt="2020-01-01T00:00:00Z")
    for name, reason in (("revoked", "KeyRevoked"), ("late", "KeyExpired")):
        status = admin.wait(namespace, name, Ready="True", Active=f"False/{reason}")["status"]
        assert "keys" not in status
        assert admin.secret(namespace, name) is None


def test_a_key_may_be_born_suspended(admin: Kube, namespace: str) -> None:
    """It is delivered, and refused until it is resumed."""
    admin.apikey(namespace, "key", suspended=True)
    admin.wait(namespace, "key", Ready="True", Active="False/KeySuspended", SecretDelivered="True")
    assert admin.secret(namespace, "key") is not None


def test_deletion_takes_the_secret_along(admin: Kube, namespace: str) -> None:
    """No finalizer holds the ApiKey; garbage collection removes the Secret."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    admin.delete(namespace, "key")
    # The garbage collector learns of new resource types every 30 s, and the CRDs may be younger than that.
    eventually(lambda: admin.secret(namespace, "key") is None, within=90)


def test_a_key_made_again_waits_for_the_old_secret(admin: Kube, namespace: str) -> None:
    """Deleted and created at once: the predecessor's Secret is no conflict, and the new key is another one."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    before = admin.plain_key(namespace, "key")
    admin.delete(namespace, "key")
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True", Stalled="False", within=90)
    assert admin.plain_key(namespace, "key") != before


FOREIGN = {"metadata": {"name": "key"}, "type": "Opaque", "stringData": {"api-key": "somebody's"}}


def test_a_foreign_secret_is_never_touched(admin: Kube, namespace: str) -> None:
    """SecretConflict says what to do, the Secret stays as it is, and the key comes once it is out of the way."""
    before = admin.put_secret(namespace, FOREIGN)
    admin.apikey(namespace, "key")
    manifest = admin.wait(namespace, "key", Stalled="True/SecretConflict", Ready="False")
    assert "keys" not in manifest["status"]
    message = next(each["message"] for each in manifest["status"]["conditions"] if each["type"] == "Stalled")
    assert "Secret key exists" in message
    assert "spec.secret.name" in message
    assert admin.secret(namespace, "key") == before
    admin.delete_secret(namespace, "key")
    admin.patch(namespace, "key", {"metadata": {"labels": {"nudge": "now"}}})
    admin.wait(namespace, "key", Active="True", Stalled="False")


def test_a_planted_secret_is_never_believed(admin: Kube, namespace: str) -> None:
    """Our labels and a forged owner reference on a Secret with a key of the planter's choice change nothing."""
    created = admin.create(
        {
            "kind": "ApiKey",
            "metadata": {"name": "key", "namespace": namespace},
            "spec": {"className": "not-there-yet"},
        }
    )
    admin.wait(namespace, "key", Stalled="True/ClassNotFound")
    planted = {
        "metadata": {
            "name": "key",
            "labels": {"app.kubernetes.io/managed-by": "keywright", "keywright.dev/api-key": "key"},
            "ownerReferences": [
                {
                    "apiVersion": "keywright.dev/v1alpha1",
                    "kind": "ApiKey",
                    "name": "key",
                    "uid": created["metadata"]["uid"],
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "type": "Opaque",
        "stringData": {"api-key": "kw_live_" + "0" * 12 + "_" + "0" * 49},
    }
    before = admin.put_secret(namespace, planted)
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "not-there-yet"}, "spec": {}})
    admin.wait(namespace, "key", Stalled="True/SecretConflict")
    assert admin.secret(namespace, "key") == before
    assert "keys" not in admin.get(namespace, "key")["status"]


def test_a_lost_secret_is_reported(admin: Kube, namespace: str) -> None:
    """Somebody deletes the Secret: Stalled/SecretMissing; nothing is minted behind anybody's back."""
    admin.apikey(namespace, "key")
    before = admin.wait(namespace, "key", Active="True")["status"]["keys"]
    admin.delete_secret(namespace, "key")
    manifest = admin.wait(
        namespace, "key", Stalled="True/SecretMissing", SecretDelivered="False/SecretMissing", Active="True"
    )
    assert manifest["status"]["keys"] == before
    assert admin.secret(namespace, "key") is None
    assert list(admin.events(namespace, "key")).count("SecretMissing") <= 1


def test_a_missing_class_heals(admin: Kube, namespace: str) -> None:
    """ClassNotFound until the class exists; then the key is issued without anybody touching it."""
    admin.apikey(namespace, "key", className="to-come")
    manifest = admin.wait(namespace, "key", Stalled="True/ClassNotFound", Ready="False")
    assert "to-come" in str(manifest["status"]["conditions"])
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "to-come"}, "spec": {}})
    admin.wait(namespace, "key", Active="True", Stalled="False")


def test_a_deleted_class_stalls_its_keys(admin: Kube, namespace: str) -> None:
    """Live keys of a deleted class are no longer active, and are again when it comes back."""
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "passing"}, "spec": {}})
    admin.apikey(namespace, "key", className="passing")
    admin.wait(namespace, "key", Active="True")
    admin.delete(None, "passing", kind="ApiKeyClass")
    admin.wait(namespace, "key", Active="False/ClassNotFound", Stalled="True")
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "passing"}, "spec": {}})
    admin.wait(namespace, "key", Active="True", Stalled="False")


def test_what_a_class_requires_and_limits(admin: Kube, namespace: str) -> None:
    """A spec that the class refuses is Stalled with field and remedy, and is issued once it is corrected."""
    admin.create(
        {
            "kind": "ApiKeyClass",
            "metadata": {"name": "strict"},
            "spec": {"requires": ["displayName", "expiresAt"], "lifetime": {"max": "30d"}},
        }
    )
    admin.apikey(namespace, "key", className="strict", ttl="31d")
    manifest = admin.wait(namespace, "key", Stalled="True/InvalidSpec")
    assert "requires spec.displayName" in str(manifest["status"])
    admin.patch(namespace, "key", {"spec": {"displayName": "named"}})
    manifest = admin.wait(namespace, "key", Stalled="True/LifetimeExceeded")
    assert "spec.ttl is beyond lifetime.max" in str(manifest["status"])
    assert "keys" not in manifest["status"]
    admin.patch(namespace, "key", {"spec": {"ttl": "30d"}})
    admin.wait(namespace, "key", Active="True", Stalled="False")


def test_a_refused_extension_keeps_what_was_granted(admin: Kube, namespace: str) -> None:
    """Asking for more than the class allows stalls the request, not the key."""
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "bounded"}, "spec": {"lifetime": {"max": "30d"}}})
    admin.apikey(namespace, "key", className="bounded", ttl="10d")
    before = admin.wait(namespace, "key", Active="True")["status"]["expiresAt"]
    admin.patch(namespace, "key", {"spec": {"ttl": "60d"}})
    manifest = admin.wait(namespace, "key", Stalled="True/LifetimeExceeded", Active="True")
    assert manifest["status"]["expiresAt"] == before


def test_a_key_inside_the_warning_window_says_so(admin: Kube, namespace: str) -> None:
    """Expiring=True and one ExpiresSoon event."""
    admin.apikey(namespace, "key", ttl="1d")
    status = admin.wait(namespace, "key", Expiring="True/ExpiresSoon", Active="True")["status"]
    assert status["phase"] == "Expiring"
    eventually(lambda: "ExpiresSoon" in admin.events(namespace, "key"))
    admin.patch(namespace, "key", {"metadata": {"labels": {"nudge": "now"}}})
    time.sleep(0.5)
    assert list(admin.events(namespace, "key")).count("ExpiresSoon") == 1


def test_an_unchanged_key_costs_no_write(admin: Kube, namespace: str) -> None:
    """A label that changes is no reason to write: the object has the version that the label gave it."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    version = admin.patch(namespace, "key", {"metadata": {"labels": {"a": "b"}}})["metadata"]["resourceVersion"]
    time.sleep(1)
    assert admin.get(namespace, "key")["metadata"]["resourceVersion"] == version


def test_foreground_deletion_mints_nothing(admin: Kube, namespace: str) -> None:
    """An ApiKey that waits for its dependents counts as deleted already."""
    admin.create(
        {
            "kind": "ApiKey",
            "metadata": {"name": "key", "namespace": namespace, "finalizers": ["test.example/hold"]},
            "spec": {"className": "never-there"},
        }
    )
    admin.wait(namespace, "key", Stalled="True/ClassNotFound")
    admin.delete(namespace, "key")
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "never-there"}, "spec": {}})
    try:
        time.sleep(1)
        assert admin.secret(namespace, "key") is None
        assert "keys" not in admin.get(namespace, "key")["status"]
    finally:
        admin.patch(namespace, "key", {"metadata": {"finalizers": None}})


def test_a_namespace_is_deleted_without_the_operators_help(admin: Kube, namespace: str) -> None:
    """No finalizers, so a namespace with keys in it goes."""
    name = f"{namespace}-going"
    admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    admin.apikey(name, "key")
    admin.wait(name, "key", Active="True")
    admin.request("DELETE", f"/api/v1/namespaces/{name}")

    def is_gone() -> bool:
        return name not in [each["metadata"]["name"] for each in admin.request("GET", "/api/v1/namespaces")["items"]]

    eventually(is_gone, within=90)


def test_a_copied_key_id_is_reported_on_the_younger(admin: Kube, namespace: str) -> None:
    """A backup restored into a second place: the older key keeps working, the younger says why it does not."""
    admin.apikey(namespace, "older")
    records = admin.wait(namespace, "older", Active="True")["status"]["keys"]
    time.sleep(1.1)  # creation times have whole seconds
    admin.apikey(namespace, "younger")
    copied = admin.wait(namespace, "younger", Active="True")
    copied["status"]["keys"] = records
    admin.request("PUT", admin.path("ApiKey", namespace, "younger", "status"), copied)
    manifest = admin.wait(namespace, "younger", Stalled="True/StatusTampered", Active="False")
    assert f"{namespace}/older" in str(manifest["status"]["conditions"])
    assert status_of(admin.get(namespace, "older"))["Active"] == "True/KeyIssued"


def test_a_tampered_hash_is_reported(admin: Kube, namespace: str) -> None:
    """A hash whose argon2 cost is out of bounds was not written by the operator."""
    admin.apikey(namespace, "key")
    manifest = admin.wait(namespace, "key", Active="True")
    manifest["status"]["keys"][0]["hash"] = "$argon2id$v=19$m=4194304,t=9,p=1$c29tZXNhbHRzb21lc2FsdA$" + "a" * 43
    admin.request("PUT", admin.path("ApiKey", namespace, "key", "status"), manifest)
    admin.wait(namespace, "key", Stalled="True/StatusTampered", Active="False")


def test_a_secret_that_may_not_be_written_is_told(admin: Kube, namespace: str) -> None:
    """A resource quota without room: SecretRefused with the remedy, and the key comes once there is room."""
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    admin.request("POST", quotas, {"metadata": {"name": "none"}, "spec": {"hard": {"count/secrets": "0"}}})
    # A quota holds once a controller has counted what there is.
    secrets, another = f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "another"}}
    refusal(lambda: admin.request("POST", secrets, another, dryRun="All"), saying="exceeded quota")
    admin.apikey(namespace, "key")
    manifest = admin.wait(namespace, "key", Stalled="True/SecretRefused", Ready="False")
    assert "resource quota" in str(manifest["status"])
    admin.request("DELETE", f"{quotas}/none")
    admin.wait(namespace, "key", Active="True", Stalled="False", within=60)


def test_the_default_class_is_that_of_the_first_look(admin: Kube, namespace: str) -> None:
    """A key that had to wait does not get a class that became the default meanwhile, whoever may use that one."""
    admin.put_secret(namespace, FOREIGN)
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Stalled="True/SecretConflict")
    marked = {"name": "premium", "annotations": {"keywright.dev/is-default-class": "true"}}
    admin.create({"kind": "ApiKeyClass", "metadata": marked, "spec": {"prefix": "kw_prem"}})
    try:
        admin.delete_secret(namespace, "key")
        admin.patch(namespace, "key", {"metadata": {"labels": {"nudge": "now"}}})
        assert admin.wait(namespace, "key", Active="True")["status"]["className"] == "standard"
        assert admin.plain_key(namespace, "key").startswith("kw_live_")
    finally:
        admin.delete(None, "premium", kind="ApiKeyClass")


def test_a_mistyped_annotation_does_not_hide_a_revocation(admin: Kube, namespace: str) -> None:
    """What is wrong with one request must not keep the Secret of a revoked key."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    mistyped = {"keywright.dev/rotate": "1", "keywright.dev/rotate-grace": "0"}
    admin.patch(namespace, "key", {"metadata": {"annotations": mistyped}})
    manifest = admin.wait(namespace, "key", Stalled="True/InvalidSpec", Active="True")
    assert "nothing was rotated" in str(manifest["status"])
    admin.patch(namespace, "key", {"spec": {"revoked": True}})
    admin.wait(namespace, "key", Active="False/KeyRevoked", Ready="True")
    eventually(lambda: admin.secret(namespace, "key") is None)


def test_the_log_holds_no_trouble(shared_operator: Process) -> None:
    """Nothing above made the operator log an error or a traceback."""
    assert "Traceback" not in shared_operator.log
    assert '"level": "error"' not in shared_operator.log
