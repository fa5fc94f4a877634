"""The table of docs/guides/classes.md, row by row, on the real API server: what a class, or the labels of a namespace,
do to keys that live, as far as the operator records and says it.
"""

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.audit import requests
from tests.support.kube import Kube, Manifest, eventually, status_of
from tests.support.processes import get, operator, verifier
from tests.support.rights import await_right

_counter = itertools.count()
RBAC = "/apis/rbac.authorization.k8s.io/v1"

CATALOGUE = [{"name": "agents:read"}, {"name": "agents:write", "includes": ["agents:read"]}, {"name": "logs:read"}]
ROLES = [{"name": "reader", "scopes": ["*:read"]}, {"name": "writer", "scopes": ["*:write"]}]
LIMIT = {"name": "minute", "requests": 100, "window": "1m"}
POLICY = {"roles": ROLES, "scopes": CATALOGUE, "rateLimits": [LIMIT], "lifetime": {"default": "90d"}}
ASKED = {
    "role": "reader",
    "scopes": ["agents:write"],
    "rateLimits": [{"name": "minute", "requests": 50}],
    "rotation": {"gracePeriod": "1h"},
}
ACCEPTED = {
    "role": "reader",
    "scopes": ["*:read", "agents:write"],
    "rateLimits": [{"name": "minute", "requests": 50, "window": "1m"}],
}
TEAM_A = {"matchLabels": {"team": "a"}}

MakeClass = Callable[..., str]


@pytest.fixture
def make_class(admin: Kube) -> Iterator[MakeClass]:
    """Make a class with a cheap hash and a name of its own, or of the name that is given."""
    made: list[str] = []

    def make(name: str = "", **spec: Any) -> str:
        name = name or f"policy-{next(_counter):03}"
        full = {"hashing": {"algorithm": "sha256"}, **spec}
        admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": full})
        made.append(name)
        return name

    yield make
    for each in admin.list(None, "ApiKeyClass"):
        if each["metadata"]["name"] in made:
            admin.delete(None, each["metadata"]["name"], "ApiKeyClass")


def change(admin: Kube, name: str, **spec: Any) -> None:
    admin.patch(None, name, {"spec": spec}, "ApiKeyClass")


def mark(admin: Kube, name: str, value: str | None = "true") -> None:
    annotation = {"keywright.dev/is-default-class": value}
    admin.patch(None, name, {"metadata": {"annotations": annotation}}, "ApiKeyClass")


def label(admin: Kube, namespace: str, team: str | None) -> None:
    body = {"metadata": {"labels": {"team": team}}}
    admin.request("PATCH", f"/api/v1/namespaces/{namespace}", body, "application/merge-patch+json")


def issue(admin: Kube, namespace: str, class_name: str, **spec: Any) -> Manifest:
    admin.apikey(namespace, "key", className=class_name, **spec)
    return admin.wait(namespace, "key", Ready="True", Active="True")


def told(admin: Kube, namespace: str) -> list[str]:
    """Reasons of the events about the key. The operator learns of classes by a watch of its own, and says so when it sees
    the key before its class.
    """
    found = list(admin.events(namespace, "key"))
    return found[1:] if found[:1] == ["ClassNotFound"] else found


def effective(admin: Kube, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(namespace, "key")["status"]["effective"]
    return found


def becomes(admin: Kube, namespace: str, expected: dict[str, Any]) -> None:
    """Wait until exactly this is effective."""
    try:
        eventually(lambda: effective(admin, namespace) == expected)
    except AssertionError:
        assert effective(admin, namespace) == expected


def message_of(manifest: Manifest) -> str:
    return next(str(each["message"]) for each in manifest["status"]["conditions"] if each["type"] == "Ready")


class Row(NamedTuple):
    """A change of the class; what is left of ``ACCEPTED``; what is said."""

    to: dict[str, Any]
    left: dict[str, Any] | None = None
    reason: str = ""
    part: str = ""
    is_active: bool = True


def grant(**fields: Any) -> dict[str, Any]:
    return {"namespaces": {}, **fields}


TABLE = {
    "a role with fewer scopes": Row(
        {"roles": [{"name": "reader", "scopes": ["logs:read"]}]},
        {"scopes": ["agents:read", "agents:write", "logs:read"]},
    ),
    "a role with more scopes": Row({"roles": [{"name": "reader", "scopes": ["*"]}]}, {"scopes": ["*"]}),
    "a role that goes": Row(
        {"roles": [ROLES[1]]},
        {"role": None, "scopes": ["agents:read", "agents:write"]},
        "RoleNotFound",
        "spec.role",
    ),
    "a scope that goes": Row(
        {"scopes": [CATALOGUE[0], CATALOGUE[2]]}, {"scopes": ["*:read"]}, "ScopeNotAllowed", "agents:write is not in"
    ),
    "a scope that includes more": Row(
        {"scopes": [*CATALOGUE[::2], {"name": "agents:write", "includes": ["logs:*"]}]},
        {"scopes": ["*:read", "agents:write", "logs:*"]},
    ),
    "no catalogue any more": Row({"scopes": None}),
    "a limit below the key's own": Row(
        {"rateLimits": [LIMIT | {"requests": 10}]},
        {"rateLimits": [LIMIT | {"requests": 10}]},
        "InvalidSpec",
        "spec.rateLimits: minute is looser",
    ),
    "a higher limit in a longer window": Row(
        {"rateLimits": [LIMIT | {"requests": 1000, "window": "2m"}]},
        {"rateLimits": [{"name": "minute", "requests": 50, "window": "2m"}]},
    ),
    "another limit": Row(
        {"rateLimits": [LIMIT, {"name": "day", "requests": 1000, "window": "24h"}]},
        {"rateLimits": [LIMIT | {"requests": 50}, {"name": "day", "requests": 1000, "window": "1d"}]},
    ),
    "no limits any more": Row({"rateLimits": None}, {"rateLimits": []}, "InvalidSpec", "has no rate limit minute"),
    "another requirement": Row({"requires": ["displayName"]}, None, "InvalidSpec", "requires spec.displayName"),
    "grants that cover the key": Row({"grants": [grant(roles=["reader"], scopes=["agents:*"])]}),
    "grants that do not cover its role": Row(
        {"grants": [grant(roles=["writer"], scopes=["*"])]},
        {"role": None, "scopes": ["agents:read", "agents:write"]},
        "ScopeNotAllowed",
        "does not grant the role reader",
    ),
    "grants that do not cover its scope": Row(
        {"grants": [grant(roles=["*"], scopes=["logs:read"])]},
        {"scopes": ["*:read"]},
        "ScopeNotAllowed",
        "does not grant agents:write",
    ),
    "grants to others": Row(
        {"grants": [{"namespaces": TEAM_A, "roles": ["*"], "scopes": ["*"]}]},
        {"role": None, "scopes": []},
        "ScopeNotAllowed",
        "spec.grants",
    ),
    "no grants at all": Row({"grants": []}, {"role": None, "scopes": []}, "ScopeNotAllowed", "spec.grants"),
    "namespaces that do not include the key's": Row(
        {"allowedNamespaces": TEAM_A}, None, "ClassNotAllowed", "spec.allowedNamespaces", is_active=False
    ),
    "the owner decides, and there is none": Row(
        {"authorization": "Owner"}, {"authorization": "Owner"}, "ClassNotAllowed", "spec.owner", is_active=False
    ),
    "a grace period as long as the default lifetime": Row(
        {"lifetime": {"default": "1h"}}, None, "InvalidSpec", "spec.rotation.gracePeriod"
    ),
    "another hash": Row({"hashing": {"algorithm": "argon2id"}}),
}


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_a_class_that_changes_under_a_live_key(admin: Kube, namespace: str, make_class: MakeClass, row: Row) -> None:
    """What is left is recorded, the reason names field and remedy, and all is back when the class is as it was."""
    name = make_class(**POLICY)
    before = issue(admin, namespace, name, **ASKED)["status"]
    assert before["effective"] == ACCEPTED
    original = admin.request("GET", admin.path("ApiKeyClass", None, name))["spec"]
    change(admin, name, **row.to)
    left = {key: value for key, value in (ACCEPTED | (row.left or {})).items() if value is not None}
    becomes(admin, namespace, left)
    if row.reason:
        stalled = admin.wait(namespace, "key", Stalled=f"True/{row.reason}", Ready="False")
        assert row.part in message_of(stalled)
        assert status_of(stalled)["Active"].startswith(str(row.is_active))
        assert ("disallowedAt" in stalled["status"]) is not row.is_active
    back = {key: original.get(key) for key in row.to}
    change(admin, name, **back)
    becomes(admin, namespace, ACCEPTED)
    after = admin.wait(namespace, "key", Ready="True", Active="True", Stalled="False")["status"]
    assert "disallowedAt" not in after
    assert after["keys"] == before["keys"]
    resumed = [] if row.is_active else ["KeyResumed"]
    expected = ["KeyIssued", *([row.reason] if row.reason else []), *resumed]
    eventually(lambda: told(admin, namespace) == expected)


@pytest.mark.usefixtures("shared_operator")
def test_a_catalogue_for_a_class_without_one(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """What it does not know is gone, and said if the key names it."""
    name = make_class(roles=[{"name": "reader", "scopes": ["logs:read"]}])
    issue(admin, namespace, name, role="reader", scopes=["agents:read", "billing:read"])
    assert effective(admin, namespace)["scopes"] == ["agents:read", "billing:read", "logs:read"]
    # A role names what is in the catalogue, so it changes with it.
    reader = [{"name": "reader", "scopes": ["agents:read"]}]
    change(admin, name, scopes=[{"name": "agents:read"}, {"name": "billing:read"}], roles=reader)
    becomes(admin, namespace, {"role": "reader", "scopes": ["agents:read", "billing:read"], "rateLimits": []})
    assert status_of(admin.get(namespace, "key"))["Ready"] == "True/KeyIssued"
    change(admin, name, scopes=[{"name": "agents:read"}])
    admin.wait(namespace, "key", Stalled="True/ScopeNotAllowed", Active="True")
    becomes(admin, namespace, {"role": "reader", "scopes": ["agents:read"], "rateLimits": []})


@pytest.mark.usefixtures("shared_operator")
def test_a_lower_maximum_ends_a_key_earlier(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Counted from its issue, at once, also of a key about which something else is wrong; a higher one gives it back."""
    name = make_class(lifetime={"default": "90d"})
    status = issue(admin, namespace, name)["status"]
    issued_at = datetime.fromisoformat(status["issuedAt"])

    def lives(days: int) -> bool:
        status = admin.get(namespace, "key")["status"]
        return datetime.fromisoformat(status["keys"][0]["expiresAt"]) - issued_at == timedelta(days=days)

    assert lives(90)
    admin.apikey(namespace, "asks", className=name, ttl="60d")
    admin.wait(namespace, "asks", Active="True")
    change(admin, name, lifetime={"default": "30d", "max": "30d"})
    eventually(lambda: lives(30))
    admin.wait(namespace, "asks", Stalled="True/LifetimeExceeded", Active="True")
    change(admin, name, lifetime={"default": "20d", "max": "20d"}, requires=["displayName"])
    eventually(lambda: lives(20))
    change(admin, name, lifetime={"default": "90d", "max": "365d"}, requires=None)
    eventually(lambda: lives(90))


@pytest.mark.usefixtures("shared_operator")
def test_a_lower_default_is_for_keys_to_come(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """A key that lives keeps the end that it was issued with; a higher default gives it more."""
    name = make_class(lifetime={"default": "90d"})

    def days(key: str) -> int:
        record = admin.wait(namespace, key, Active="True")["status"]["keys"][0]
        lives = datetime.fromisoformat(record["expiresAt"]) - datetime.fromisoformat(record["issuedAt"])
        return lives // timedelta(days=1)

    def change_default(default: str, limit: dict[str, Any]) -> None:
        # What the same look records beside it tells that the operator has seen the class.
        change(admin, name, lifetime={"default": default}, rateLimits=[limit])
        becomes(admin, namespace, {"scopes": [], "rateLimits": [limit]})

    issue(admin, namespace, name)
    change_default("10d", LIMIT)
    assert days("key") == 90
    admin.apikey(namespace, "next", className=name)
    assert days("next") == 10
    change_default("100d", LIMIT | {"requests": 99})
    assert days("key") == 100
    eventually(lambda: days("next") == 100)


OWNED_RULES = "rules:\n- {path: /plain, methods: [GET]}\n"


def test_what_acts_while_the_operator_is_down(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """To ask the owner, the carriers and whose budget it is act at once. That the owner is not asked any more would
    widen a key, and waits.
    """
    namespace, name, rules = make_namespace(own_admin), "down", tmp_path / "rules.yaml"
    rules.write_text(OWNED_RULES)
    limits = {"rateLimits": [LIMIT], "rateLimitPer": "Key"}
    spec = {"hashing": {"algorithm": "sha256"}, "authorization": "Owner", "credentials": {"headers": ["X-API-Key"]}}
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": spec | limits})
    asked = {"owner": {"user": "alice@example.com"}, "rateLimits": [{"name": "minute", "requests": 50}]}
    flags = ("--class", name, "--rules", str(rules), "--usage", "off")
    with verifier(own_plane.kubeconfig, tmp_path / "verifier", *flags) as (_, listen, _admin):

        def says(code: int, header: str, *, budgets: int = 0) -> bool:
            status, fields, _body = get(listen, "/verify/plain", **{header: plain})
            return status == code and fields.get("ratelimit-policy", "").count(";q=") == budgets

        with operator(own_plane.kubeconfig, tmp_path / "first", namespaces=[namespace]):
            issue(own_admin, namespace, name, **asked)
            plain = own_admin.plain_key(namespace, "key")
            eventually(lambda: says(403, "X_API_Key"))
        # One change of the class, seen whole: what acts at once tells that the rest was seen, too.
        change(own_admin, name, authorization="Scopes", credentials={"headers": ["X-Other"]}, rateLimitPer="Owner")
        eventually(lambda: says(403, "X_Other"))
        assert says(401, "X_API_Key")
        with operator(own_plane.kubeconfig, tmp_path / "second", namespaces=[namespace]):
            eventually(lambda: says(200, "X_Other", budgets=2))
        change(own_admin, name, rateLimitPer="Key")
        eventually(lambda: says(200, "X_Other", budgets=1))
        change(own_admin, name, authorization="Owner")
        eventually(lambda: says(403, "X_Other"))


@pytest.mark.usefixtures("shared_operator")
def test_when_to_warn_and_when_to_rotate_follow_the_class(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """``warnBefore`` makes a key expiring at once, told in one event; a changed interval moves ``rotateAt``."""
    name = make_class(lifetime={"default": "90d"})
    issue(admin, namespace, name)
    change(admin, name, warnBefore="90d")
    warned = admin.wait(namespace, "key", Expiring="True/ExpiresSoon", Ready="True", Active="True")
    assert warned["status"]["phase"] == "Expiring"
    for patch in ({"suspended": True}, {"suspended": False}, {"description": "news"}):
        generation = admin.patch(namespace, "key", {"spec": patch})["metadata"]["generation"]
        eventually(lambda g=generation: admin.get(namespace, "key")["status"]["observedGeneration"] == g)  # type: ignore[misc]
    expected = ["KeyIssued", "ExpiresSoon", "KeySuspended", "KeyResumed"]
    eventually(lambda: told(admin, namespace) == expected)
    change(admin, name, warnBefore="1d", rotation={"interval": "10d"})
    admin.wait(namespace, "key", Expiring="False")
    admin.patch(namespace, "key", {"spec": {"rotation": {}}})
    status = eventually(
        lambda: admin.get(namespace, "key")["status"] if "rotateAt" in admin.get(namespace, "key")["status"] else None
    )
    lag = datetime.fromisoformat(status["rotateAt"]) - datetime.fromisoformat(status["issuedAt"])
    assert lag == timedelta(days=10)


@pytest.mark.usefixtures("shared_operator")
def test_labels_of_a_namespace_decide_too(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Not issued where the class is not allowed; issued by itself once it is; barred and back with the label."""
    name = make_class(allowedNamespaces=TEAM_A)
    admin.apikey(namespace, "key", className=name)
    refused = admin.wait(namespace, "key", Stalled="True/ClassNotAllowed", Active="False")
    assert "keys" not in refused["status"]
    assert admin.secret(namespace, "key") is None
    label(admin, namespace, "a")
    issued = admin.wait(namespace, "key", Active="True", Stalled="False")["status"]
    assert "disallowedAt" not in issued
    label(admin, namespace, None)
    barred = admin.wait(namespace, "key", Active="False/ClassNotAllowed")["status"]
    assert barred["phase"] == "Failed"
    assert barred["keys"] == issued["keys"]
    label(admin, namespace, "a")
    admin.wait(namespace, "key", Active="True", Ready="True")
    expected = ["ClassNotAllowed", "KeyIssued", "ClassNotAllowed", "KeyResumed"]
    eventually(lambda: told(admin, namespace) == expected)


@pytest.mark.usefixtures("shared_operator")
def test_grants_bind_whoever_applies_the_yaml(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """A cluster administrator, as a GitOps controller may be, gets for a namespace what is granted to it."""
    name = make_class(grants=[{"namespaces": TEAM_A, "roles": ["readonly"], "owners": ["*@example.com"]}])
    asked = {"role": "readonly", "owner": {"user": "alice@example.com"}}
    admin.apikey(namespace, "key", className=name, **asked)
    refused = admin.wait(namespace, "key", Stalled="True/ClassNotAllowed")
    assert "spec.owner.user" in message_of(refused)
    assert "keys" not in refused["status"]
    label(admin, namespace, "a")
    status = admin.wait(namespace, "key", Active="True", Ready="True")["status"]
    granted = {"role": "readonly", "scopes": ["*:read"], "owner": {"user": "alice@example.com", "groups": []}}
    assert status["effective"] == granted | {"rateLimits": []}
    # A spec that asks for more than is granted gives nothing new, and takes nothing that was there.
    admin.patch(namespace, "key", {"spec": {"scopes": ["agents:write"]}})
    admin.wait(namespace, "key", Stalled="True/ScopeNotAllowed", Active="True")
    assert effective(admin, namespace) == status["effective"]
    change(admin, name, grants=[{"namespaces": TEAM_A, "roles": ["readonly"], "owners": ["*@example.org"]}])
    admin.wait(namespace, "key", Active="False/ClassNotAllowed")


@pytest.mark.usefixtures("shared_operator")
def test_grants_bind_the_groups_of_an_owner_too(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Nobody becomes a platform administrator by having a GitOps controller apply that he is one."""
    grants = {"namespaces": TEAM_A, "owners": ["*"], "groups": ["payments", "team-*"]}
    name = make_class(grants=[grants])
    label(admin, namespace, "a")
    owner = {"user": "alice@example.com", "groups": ["payments", "team-a"]}
    issue(admin, namespace, name, owner=owner)
    admin.apikey(namespace, "forged", className=name, owner=owner | {"groups": ["payments", "platform-admins"]})
    refused = admin.wait(namespace, "forged", Stalled="True/ClassNotAllowed")
    assert "spec.owner.groups" in message_of(refused)
    assert "platform-admins" in message_of(refused)
    assert "keys" not in refused["status"]
    change(admin, name, grants=[grants | {"groups": ["team-*"]}])
    barred = admin.wait(namespace, "key", Active="False/ClassNotAllowed")
    assert "the group payments" in message_of(barred)
    change(admin, name, grants=[{key: grants[key] for key in ("namespaces", "owners")}])
    eventually(lambda: "the group payments" in message_of(admin.get(namespace, "key")))
    change(admin, name, grants=[grants])
    admin.wait(namespace, "key", Active="True", Ready="True")


@pytest.mark.usefixtures("shared_operator")
def test_groups_in_another_order_are_the_same_owner(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """The API server takes them as a set, so whoever applies them sorted changes nothing."""
    issue(admin, namespace, make_class(), owner={"user": "alice@example.com", "groups": ["a", "b"]})
    patched = admin.patch(namespace, "key", {"spec": {"owner": {"user": "alice@example.com", "groups": ["b", "a"]}}})
    assert patched["spec"]["owner"]["groups"] == ["b", "a"]
    generation = patched["metadata"]["generation"]
    eventually(lambda: admin.get(namespace, "key")["status"]["observedGeneration"] == generation)
    assert status_of(admin.get(namespace, "key"))["Active"] == "True/KeyIssued"


@pytest.mark.usefixtures("shared_operator")
def test_a_class_that_goes_and_comes_back(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Its keys are refused meanwhile and keep what they had; the new class judges them as it is."""
    name = make_class(**POLICY)
    before = issue(admin, namespace, name, **ASKED)["status"]
    admin.delete(None, name, "ApiKeyClass")
    gone = admin.wait(namespace, "key", Active="False/ClassNotFound", Stalled="True")
    assert gone["status"]["effective"] == ACCEPTED
    assert gone["status"]["keys"] == before["keys"]
    assert "create it" in message_of(gone)
    make_class(name, **POLICY | {"roles": [ROLES[1]]})
    admin.wait(namespace, "key", Active="True", Stalled="True/RoleNotFound")
    becomes(admin, namespace, {"scopes": ["agents:read", "agents:write"], "rateLimits": ACCEPTED["rateLimits"]})


@pytest.mark.usefixtures("shared_operator")
def test_the_default_class(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Marked; of two the newest; a key stays with the class it was issued under, wherever the mark goes."""
    older, newer = make_class(prefix="kw_older"), make_class(prefix="kw_newer")

    def issued_under(name: str) -> str:
        admin.apikey(namespace, name)
        found: str = admin.wait(namespace, name, Active="True")["status"]["className"]
        return found

    def takes_effect(wanted: str) -> None:
        # The operator learns of a mark by a watch of its own, so the first keys may be too early.
        eventually(lambda: issued_under(f"key-{next(_counter)}") == wanted)

    mark(admin, older)
    takes_effect(older)
    mark(admin, newer)
    takes_effect(newer)
    mark(admin, newer, None)
    takes_effect(older)
    mark(admin, older, None)
    takes_effect("standard")
    for each in admin.list(namespace):
        prefix = {older: "kw_older", newer: "kw_newer", "standard": "kw_live"}[each["status"]["className"]]
        assert each["status"]["maskedKey"].startswith(prefix)
        assert status_of(each)["Active"] == "True/KeyIssued"


@pytest.mark.usefixtures("shared_operator")
def test_standard_is_built_in_whenever_no_object_has_its_name(
    admin: Kube, namespace: str, make_class: MakeClass
) -> None:
    """Creating and deleting it kills no key; while it is there, its policy applies."""
    issue(admin, namespace, "standard", role="readonly")
    make_class("standard", roles=[])
    admin.wait(namespace, "key", Active="True", Stalled="True/RoleNotFound")
    becomes(admin, namespace, {"scopes": [], "rateLimits": []})
    admin.delete(None, "standard", "ApiKeyClass")
    admin.wait(namespace, "key", Active="True", Stalled="False")
    becomes(admin, namespace, {"role": "readonly", "scopes": ["*:read"], "rateLimits": []})


STATED = {"displayName": "name", "role": "readonly", "expiresAt": "2027-06-01T00:00:00Z"}


@pytest.mark.usefixtures("shared_operator")
@pytest.mark.parametrize("required", ["displayName", "role", "expiresAt", "owner"])
def test_what_a_class_requires_is_asked_before_issue(
    admin: Kube, namespace: str, make_class: MakeClass, required: str
) -> None:
    """The message names the field, and the key comes once it is stated."""
    name = f"policy-{next(_counter):03}"
    admin.apikey(namespace, "key", className=name)
    admin.wait(namespace, "key", Stalled="True/ClassNotFound")
    make_class(name, requires=[required])
    refused = admin.wait(namespace, "key", Stalled="True/InvalidSpec")
    assert f"requires spec.{required}: " in message_of(refused)
    assert "keys" not in refused["status"]
    if required == "owner":
        admin.apikey(namespace, "owned", className=name, owner={"user": "alice@example.com"})
        status = admin.wait(namespace, "owned", Active="True")["status"]
        assert status["effective"]["owner"]["user"] == "alice@example.com"
        return
    admin.patch(namespace, "key", {"spec": {required: STATED[required]}})
    admin.wait(namespace, "key", Active="True", Stalled="False")


def test_one_namespace_takes_the_right_to_see_that_one(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """With ``--namespace``, a role that names the namespace is enough; and a restart writes nothing."""
    namespace = make_namespace(own_admin)
    own_admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "operator"}})
    rules = own_admin.request("GET", f"{RBAC}/clusterroles/keywright-operator")["rules"]
    inside = [each for each in rules if "namespaces" not in each["resources"]]
    outside = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"], "resourceNames": [namespace]}
    ]
    for kind, place, role_rules in (
        ("Role", f"namespaces/{namespace}/", inside),
        ("ClusterRole", "", outside),
    ):
        name = f"operator-of-{namespace}"
        own_admin.request("POST", f"{RBAC}/{place}{kind.lower()}s", {"metadata": {"name": name}, "rules": role_rules})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
        }
        own_admin.request("POST", f"{RBAC}/{place}{kind.lower()}bindings", binding)
    account = own_plane.kubeconfig_for_service_account(namespace, "operator")
    user = f"system:serviceaccount:{namespace}:operator"
    await_right(own_admin, user, "watch", "apikeys", namespace=namespace)
    await_right(own_admin, user, "watch", "namespaces", name=namespace, group="")
    own_admin.create(
        {
            "kind": "ApiKeyClass",
            "metadata": {"name": "team-a"},
            "spec": POLICY | {"hashing": {"algorithm": "sha256"}, "allowedNamespaces": TEAM_A},
        }
    )
    label(own_admin, namespace, "a")
    with operator(account, tmp_path / "first", namespaces=[namespace]):
        issue(own_admin, namespace, "team-a", **ASKED)
        label(own_admin, namespace, None)
        own_admin.wait(namespace, "key", Active="False/ClassNotAllowed")
    label(own_admin, namespace, "a")
    with operator(account, tmp_path / "second", namespaces=[namespace]):
        own_admin.wait(namespace, "key", Active="True")
        eventually(lambda: "KeyResumed" in list(own_admin.events(namespace, "key")))

    def written() -> list[str]:
        made = [each for each in requests(own_plane.audit_log) if each.user == user]
        return [each.name for each in made if each.verb not in ("get", "list", "watch")]

    before = len(written())
    with operator(account, tmp_path / "third", namespaces=[namespace]):
        own_admin.apikey(namespace, "another", className="team-a")
        own_admin.wait(namespace, "another", Active="True")
    # It was at work, and the key that was there has had no write of it, nor an event.
    assert "another" in written()[before:]
    assert not any(name == "key" or name.startswith("key.") for name in written()[before:])
    refused = [each for each in requests(own_plane.audit_log) if each.user == user and each.code in (401, 403)]
    assert refused == []
