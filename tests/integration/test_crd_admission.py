"""What the API server itself accepts and refuses, by the schema and the rules of the CRDs."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.support.kube import Kube, Manifest

APIKEY_SPECS: dict[str, tuple[dict[str, Any], str | None]] = {
    "the shortest key": ({}, None),
    "every field": (
        {
            "displayName": "CI deploy",
            "description": "where and why",
            "className": "standard",
            "ttl": "90d",
            "suspended": True,
            "revoked": True,
            "revocationReason": "a drill",
            "secret": {"name": "some.secret-1", "key": "API_KEY.txt"},
        },
        None,
    ),
    "an end": ({"expiresAt": "2027-01-01T00:00:00Z"}, None),
    "an end with an offset": ({"expiresAt": "2027-01-01T00:00:00+02:00"}, None),
    "a ttl of every part": ({"ttl": "1d2h3m4s"}, None),
    "an end and a ttl": ({"expiresAt": "2027-01-01T00:00:00Z", "ttl": "1d"}, "remove one of them"),
    "an end without an offset": ({"expiresAt": "2027-01-01T00:00:00"}, "spec.expiresAt"),
    "an end that is a date": ({"expiresAt": "2027-01-01"}, "spec.expiresAt"),
    "an empty end": ({"expiresAt": ""}, "spec.expiresAt"),
    "an empty ttl": ({"ttl": ""}, "spec.ttl"),
    "a ttl in weeks": ({"ttl": "2w"}, "spec.ttl"),
    "a ttl out of order": ({"ttl": "1h1d"}, "spec.ttl"),
    "a ttl with a fraction": ({"ttl": "1.5h"}, "spec.ttl"),
    "a negative ttl": ({"ttl": "-1h"}, "spec.ttl"),
    "a ttl that is a number": ({"ttl": 90}, "spec.ttl"),
    "a ttl without a unit": ({"ttl": "90"}, "spec.ttl"),
    "a display name of 128 characters": ({"displayName": "x" * 128}, None),
    "a display name of 129 characters": ({"displayName": "x" * 129}, "spec.displayName"),
    "an empty display name": ({"displayName": ""}, "spec.displayName"),
    "a description of 1025 characters": ({"description": "x" * 1025}, "spec.description"),
    "a class name with a dot": ({"className": "a.b"}, "spec.className"),
    "a class name with a colon": ({"className": "a:b"}, "spec.className"),
    "a class name in capitals": ({"className": "Standard"}, "spec.className"),
    "an empty class name": ({"className": ""}, "spec.className"),
    "suspended as text": ({"suspended": "yes"}, "spec.suspended"),
    "revoked as a number": ({"revoked": 1}, "spec.revoked"),
    "a revocation reason of 513 characters": ({"revocationReason": "x" * 513}, "spec.revocationReason"),
    "a Secret name with capitals": ({"secret": {"name": "Secret"}}, "spec.secret.name"),
    "a Secret name with a slash": ({"secret": {"name": "../other"}}, "spec.secret.name"),
    "a Secret entry with a slash": ({"secret": {"key": "a/b"}}, "spec.secret.key"),
    "an empty Secret entry": ({"secret": {"key": ""}}, "spec.secret.key"),
    "an owner who is called as verifiers call nobody": ({"owner": {"user": "-"}}, "spec.owner.user is not -"),
    "an owner who is called as keys without one": ({"owner": {"user": "apikey:a/b"}}, "does not start with apikey:"),
    "an unknown field": ({"colour": "red"}, "unknown field"),
    "an unknown field of the Secret": ({"secret": {"type": "kubernetes.io/tls"}}, "unknown field"),
    "a namespace for the Secret": ({"secret": {"namespace": "kube-system"}}, "unknown field"),
}

CLASS_SPECS: dict[str, tuple[dict[str, Any], str | None]] = {
    "the shortest class": ({}, None),
    "every field of a class": (
        {
            "prefix": "kv_live",
            "hashing": {"algorithm": "argon2id", "argon2id": {"memoryKiB": 1024, "iterations": 1, "parallelism": 1}},
            "credentials": {"schemes": ["Bearer", "UserKey"], "headers": ["X-API-Key"]},
            "lifetime": {"default": "90d", "max": "365d"},
            "requires": ["displayName", "expiresAt"],
            "warnBefore": "14d",
        },
        None,
    ),
    "sha256": ({"hashing": {"algorithm": "sha256"}}, None),
    "a prefix of one character": ({"prefix": "k"}, "spec.prefix"),
    "a prefix of 21 characters": ({"prefix": "k" * 21}, "spec.prefix"),
    "a prefix that ends in an underscore": ({"prefix": "kw_"}, "spec.prefix"),
    "a prefix in capitals": ({"prefix": "KW"}, "spec.prefix"),
    "an unknown algorithm": ({"hashing": {"algorithm": "md5"}}, "spec.hashing.algorithm"),
    "argon2 memory beyond the bound": ({"hashing": {"argon2id": {"memoryKiB": 65537}}}, "memoryKiB"),
    "argon2 without memory": ({"hashing": {"argon2id": {"memoryKiB": 0}}}, "memoryKiB"),
    "eleven argon2 iterations": ({"hashing": {"argon2id": {"iterations": 11}}}, "iterations"),
    "five argon2 lanes": ({"hashing": {"argon2id": {"parallelism": 5}}}, "parallelism"),
    "a scheme with a space": ({"credentials": {"schemes": ["Bear er"]}}, "schemes"),
    "a scheme twice": ({"credentials": {"schemes": ["Bearer", "Bearer"]}}, "schemes"),
    "nine headers": ({"credentials": {"headers": [f"X-{n}" for n in range(9)]}}, "headers"),
    "the cookie header": ({"credentials": {"headers": ["Cookie"]}}, "X-API-Key"),
    "the authorization header as a bare one": ({"credentials": {"headers": ["AUTHORIZATION"]}}, "X-API-Key"),
    "a catalogue and roles": (
        {
            "scopes": [{"name": "agents:read"}, {"name": "agents:write", "includes": ["agents:read"]}],
            "roles": [{"name": "a", "scopes": ["agents:write", "*:read", "*"]}],
        },
        None,
    ),
    "roles without a catalogue": ({"roles": [{"name": "a", "scopes": ["any"]}]}, None),
    "a role with a mistyped scope": (
        {"scopes": [{"name": "agents:read"}], "roles": [{"name": "a", "scopes": ["agent:read"]}]},
        "not in the catalogue",
    ),
    "a scope that includes a mistyped one": (
        {"scopes": [{"name": "agents:read"}, {"name": "all", "includes": ["agents:reed"]}]},
        "not in the catalogue",
    ),
    "a lifetime in weeks": ({"lifetime": {"max": "52w"}}, "lifetime.max"),
    "an unknown requirement": ({"requires": ["shoeSize"]}, "requires"),
    "an unknown field of a class": ({"colour": "red"}, "unknown field"),
}


@pytest.mark.parametrize("case", APIKEY_SPECS)
def test_apikey_spec(admin: Kube, namespace: str, case: str) -> None:
    """The schema accepts what works, and refuses the rest with the field and the remedy."""
    spec, refusal = APIKEY_SPECS[case]
    manifest = {"kind": "ApiKey", "metadata": {"name": "key", "namespace": namespace}, "spec": spec}
    assert_admitted(admin, manifest, refusal)


@pytest.mark.parametrize("case", CLASS_SPECS)
def test_class_spec(admin: Kube, case: str) -> None:
    """The same for classes."""
    spec, refusal = CLASS_SPECS[case]
    assert_admitted(admin, {"kind": "ApiKeyClass", "metadata": {"name": "probe"}, "spec": spec}, refusal)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("a" * 63, None), ("a" * 64, "63 characters"), ("with.a-dot", None), ("Capitals", "metadata.name")],
)
def test_apikey_name(admin: Kube, namespace: str, name: str, refusal: str | None) -> None:
    """Names become label values, so they are at most 63 characters long."""
    assert_admitted(admin, {"kind": "ApiKey", "metadata": {"name": name, "namespace": namespace}, "spec": {}}, refusal)


def test_spec_is_required(admin: Kube, namespace: str) -> None:
    """An ApiKey without spec is refused, also when the spec is to be removed later."""
    with pytest.raises(ApiException, match="spec"):
        admin.create({"kind": "ApiKey", "metadata": {"name": "key", "namespace": namespace}})


FULL = {
    "className": "standard",
    "revoked": True,
    "secret": {"name": "kept", "key": "kept"},
}
ALICE = {"user": "alice", "groups": ["a"]}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    # name: (spec before, merge patch of the spec, refusal)
    "revoked back to false": (FULL, {"revoked": False}, "stays revoked"),
    "revoked removed": (FULL, {"revoked": None}, "stays revoked"),
    "className changed": (FULL, {"className": "other"}, "spec.className is immutable"),
    "className removed": (FULL, {"className": None}, "spec.className is immutable"),
    "className added": ({}, {"className": "standard"}, "spec.className is immutable"),
    "secret.name changed": (FULL, {"secret": {"name": "other"}}, "spec.secret.name is immutable"),
    "secret.name removed": (FULL, {"secret": {"name": None}}, "spec.secret.name is immutable"),
    "secret.name removed with its parent": (FULL, {"secret": None}, "spec.secret.name is immutable"),
    "secret.name added": ({}, {"secret": {"name": "other"}}, "spec.secret.name is immutable"),
    "secret.key changed": ({"secret": {"key": "a"}}, {"secret": {"key": "b"}}, "spec.secret.key is immutable"),
    "secret.key removed": ({"secret": {"key": "a"}}, {"secret": {"key": None}}, "spec.secret.key is immutable"),
    "secret.key removed with its parent": ({"secret": {"key": "a"}}, {"secret": None}, "spec.secret.key is immutable"),
    "secret.key added": ({}, {"secret": {"key": "b"}}, "spec.secret.key is immutable"),
    "owner changed": ({"owner": ALICE}, {"owner": {"user": "bob"}}, "spec.owner is immutable"),
    "owner removed": ({"owner": ALICE}, {"owner": None}, "spec.owner is immutable"),
    "owner added": ({}, {"owner": ALICE}, "spec.owner is immutable"),
    "owner.groups changed": ({"owner": ALICE}, {"owner": {"groups": ["b"]}}, "spec.owner is immutable"),
    "owner.groups removed": ({"owner": ALICE}, {"owner": {"groups": None}}, "spec.owner is immutable"),
    "owner.groups emptied": ({"owner": ALICE}, {"owner": {"groups": []}}, "spec.owner is immutable"),
    "owner.groups added": ({"owner": {"user": "alice"}}, {"owner": {"groups": ["a"]}}, "spec.owner is immutable"),
    "the default secret.key spelled out": ({}, {"secret": {"key": "api-key"}}, None),
    "revoked": ({}, {"revoked": True}, None),
    "suspended and resumed": ({"suspended": True}, {"suspended": False}, None),
    "an end brought forward": ({"expiresAt": "2027-01-01T00:00:00Z"}, {"expiresAt": "2026-12-24T00:00:00Z"}, None),
    "a ttl added to an end": ({"expiresAt": "2027-01-01T00:00:00Z"}, {"ttl": "1d"}, "remove one of them"),
    "a ttl in place of an end": ({"expiresAt": "2027-01-01T00:00:00Z"}, {"ttl": "1d", "expiresAt": None}, None),
    "a new display name": ({"displayName": "a"}, {"displayName": "b"}, None),
}


@pytest.mark.parametrize("case", CHANGES)
def test_apikey_change(admin: Kube, namespace: str, case: str) -> None:
    """Transition rules hold also against removing a field or its parent, by a patch and by a whole replacement."""
    before, patch, refusal = CHANGES[case]
    admin.apikey(namespace, "key", **before)
    if refusal is None:
        admin.patch(namespace, "key", {"spec": patch})
        return
    with pytest.raises(ApiException) as patched:
        admin.patch(namespace, "key", {"spec": patch})
    assert refusal in message(patched.value)
    assert refusal in replace(admin, namespace, patch)


@pytest.mark.parametrize("before", [FULL, {"owner": ALICE}], ids=["every field", "an owner"])
def test_the_whole_spec_cannot_be_taken_away(admin: Kube, namespace: str, before: dict[str, Any]) -> None:
    """Nor emptied: every rule that holds a field holds it against the removal of all of them."""
    created = admin.apikey(namespace, "key", **before)
    for spec, words in (({}, "immutable"), (None, "spec")):
        assert words in put(admin, namespace, lambda manifest, s=spec: {**manifest, "spec": s})  # type: ignore[misc]
    without = put(admin, namespace, lambda manifest: {name: manifest[name] for name in manifest if name != "spec"})
    assert "spec: Required value" in without
    assert admin.get(namespace, "key")["spec"] == created["spec"]


def replace(admin: Kube, namespace: str, patch: dict[str, Any]) -> str:
    """Replace the ApiKey by itself with this change of its spec, and say why that was refused."""
    return put(admin, namespace, lambda manifest: {**manifest, "spec": merged(manifest["spec"], patch)})


def put(admin: Kube, namespace: str, change: Callable[[Manifest], Manifest]) -> str:
    """Replace the ApiKey by what is made of it, and say why that was refused."""
    while True:
        replacement = change(admin.get(namespace, "key"))
        with pytest.raises(ApiException) as refused:
            admin.request("PUT", admin.path("ApiKey", namespace, "key"), replacement)
        # An operator that runs beside this may have written the status in between.
        if refused.value.status != 409:
            return message(refused.value)


@pytest.mark.parametrize("patch", [{"prefix": "other"}, {"prefix": None}, None], ids=["changed", "removed", "no spec"])
def test_prefix_is_immutable(admin: Kube, patch: dict[str, Any] | None) -> None:
    """The prefix of a class never changes: keys that exist start with it."""
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": "fixed"}, "spec": {"prefix": "fixed"}})
    try:
        with pytest.raises(ApiException) as refused:
            admin.patch(None, "fixed", {"spec": patch}, kind="ApiKeyClass")
        assert ("spec.prefix is immutable" if patch else "spec: Required value") in message(refused.value)
    finally:
        admin.delete(None, "fixed", kind="ApiKeyClass")


def test_a_new_key_is_not_ready_yet(admin: Kube, namespace: str) -> None:
    """kstatus would call an object without conditions current, so the schema says Ready=Unknown from the start."""
    created = admin.apikey(namespace, "key")
    assert created["status"]["phase"] == "Pending"
    (condition,) = created["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "Unknown", "Pending")


def test_a_status_at_creation_is_dropped(admin: Kube, namespace: str) -> None:
    """Whoever creates an ApiKey cannot bring records along: status is a subresource."""
    record = {"id": "0" * 12, "state": "Current", "hash": "sha256:" + "0" * 64, "issuedAt": "2026-01-01T00:00:00Z"}
    created = admin.create(
        {
            "kind": "ApiKey",
            "metadata": {"name": "key", "namespace": namespace},
            "spec": {},
            "status": {"keys": [record]},
        }
    )
    assert "keys" not in created["status"]


def assert_admitted(admin: Kube, manifest: Manifest, refusal: str | None) -> None:
    full = {"apiVersion": "keywright.dev/v1alpha1", **manifest}
    path = admin.path(full["kind"], full["metadata"].get("namespace"))
    if refusal is None:
        admin.request("POST", path, full, fieldValidation="Strict", dryRun="All")
        return
    with pytest.raises(ApiException) as refused:
        admin.request("POST", path, full, fieldValidation="Strict", dryRun="All")
    assert refusal in message(refused.value)


def message(error: ApiException) -> str:
    return str(json.loads(error.body or "")["message"])


def merged(spec: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    out = copy.deepcopy(spec)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            out[key] = merged(out.get(key, {}), value)
        else:
            out[key] = value
    return out
