"""From a request to ``status.lastUsedAt``, on the real API server: published by verifiers, folded by the operator."""

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.audit import Request, requests
from tests.support.kube import Kube, Manifest, eventually
from tests.support.people import allowed, bind, grant, refusal, succeeds
from tests.support.processes import Process, get, operator, verifier
from tests.support.rights import await_right

BUSY = 500
SOON = ("--usage-interval", "1s")


@pytest.fixture
def issued(shared_operator: Process, admin: Kube, namespace: str) -> str:
    """The plain key of the ApiKey ``key``."""
    assert shared_operator.popen.poll() is None
    admin.apikey(namespace, "key", rotation={"gracePeriod": "1h"})
    admin.wait(namespace, "key", Active="True")
    return admin.plain_key(namespace, "key")


def account(plane: ControlPlane, admin: Kube, namespace: str, folder: Path, *roles: str) -> Path:
    """A service account with these roles in its namespace; its kubeconfig says which that is, as in a pod."""
    made = {"metadata": {"name": "verifier", "namespace": namespace}}
    admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", made)
    user = f"system:serviceaccount:{namespace}:verifier"
    for role in roles:
        bind(admin, namespace, user, role)
    # It knows of the last binding, so it knows of those before.
    asked = ("publish", "apikeyusages") if "keywright-usage-publisher" in roles else ("watch", "apikeys")
    await_right(admin, user, *asked, namespace=namespace)
    config = json.loads(plane.kubeconfig_for_service_account(namespace, "verifier").read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(config))
    return kubeconfig


@pytest.fixture
def publisher(plane: ControlPlane, admin: Kube, namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of a verifier's account with the rights of deploy/rbac, in the test's namespace."""
    return account(plane, admin, namespace, tmp_path, "keywright-verifier", "keywright-usage-publisher")


def uses(kube: Kube, namespace: str) -> dict[str, str]:
    """Everything published in a namespace."""
    found = kube.list(namespace, "ApiKeyUsage")
    return {key: at for each in found for key, at in each["spec"].get("uses", {}).items()}


def status_writes(plane: ControlPlane, namespace: str, name: str | None = None) -> list[Request]:
    return [
        each
        for each in requests(plane.audit_log)
        if (each.resource, each.subresource, each.namespace) == ("apikeys", "status", namespace)
        and each.verb == "update"
        and name in (None, each.name)
    ]


def report(kube: Kube, namespace: str, name: str, told: dict[str, str], renewed: timedelta = timedelta(0)) -> Manifest:
    """Publish as a verifier would, some time ago."""
    at = (datetime.now(UTC) - renewed).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"verifier": name, "renewedAt": at, "uses": told}
    return kube.create({"kind": "ApiKeyUsage", "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def path_of(kube: Kube, namespace: str, name: str) -> str:
    return f"{namespace}/{name}/{kube.get(namespace, name)['status']['currentKeyId']}"


def ask(listen: str, plain: str) -> bool:
    return get(listen, X_API_Key=plain)[0] == 200


def test_a_use_is_published_and_gets_into_status_once_an_hour(
    plane: ControlPlane, admin: Kube, namespace: str, issued: str, publisher: Path, tmp_path: Path
) -> None:
    """Within seconds, with the rights of deploy/rbac; then no more status writes, and no argon2 run for that one."""
    began = datetime.now(UTC).replace(microsecond=0)
    with verifier(publisher, tmp_path / "log", *SOON, namespaces=[namespace]) as (_, listen, probes):
        eventually(lambda: ask(listen, issued))
        published = eventually(lambda: uses(admin, namespace))
        assert list(published) == [path_of(admin, namespace, "key")]
        status = eventually(lambda: last_used(admin, namespace), within=30)
        assert began <= datetime.fromisoformat(status["lastUsedAt"]) <= datetime.now(UTC)
        assert status["keys"][0]["lastUsedAt"] == status["lastUsedAt"]
        written = len(status_writes(plane, namespace))
        first = published.popitem()[1]
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            assert ask(listen, issued)
            time.sleep(0.5)
        assert uses(admin, namespace)[path_of(admin, namespace, "key")] > first
        assert len(status_writes(plane, namespace)) == written
        assert "keywright_verifier_argon2_runs_total 1\n" in get(probes, "/metrics")[2]
    made = [each for each in requests(plane.audit_log) if each.resource == "apikeyusages" and each.code < 300]
    assert [each.verb for each in made if each.namespace == namespace].count("create") == 1


def last_used(kube: Kube, namespace: str, name: str = "key") -> Manifest | None:
    status: Manifest = kube.get(namespace, name)["status"]
    return status if "lastUsedAt" in status else None


def test_kubectl_shows_it(
    plane: ControlPlane, admin: Kube, namespace: str, issued: str, publisher: Path, tmp_path: Path
) -> None:
    """In the column of ApiKeys, and by the short name of the reports."""
    with verifier(publisher, tmp_path / "log", *SOON, namespaces=[namespace]) as (_, listen, _admin):
        eventually(lambda: ask(listen, issued))
        status = eventually(lambda: last_used(admin, namespace), within=30)
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), "-n", namespace, "get"]
    shown = subprocess.run([*command, "ak", "key"], capture_output=True, text=True, check=True).stdout
    assert "LAST USED" in shown
    assert status["lastUsedAt"] in shown
    assert "RENEWED" in subprocess.run([*command, "aku"], capture_output=True, text=True, check=True).stdout


def test_a_graceful_stop_publishes_what_there_is(
    admin: Kube, namespace: str, issued: str, publisher: Path, tmp_path: Path
) -> None:
    """SIGTERM long before the interval is over."""
    log = tmp_path / "log"
    with verifier(publisher, log, "--usage-interval", "1h", namespaces=[namespace]) as (process, listen, _admin):
        eventually(lambda: ask(listen, issued))
        assert uses(admin, namespace) == {}
        assert process.stop() == 0
    assert list(uses(admin, namespace)) == [path_of(admin, namespace, "key")]
    eventually(lambda: last_used(admin, namespace), within=30)


def test_a_replaced_key_that_is_still_used_shows_soon(
    admin: Kube, namespace: str, issued: str, publisher: Path, tmp_path: Path
) -> None:
    """An event, once, and the message of Ready, although the hour of the last record is not over."""
    with verifier(publisher, tmp_path / "log", *SOON, namespaces=[namespace]) as (_, listen, _admin):
        eventually(lambda: ask(listen, issued))
        eventually(lambda: last_used(admin, namespace), within=30)
        admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "1"}}})
        eventually(lambda: admin.plain_key(namespace, "key") != issued)
        time.sleep(1.1)
        assert ask(listen, issued)
        eventually(lambda: "OldKeyStillUsed" in admin.events(namespace, "key"), within=30)
        ready = next(each for each in admin.get(namespace, "key")["status"]["conditions"] if each["type"] == "Ready")
        assert "still used at" in ready["message"]
        version = admin.get(namespace, "key")["metadata"]["resourceVersion"]
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            assert ask(listen, issued)
            time.sleep(0.5)
        assert admin.get(namespace, "key")["metadata"]["resourceVersion"] == version
        assert list(admin.events(namespace, "key")).count("OldKeyStillUsed") == 1


def test_what_a_dead_verifier_left_is_folded_and_removed(admin: Kube, namespace: str, issued: str) -> None:
    """First into status, then away; what is renewed stays."""
    assert issued
    told = {path_of(admin, namespace, "key"): "2026-01-02T03:04:05Z"}
    report(admin, namespace, "dead", told, timedelta(hours=3))
    report(admin, namespace, "alive", {}, timedelta(hours=1))
    eventually(
        lambda: [each["metadata"]["name"] for each in admin.list(namespace, "ApiKeyUsage")] == ["alive"], within=40
    )
    status = last_used(admin, namespace)
    assert status is not None
    assert status["lastUsedAt"] == "2026-01-02T03:04:05Z"


def test_a_report_from_the_future_is_now_at_most(admin: Kube, namespace: str, issued: str) -> None:
    """And it does not come back with every look."""
    assert issued
    report(admin, namespace, "ahead", {path_of(admin, namespace, "key"): "2099-01-01T00:00:00Z"})
    status = eventually(lambda: last_used(admin, namespace), within=30)
    assert datetime.fromisoformat(status["lastUsedAt"]) <= datetime.now(UTC)
    version = admin.get(namespace, "key")["metadata"]["resourceVersion"]
    time.sleep(11)
    assert admin.get(namespace, "key")["metadata"]["resourceVersion"] == version


def test_only_verifiers_publish(plane: ControlPlane, admin: Kube, namespace: str) -> None:
    """Not who may write every resource of the namespace; with the verb, yes. Reading is for everybody who sees keys."""
    user = f"wide-{namespace}"
    for verb in ("create", "update", "patch", "get", "list"):
        grant(admin, namespace, user, "*", verb)
    bind(admin, namespace, user, "view")
    kube = Kube(plane.kubeconfig_for(user))
    assert refusal(lambda: report(kube, namespace, "forged", {}), saying="only verifiers")
    report(admin, namespace, "real", {})
    patch = {"spec": {"uses": {"a/b/000000000000": "2026-01-01T00:00:00Z"}}}
    assert refusal(lambda: kube.patch(namespace, "real", patch, kind="ApiKeyUsage"), saying="only verifiers")
    allowed(lambda: kube.list(namespace, "ApiKeyUsage"))
    assert [each["metadata"]["name"] for each in kube.list(namespace, "ApiKeyUsage")] == ["real"]
    grant(admin, namespace, user, "apikeyusages", "publish")
    eventually(lambda: succeeds(lambda: report(kube, namespace, "allowed", {})), within=30)
    kube.close()


@pytest.mark.parametrize(
    "spec",
    [
        {"verifier": "v"},
        {"verifier": "v", "renewedAt": "yesterday"},
        {"verifier": "v", "renewedAt": "2026-01-01T00:00:00Z", "uses": {"a/b/c": "yesterday"}},
        {
            "verifier": "v",
            "renewedAt": "2026-01-01T00:00:00Z",
            "uses": {f"a/b/{number}": "2026-01-01T00:00:00Z" for number in range(1001)},
        },
    ],
    ids=["never renewed", "renewed at no time", "used at no time", "too many"],
)
def test_the_schema_bounds_a_report(admin: Kube, namespace: str, spec: dict[str, Any]) -> None:
    """A thousand keys, and times that are times."""
    with pytest.raises(ApiException) as error:
        admin.create({"kind": "ApiKeyUsage", "metadata": {"name": "odd", "namespace": namespace}, "spec": spec})
    assert error.value.status == 422


def test_a_verifier_without_the_right_judges_all_the_same(
    plane: ControlPlane, admin: Kube, namespace: str, issued: str, tmp_path: Path
) -> None:
    """One warning, no trouble for requests; once the role is bound it goes on by itself, and nothing was lost."""
    kubeconfig = account(plane, admin, namespace, tmp_path, "keywright-verifier")
    with verifier(kubeconfig, tmp_path / "log", *SOON, namespaces=[namespace]) as (process, listen, _admin):
        eventually(lambda: ask(listen, issued))
        eventually(lambda: "bind the role keywright-usage-publisher" in process.log, within=30)
        time.sleep(3)
        assert process.log.count("keywright-usage-publisher") == 1
        assert ask(listen, issued)
        assert uses(admin, namespace) == {}
        bind(admin, namespace, f"system:serviceaccount:{namespace}:verifier", "keywright-usage-publisher")
        eventually(lambda: uses(admin, namespace), within=30)
        eventually(lambda: "usage is published again" in process.log)


def test_an_operator_of_one_namespace_is_told_where_verifiers_are(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """With --usage-namespace; and a namespace that it was not told of does not count."""
    keys, gateway, other = (make_namespace(own_admin) for _ in range(3))
    with operator(own_plane.kubeconfig, tmp_path / "log", "--usage-namespace", gateway, namespaces=[keys]):
        own_admin.apikey(keys, "key")
        own_admin.wait(keys, "key", Active="True")
        told = path_of(own_admin, keys, "key")
        report(own_admin, other, "unheard", {told: "2026-02-02T00:00:00Z"})
        report(own_admin, gateway, "heard", {told: "2026-01-01T00:00:00Z"})
        status = eventually(lambda: last_used(own_admin, keys), within=30)
        assert status["lastUsedAt"] == "2026-01-01T00:00:00Z"


def test_many_busy_keys_cost_few_writes(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """500 keys, all used all the time by way of two verifiers' reports: one write a verifier and interval, status
    writes at their even pace, and a restart of the operator adds none.
    """
    namespace = make_namespace(own_admin)
    cheap = {"hashing": {"algorithm": "sha256"}}
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "usage-cheap"}, "spec": cheap})
    publishing = account(own_plane, own_admin, namespace, tmp_path, "keywright-verifier", "keywright-usage-publisher")
    with operator(own_plane.kubeconfig, tmp_path / "a"):
        for number in range(BUSY):
            own_admin.apikey(namespace, f"key-{number}", className="usage-cheap")
        eventually(lambda: all(each["status"]["phase"] == "Active" for each in own_admin.list(namespace)), within=300)
        plains = [own_admin.plain_key(namespace, f"key-{number}") for number in range(BUSY)]
    often = ("--class", "usage-cheap", "--usage-interval", "15s")
    rested, began = len(status_writes(own_plane, namespace)), time.monotonic()
    with (
        operator(own_plane.kubeconfig, tmp_path / "b"),
        verifier(publishing, tmp_path / "v", *often, namespaces=[namespace]) as (
            _,
            listen,
            _admin,
        ),
    ):
        eventually(lambda: ask(listen, plains[-1]), within=30)
        enough = time.monotonic() + 45
        while time.monotonic() < enough:
            for plain in plains:
                assert ask(listen, plain)
        eventually(lambda: len(uses(own_admin, namespace)) == BUSY, within=30)
        folded = len(status_writes(own_plane, namespace)) - rested
        writes = [
            each
            for each in requests(own_plane.audit_log)
            if (each.resource, each.namespace) == ("apikeyusages", namespace) and each.verb in WRITES
        ]
        seconds = time.monotonic() - began
        assert 0 < folded < 20 * max(1.0, seconds / 60)
        # Attempts of an interval come up to a tenth earlier.
        assert 0 < len(writes) <= 1 + seconds / (15 * 0.9)
    before = len(status_writes(own_plane, namespace))
    known = {each["metadata"]["name"] for each in own_admin.list(namespace) if "lastUsedAt" in each["status"]}
    with operator(own_plane.kubeconfig, tmp_path / "c"):
        time.sleep(8)
    again = [each.name for each in status_writes(own_plane, namespace)[before:]]
    assert not known & set(again)


WRITES = ("create", "update", "patch")
