"""Each row of Kupe's documented behaviour, through the real API server, operator and verifier (examples/kupe)."""

import base64
import contextlib
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import pytest
from kubernetes.client.exceptions import ApiException

from tests.support.installed_system import (
    InstalledSystem,
    await_class_rules,
    ci_scripts,
    code_of,
    managing,
    run_script,
    system_of_files,
)
from tests.support.kube import Kube, eventually
from tests.support.kubectl import apikey
from tests.support.people import allowed, refusal, succeeds
from tests.support.pods import container_of
from tests.support.system_rows import proves

CLUSTERS = "/api/v1/clusters/prod"
KEYS = "/api/v1/apikeys"
KEYS_OVER_REST = "/v1/namespaces/kupe/keys"
ADMIN = {"user": "alice@example.com", "groups": ["kupe-admins"]}
_names = itertools.count()
kupe = system_of_files("kupe", issued="ak-ci")


def member(kupe: InstalledSystem, user: str, group: str) -> contextlib.closing[Kube]:
    """A member of Kupe, with the rights of rights.yaml."""
    return contextlib.closing(Kube(kupe.plane.kubeconfig_for(user, [group])))


def key(**spec: Any) -> dict[str, Any]:
    metadata = {"name": f"ak-{next(_names)}", "namespace": "kupe"}
    return {"kind": "ApiKey", "metadata": metadata, "spec": {"className": "kupe", **spec}}


@proves("kupe", "`displayName` required, `role` required (admin or readonly), `expiresAt` optional RFC 3339")
def test_what_a_key_has_to_state(kupe: InstalledSystem) -> None:
    """Refused at admission, as an admin of Kupe, with the field; and none is made."""
    with member(kupe, "alice@example.com", "kupe-admins") as alice:
        allowed(lambda: alice.list("kupe"))
        await_class_rules(kupe.kube, "kupe", "kupe")
        good: dict[str, Any] = {"displayName": "CI", "role": "readonly"}
        for spec, saying in (
            ({"role": "admin"}, "class kupe requires spec.displayName"),
            (good | {"displayName": ""}, "displayName"),
            ({"displayName": "CI"}, "class kupe requires spec.role"),
            (good | {"expiresAt": "tomorrow"}, "expiresAt"),
            (good | {"expiresAt": "2036-01-01"}, "expiresAt"),
        ):
            refusal(lambda s=spec: alice.create(key(**s)), status=422, saying=saying)  # type: ignore[misc]
        # Two policies refuse it, and either may be the one that speaks: she cannot grant such a role either.
        unknown = key(displayName="CI", role="owner")
        with pytest.raises(ApiException, match="owner"):
            alice.create(unknown)
        refusal(lambda: kupe.kube.create(unknown), status=422, saying="admin, readonly")
        for number, spec in enumerate(
            (good, good | {"role": "admin"}, good | {"expiresAt": "2036-01-01T02:00:00+02:00"})
        ):
            made = alice.create(key(**spec))["metadata"]["name"]
            status = alice.wait("kupe", made, Active="True", within=30)["status"]
            assert status.get("expiresAt") == (None, None, "2036-01-01T00:00:00Z")[number]


@proves("kupe", "raw key starts `kupe_`; only a hash is stored; shown once")
def test_only_a_hash_is_stored(kupe: InstalledSystem) -> None:
    """Fetched and acknowledged by an admin, the key is in no object of any type, and works."""
    with member(kupe, "alice@example.com", "kupe-admins") as alice:
        alice.wait("kupe", "ak-terraform", Active="True", within=30)
        plain = alice.plain_key("kupe", "ak-terraform")
        key_id = alice.get("kupe", "ak-terraform")["status"]["currentKeyId"]
        assert re.fullmatch(rf"kupe_{key_id}_[0-9A-Za-z]{{49}}", plain)
        path = "/api/v1/namespaces/kupe/secrets/ak-terraform"
        done = {"metadata": {"annotations": {"keywright.dev/acknowledged": key_id}}}
        alice.request("PATCH", path, done, "application/merge-patch+json")
        eventually(lambda: alice.secret("kupe", "ak-terraform") is None)
        stored = alice.get("kupe", "ak-terraform")["status"]["keys"][0]["hash"]
    assert argon2.PasswordHasher().verify(stored, plain)
    everything = kupe.stored()
    assert key_id in everything
    assert plain not in everything
    assert plain[len("kupe_") + 13 : -6] not in everything
    assert base64.b64encode(plain.encode()).decode() not in everything
    kupe.becomes(CLUSTERS, plain, "allowed", method="DELETE")


@proves("kupe", "list returns metadata only, find a key by its display name, delete by id `ak-…`")
def test_keys_are_listed_found_and_deleted(kupe: InstalledSystem, tmp_path: Path) -> None:
    """By an admin of Kupe, with kubectl and over REST; the id is a name that is made up."""
    kubeconfig = kupe.plane.kubeconfig_for("alice@example.com", ["kupe-admins"])
    with contextlib.closing(Kube(kubeconfig)) as alice:
        allowed(lambda: alice.list("kupe"))
        spec = {"className": "kupe", "displayName": "The data platform", "role": "readonly"}
        metadata = {"generateName": "ak-", "namespace": "kupe"}
        made = alice.create({"kind": "ApiKey", "metadata": metadata, "spec": spec})["metadata"]["name"]
        status = alice.wait("kupe", made, Active="True", within=30)["status"]
        plain = alice.plain_key("kupe", made)
    kupe.becomes(CLUSTERS, plain, "allowed")
    listed = apikey(kubeconfig, "list", "-o", "json", "-n", "kupe")
    assert listed.status == 0, listed.err
    (found,) = [each for each in json.loads(listed.out)["items"] if each["metadata"]["name"] == made]
    assert found["spec"]["displayName"] == "The data platform"
    for secret in (plain, plain[20:-6], status["keys"][0]["hash"], status["keys"][0]["fingerprint"]):
        assert secret not in listed.out
    by_name = apikey(kubeconfig, "list", "--name", "The data platform", "-o", "name", "-n", "kupe")
    assert by_name.out == f"apikey.keywright.dev/{made}\n"
    assert re.fullmatch(r"ak-[a-z0-9]{5}", made)
    assert apikey(kubeconfig, "delete", made, "-n", "kupe").status == 0
    kupe.becomes(CLUSTERS, plain, "invalid_key")
    assert made not in apikey(kubeconfig, "list", "-o", "name", "-n", "kupe").out
    eventually(lambda: kupe.kube.secret("kupe", made) is None)
    found_and_deleted_over_rest(kupe, tmp_path)


def found_and_deleted_over_rest(kupe: InstalledSystem, folder: Path) -> None:
    """With a key of an admin's."""
    admins = {"Authorization": f"Bearer {kupe.issue('ak-for-rest', role='admin', owner=ADMIN)}"}
    wanted = {"displayName": "The web platform", "role": "readonly"}
    with managing(kupe, folder, namespaces=["kupe"]) as service:
        eventually(lambda: service.ask("GET", KEYS_OVER_REST, headers=admins).status == 200)
        made = service.ask("POST", KEYS_OVER_REST, body=wanted, headers=admins).body
        assert re.fullmatch(r"ak-[a-z0-9]+", made["name"])
        kupe.becomes(CLUSTERS, made["key"], "allowed")
        listed = service.ask("GET", f"{KEYS_OVER_REST}?displayName=The%20web%20platform", headers=admins)
        assert [each["name"] for each in listed.body["items"]] == [made["name"]]
        record = kupe.kube.get("kupe", made["name"])["status"]["keys"][0]
        for secret in (made["key"], made["key"][20:-6], record["hash"], record["fingerprint"]):
            assert secret not in json.dumps(listed.body)
        assert service.ask("DELETE", f"{KEYS_OVER_REST}/{made['name']}", headers=admins).status == 204
        kupe.becomes(CLUSTERS, made["key"], "invalid_key")
        assert service.ask("GET", f"{KEYS_OVER_REST}/{made['name']}", headers=admins).status == 404


@proves("kupe", "revocation is immediate, no grace period")
def test_a_revoked_or_deleted_key_is_refused_at_once(kupe: InstalledSystem) -> None:
    """By the field and by deletion, also for a key that would have a grace period."""
    rotated: dict[str, Any] = {
        "role": "readonly",
        "rotation": {"interval": "90d", "gracePeriod": "24h", "trigger": "1"},
    }
    old = kupe.issue("ak-revoked", **rotated)
    kupe.kube.patch("kupe", "ak-revoked", {"spec": {"rotation": {"trigger": "2"}}})
    new = eventually(lambda: now if (now := kupe.kube.plain_key("kupe", "ak-revoked")) != old else None)
    deleted = kupe.issue("ak-deleted", role="readonly")
    for each in (old, new, deleted):
        kupe.becomes(CLUSTERS, each, "allowed")
    kupe.kube.patch("kupe", "ak-revoked", {"spec": {"revoked": True}})
    kupe.kube.delete("kupe", "ak-deleted")
    for each, code in ((old, "revoked_key"), (new, "revoked_key"), (deleted, "invalid_key")):
        kupe.becomes(CLUSTERS, each, code)


@proves("kupe", "rotation without downtime: a second key with the suffix `-new`, verify, revoke the old")
def test_rotation_without_downtime_both_ways(kupe: InstalledSystem) -> None:
    """Two ApiKeys one after the other, or one that is rotated with a grace period: there is a working key throughout."""
    old = kupe.issue("ak-app", role="readonly")
    kupe.becomes(CLUSTERS, old, "allowed")
    new = kupe.issue("ak-app-new", role="readonly")
    kupe.becomes(CLUSTERS, new, "allowed")
    assert kupe.ask(CLUSTERS, old).status == 200
    kupe.kube.patch("kupe", "ak-app", {"spec": {"revoked": True}})
    kupe.becomes(CLUSTERS, old, "revoked_key")
    assert kupe.ask(CLUSTERS, new).status == 200
    # The same with the ApiKey of keys.yaml.
    before = kupe.kube.plain_key("kupe", "ak-ci")
    kupe.becomes(CLUSTERS, before, "allowed")
    kupe.kube.patch("kupe", "ak-ci", {"spec": {"rotation": {"trigger": "now"}}})
    after = eventually(lambda: now if (now := kupe.kube.plain_key("kupe", "ak-ci")) != before else None)
    kupe.becomes(CLUSTERS, after, "allowed")
    # The new key works before the end of the old one is written down.
    answer = eventually(lambda: seen if "x-auth-key-expires" in (seen := kupe.ask(CLUSTERS, before)).headers else None)
    assert answer.status == 200
    grace = {"keywright.dev/rotate": "leak", "keywright.dev/rotate-grace": "0s"}
    kupe.kube.patch("kupe", "ak-ci", {"metadata": {"annotations": grace}})
    for each in (before, after):
        # Expired, and soon not known any more.
        eventually(lambda e=each: kupe.ask(CLUSTERS, e).status == 401)  # type: ignore[misc]
    last = eventually(lambda: now if (now := kupe.kube.plain_key("kupe", "ak-ci")) not in (before, after) else None)
    kupe.becomes(CLUSTERS, last, "allowed")


@proves("kupe", "create, list and revoke need the admin role; a readonly member or key cannot manage keys")
def test_only_admins_manage_keys(kupe: InstalledSystem, tmp_path: Path) -> None:
    """Members by RBAC, keys by their role: what a readonly one is refused, an admin does, at the key service too."""
    admins_key = kupe.issue("ak-of-an-admin", role="admin")
    readonly_key = kupe.issue("ak-of-a-reader", role="readonly")
    with (
        member(kupe, "alice@example.com", "kupe-admins") as alice,
        member(kupe, "rob@example.com", "kupe-readonly") as rob,
    ):
        allowed(lambda: rob.request("GET", "/apis/apps/v1/namespaces/kupe/deployments"))
        allowed(lambda: alice.list("kupe"))
        for who, may in ((rob, False), (alice, True)):
            for act in manage(who):
                assert succeeds(act) is may
        with pytest.raises(ApiException):
            rob.secret("kupe", "ak-of-an-admin")
    kupe.becomes(CLUSTERS, readonly_key, "invalid_key")
    reader = kupe.issue("ak-of-another-reader", role="readonly")
    kupe.becomes(CLUSTERS, reader, "allowed")
    for method, path in (("GET", KEYS), ("POST", KEYS), ("DELETE", f"{KEYS}/ak-1"), ("POST", CLUSTERS)):
        kupe.becomes(path, admins_key, "allowed", method=method)
        assert code_of(kupe.ask(path, reader, method=method)) == "insufficient_scope"
    only_admins_manage_keys_over_rest(kupe, tmp_path)


def only_admins_manage_keys_over_rest(kupe: InstalledSystem, folder: Path) -> None:
    """Of two keys of one admin the one with the role readonly is refused, and so is any key of a readonly member."""
    wanted = {"displayName": "Made over REST", "role": "readonly"}
    admins, readers, of_a_reader = (
        {"Authorization": f"Bearer {kupe.issue(name, role=role, owner=owner)}"}
        for name, role, owner in (
            ("ak-managing", "admin", ADMIN),
            ("ak-reading", "readonly", ADMIN),
            ("ak-of-rob", "admin", {"user": "rob@example.com", "groups": ["kupe-readonly"]}),
        )
    )
    with managing(kupe, folder, namespaces=["kupe"]) as service:
        eventually(lambda: service.ask("GET", KEYS_OVER_REST, headers=admins).status == 200)
        for role in ("readonly", "admin"):
            assert service.ask("POST", KEYS_OVER_REST, body=wanted | {"role": role}, headers=admins).status == 201
        victim = f"{KEYS_OVER_REST}/ak-managing"
        for method, path, body in (
            ("POST", KEYS_OVER_REST, wanted),
            ("GET", KEYS_OVER_REST, None),
            ("GET", victim, None),
            ("POST", f"{victim}/revoke", {}),
            ("DELETE", victim, None),
        ):
            refused = service.ask(method, path, body=body, headers=readers)
            assert (refused.status, refused.code) == (403, "insufficient_scope")
        for method, path, body in (("POST", KEYS_OVER_REST, wanted), ("GET", KEYS_OVER_REST, None)):
            refused = service.ask(method, path, body=body, headers=of_a_reader)
            assert (refused.status, refused.code) == (403, "forbidden")
        assert service.ask("POST", f"{victim}/revoke", body={"reason": "over"}, headers=admins).status == 200


def manage(who: Kube) -> list[Callable[[], Any]]:
    """Create, list, look at, revoke and delete."""
    name, place = "ak-of-a-reader", "kupe"
    return [
        lambda: who.create(key(displayName="made by hand", role="readonly")),
        lambda: who.list(place),
        lambda: who.get(place, name),
        lambda: who.patch(place, name, {"spec": {"revoked": True}}),
        lambda: who.delete(place, name),
    ]


@proves("kupe", "used from GitHub Actions, GitLab CI, curl through an environment variable")
def test_pipelines_and_curl_take_it_from_the_environment(kupe: InstalledSystem, tmp_path: Path) -> None:
    """The scripts of ci/, and the command of a Deployment, with the key and without."""
    plain = kupe.issue("ak-pipeline", role="readonly")
    kupe.becomes(CLUSTERS, plain, "allowed")
    base = {"KUPE_BASE_URL": f"http://{kupe.listen}/verify"}
    scripts = ci_scripts(kupe.folder)
    assert len(scripts) == 2
    for script in scripts:
        for given, status in (({"KUPE_API_KEY": plain}, 0), ({}, 22)):
            assert run_script(script, base | given) == status
    for deployment in ("inventory", "inventory-from-file"):
        with container_of(kupe.kube, "kupe", deployment, tmp_path, base) as output:
            eventually(lambda o=output: "clusters read" in o.read_text(), what=deployment)  # type: ignore[misc]
