"""What the API server itself accepts and refuses, by the schema and the rules of the CRDs."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.integration.conftest import Namespaces
from tests.support.kube import Kube, Manifest, eventually

# What is said: one text, or several, a field and what to write.
Refusal = str | tuple[str, ...] | None
A_DURATION = "as in 90d, 12h or 1h30m"
A_NAME = "write small letters, digits and -"
A_SCOPE = "write a word or resource:action"


def template(**parts: Any) -> dict[str, Any]:
    return {"secret": {"template": parts}}


APIKEY_SPECS: dict[str, tuple[dict[str, Any], Refusal]] = {
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
    "an end with small letters and a fraction": ({"expiresAt": "2027-01-01t00:00:00.123456789z"}, None),
    "an end without an offset": ({"expiresAt": "2027-01-01T00:00:00"}, "spec.expiresAt"),
    "an end that is a date": ({"expiresAt": "2027-01-01"}, "spec.expiresAt"),
    "an end a day ahead": ({"expiresAt": "2027-01-01T00:00:00+24:00"}, "spec.expiresAt"),
    "an end with words": ({"expiresAt": "2027-01-01T00:00:00ZTgarbage"}, "spec.expiresAt"),
    "an empty end": ({"expiresAt": ""}, "spec.expiresAt"),
    "an empty ttl": ({"ttl": ""}, ("spec.ttl", "write how long")),
    "a ttl in weeks": ({"ttl": "2w"}, ("spec.ttl", A_DURATION)),
    "a ttl out of order": ({"ttl": "1h1d"}, ("spec.ttl", A_DURATION)),
    "a ttl with a fraction": ({"ttl": "1.5h"}, ("spec.ttl", A_DURATION)),
    "a negative ttl": ({"ttl": "-1h"}, ("spec.ttl", A_DURATION)),
    "a ttl that is a number": ({"ttl": 90}, "spec.ttl"),
    "a ttl without a unit": ({"ttl": "90"}, ("spec.ttl", A_DURATION)),
    "a ttl of nothing": ({"ttl": "0s"}, ("spec.ttl", "as in 90d, or revoke it")),
    "an interval of nothing": ({"rotation": {"interval": "0d0s"}}, ("spec.rotation.interval", "as in 30d")),
    "no grace": ({"ttl": "1h", "rotation": {"gracePeriod": "0s"}}, None),
    "a grace shorter than the ttl": ({"ttl": "1d1m", "rotation": {"gracePeriod": "24h59s"}}, None),
    "a grace as long as the ttl": (
        {"ttl": "1d", "rotation": {"gracePeriod": "23h60m"}},
        ("spec.rotation.gracePeriod is not shorter than spec.ttl", "shorten it"),
    ),
    "a grace in weeks": ({"ttl": "1d", "rotation": {"gracePeriod": "2w"}}, ("spec.rotation.gracePeriod", A_DURATION)),
    "a role with a dot": ({"role": "read.only"}, ("spec.role", A_NAME)),
    "a scope with a space": ({"scopes": ["agents read"]}, ("spec.scopes[0]", A_SCOPE)),
    "a scope with two colons": ({"scopes": ["a", "a:b:c"]}, ("spec.scopes[1]", A_SCOPE)),
    "a rate limit in capitals": ({"rateLimits": [{"name": "A", "requests": 1}]}, ("spec.rateLimits[0].name", A_NAME)),
    "a window in weeks": (
        {"rateLimits": [{"name": "a", "requests": 1, "window": "1w"}]},
        ("spec.rateLimits[0].window", A_DURATION),
    ),
    "an owner with a space before it": ({"owner": {"user": " a"}}, ("spec.owner.user", "printable ASCII")),
    "a template": (
        template(
            data={"a": "$(key)$(keyId)$(name)$(namespace)", "b": "$$(kye) $$$(x $ ( $x $", ".c": "", "-_.d": ""},
            labels={"example.com/kubernetes.io": "a", "kubernetes.io": "b"},
        ),
        None,
    ),
    "a mistyped variable": (template(data={"a": "$(kye)"}), ("spec.secret.template.data", "use $(key), $(keyId)")),
    "an unclosed variable": (template(data={"a": "$(key"}), ("spec.secret.template.data", "$$( for a plain $(")),
    "an entry with a slash": (template(data={"a/b": ""}), ("spec.secret.template.data", "use letters, digits")),
    "an entry of two dots": (template(data={"..": ""}), ("spec.secret.template.data", "use letters, digits")),
    "an entry of 254 characters": (template(data={"a" * 254: ""}), ("spec.secret.template.data", "253 at most")),
    "the entry of the plain key": (template(data={"api-key": ""}), ("template.data", "give it another name")),
    "the entry of the plain key, named": (
        {"secret": {"key": "k", "template": {"data": {"k": ""}}}},
        ("template.data", "give it another name"),
    ),
    "what else is the entry of the plain key": ({"secret": {"key": "k", "template": {"data": {"api-key": ""}}}}, None),
    "a label of Kubernetes": (
        template(labels={"App.kubernetes.io/name": "a"}),
        ("spec.secret.template.labels", "take them out"),
    ),
    "an annotation of Argo CD": (
        template(annotations={"argocd.argoproj.io/tracking-id": "a"}),
        ("spec.secret.template.annotations", "take them out"),
    ),
    "a display name of 128 characters": ({"displayName": "x" * 128}, None),
    "a display name of 129 characters": ({"displayName": "x" * 129}, "spec.displayName"),
    "an empty display name": ({"displayName": ""}, "spec.displayName"),
    "a description of 1025 characters": ({"description": "x" * 1025}, "spec.description"),
    "a class name with a dot": ({"className": "a.b"}, ("spec.className", A_NAME)),
    "a class name with a colon": ({"className": "a:b"}, ("spec.className", A_NAME)),
    "a class name in capitals": ({"className": "Standard"}, ("spec.className", A_NAME)),
    "an empty class name": ({"className": ""}, ("spec.className", A_NAME)),
    "suspended as text": ({"suspended": "yes"}, "spec.suspended"),
    "revoked as a number": ({"revoked": 1}, "spec.revoked"),
    "a revocation reason of 513 characters": ({"revocationReason": "x" * 513}, "spec.revocationReason"),
    "a Secret name with capitals": ({"secret": {"name": "Secret"}}, ("spec.secret.name", "as in ci-deploy")),
    "a Secret name with a slash": ({"secret": {"name": "../other"}}, ("spec.secret.name", "as in ci-deploy")),
    "a Secret entry with a slash": ({"secret": {"key": "a/b"}}, ("spec.secret.key", "as in api-key")),
    "an empty Secret entry": ({"secret": {"key": ""}}, "spec.secret.key"),
    "an owner who is called as verifiers call nobody": ({"owner": {"user": "-"}}, "spec.owner.user is not -"),
    "an owner who is called as keys without one": ({"owner": {"user": "apikey:a/b"}}, "does not start with apikey:"),
    "an unknown field": ({"colour": "red"}, "unknown field"),
    "an unknown field of the Secret": ({"secret": {"type": "kubernetes.io/tls"}}, "unknown field"),
    "a namespace for the Secret": ({"secret": {"namespace": "kube-system"}}, "unknown field"),
}

CLASS_SPECS: dict[str, tuple[dict[str, Any], Refusal]] = {
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
    "a prefix that ends in an underscore": ({"prefix": "kw_"}, ("spec.prefix", "as in kw_live")),
    "a prefix in capitals": ({"prefix": "KW"}, ("spec.prefix", "as in kw_live")),
    "an unknown algorithm": ({"hashing": {"algorithm": "md5"}}, "spec.hashing.algorithm"),
    "argon2 memory beyond the bound": ({"hashing": {"argon2id": {"memoryKiB": 65537}}}, "memoryKiB"),
    "argon2 without memory": ({"hashing": {"argon2id": {"memoryKiB": 0}}}, "memoryKiB"),
    "eleven argon2 iterations": ({"hashing": {"argon2id": {"iterations": 11}}}, "iterations"),
    "five argon2 lanes": ({"hashing": {"argon2id": {"parallelism": 5}}}, "parallelism"),
    "a scheme with a space": (
        {"credentials": {"schemes": ["Bear er"]}},
        ("spec.credentials.schemes[0]", "write letters, digits and -"),
    ),
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
    "a lifetime in weeks": ({"lifetime": {"max": "52w"}}, ("spec.lifetime.max", A_DURATION)),
    "a default as long as the maximum": ({"lifetime": {"default": "720h", "max": "30d"}}, None),
    "a default beyond the maximum": (
        {"lifetime": {"default": "90d", "max": "30d"}},
        ("spec.lifetime", "shorten the one, or lengthen the other"),
    ),
    "a maximum of nothing": ({"lifetime": {"max": "0s"}}, ("spec.lifetime.max", "as in 365d, or leave it out")),
    "a default of nothing": ({"lifetime": {"default": "0s"}}, ("spec.lifetime.default", "as in 90d, or leave it out")),
    "an interval of nothing in a class": ({"rotation": {"interval": "0s"}}, ("spec.rotation.interval", "as in 30d")),
    "a grace shorter than the default": ({"lifetime": {"default": "2d"}, "rotation": {"gracePeriod": "1d"}}, None),
    "a grace beyond the default": (
        {"lifetime": {"default": "1d", "max": "9d"}, "rotation": {"gracePeriod": "2d"}},
        ("rotation.gracePeriod is not shorter than lifetime.default", "shorten it"),
    ),
    "a grace beyond the maximum": (
        {"lifetime": {"max": "1d"}, "rotation": {"gracePeriod": "1d"}},
        ("rotation.gracePeriod is not shorter than lifetime.max", "shorten it"),
    ),
    "metadata for a template": ({"secretMetadata": ["*", "example.com/*", "team", "kubernetes*"]}, None),
    "metadata of Kubernetes": ({"secretMetadata": ["app.kubernetes.io/*"]}, ("spec.secretMetadata", "take them out")),
    "metadata with a star inside": ({"secretMetadata": ["a/*-b"]}, ("spec.secretMetadata", "as in example.com/*")),
    "a role of a class with a dot": ({"roles": [{"name": "a.b", "scopes": []}]}, ("spec.roles[0].name", A_NAME)),
    "a wildcard in the catalogue": ({"scopes": [{"name": "a:*"}]}, ("spec.scopes[0].name", "without *")),
    "an unknown requirement": ({"requires": ["shoeSize"]}, "requires"),
    "an unknown field of a class": ({"colour": "red"}, "unknown field"),
}


@pytest.mark.parametrize("case", APIKEY_SPECS)
def test_apikey_spec(admin: Kube, namespace: str, case: str) -> None:
    """The schema accepts what works, and refuses the rest with the field and the remedy. What is said of a type, a length,
    a list of words or an unknown field is the API server's own, which names the field and what may stand there.
    """
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
GRACED = {"ttl": "2h", "rotation": {"gracePeriod": "1h"}}
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
    "a ttl shortened to the grace": (GRACED, {"ttl": "1h"}, None),
    "a ttl that comes to a grace": ({"rotation": {"gracePeriod": "1h"}}, {"ttl": "1h"}, None),
    "a grace lengthened to the ttl": (GRACED, {"rotation": {"gracePeriod": "2h"}}, "not shorter than spec.ttl"),
    "a grace that comes to a ttl": ({"ttl": "1h"}, {"rotation": {"gracePeriod": "1h"}}, "not shorter than spec.ttl"),
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


BEFORE_THE_RULES: dict[str, dict[str, Any]] = {
    "ApiKey": {
        "ttl": "0s",
        "rotation": {"interval": "0s", "gracePeriod": "2d"},
        "role": "Read.Only",
        "secret": {"template": {"data": {"api-key": "$(kye)", "a/b": ""}, "labels": {"x.k8s.io/a": "b"}}},
    },
    "ApiKeyClass": {
        "lifetime": {"default": "90d", "max": "30d"},
        "rotation": {"gracePeriod": "0s", "interval": "0s"},
        "secretMetadata": ["app.kubernetes.io/*"],
    },
}


def test_what_was_there_before_a_rule_can_still_be_restricted(own_admin: Kube, make_namespace: Namespaces) -> None:
    """The API server asks its rules of what changes. So the status of an old ApiKey can be written, whoever is on call
    can suspend and revoke it, and an old class can have its roles taken away; what is put in anew is judged.
    """
    namespace = make_namespace(own_admin)
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    plurals = {"ApiKey": "apikeys", "ApiKeyClass": "apikeyclasses"}

    def manifest(kind: str, name: str) -> Manifest:
        place = {"namespace": namespace} if kind == "ApiKey" else {}
        return {"kind": kind, "metadata": {"name": name, **place}, "spec": BEFORE_THE_RULES[kind]}

    def is_created(kind: str, name: str) -> bool:
        try:
            own_admin.create(manifest(kind, name))
        except ApiException as error:
            if error.status != 422:
                raise
            return False
        return True

    for kind, plural in plurals.items():
        path = f"{definitions}/{plural}.keywright.dev"
        rules = own_admin.request("GET", path)["spec"]["versions"]
        before = [{**each, "schema": without_rules(each["schema"])} for each in rules]
        own_admin.request("PATCH", path, {"spec": {"versions": before}}, "application/merge-patch+json")
        eventually(lambda k=kind: is_created(k, "old"))  # type: ignore[misc]
        own_admin.request("PATCH", path, {"spec": {"versions": rules}}, "application/merge-patch+json")
        names = (f"new-{number}" for number in range(1000))
        eventually(lambda k=kind, n=names: not is_created(k, next(n)))  # type: ignore[misc]
    own_admin.patch(namespace, "old", {"status": {"phase": "Failed"}}, subresource="status")
    for spec in ({"suspended": True}, {"role": None}, {"ttl": None}, {"revoked": True}):
        own_admin.patch(namespace, "old", {"spec": spec})
    own_admin.patch(None, "old", {"spec": {"roles": [], "lifetime": None}}, kind="ApiKeyClass")
    with pytest.raises(ApiException, match="take them out"):
        own_admin.patch(None, "old", {"spec": {"secretMetadata": ["team", "x.k8s.io/a"]}}, kind="ApiKeyClass")


def without_rules(schema: Any) -> Any:
    """A schema without rules and patterns."""
    if isinstance(schema, list):
        return [without_rules(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = ("x-kubernetes-validations", "pattern")
    return {name: without_rules(each) for name, each in schema.items() if name not in dropped}


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


def assert_admitted(admin: Kube, manifest: Manifest, refusal: Refusal) -> None:
    full = {"apiVersion": "keywright.dev/v1alpha1", **manifest}
    path = admin.path(full["kind"], full["metadata"].get("namespace"))
    if refusal is None:
        admin.request("POST", path, full, fieldValidation="Strict", dryRun="All")
        return
    with pytest.raises(ApiException) as refused:
        admin.request("POST", path, full, fieldValidation="Strict", dryRun="All")
    said = message(refused.value)
    for words in (refusal,) if isinstance(refusal, str) else refusal:
        assert words in said


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
