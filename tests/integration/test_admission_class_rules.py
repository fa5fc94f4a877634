"""What a class says about its keys is told at admission: tried on the real API server."""

from collections.abc import Callable
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import CLASS_RULES, apply
from tests.support.kube import Kube
from tests.support.people import allowed, key, refusal

MakeClass = Callable[..., str]


@pytest.fixture(scope="module")
def admin(own_plane: ControlPlane, own_admin: Kube) -> Kube:
    """The administrator of a control plane with this policy."""
    apply(own_plane, CLASS_RULES)
    return own_admin


RULES: dict[str, Any] = {
    "roles": [{"name": "deployer", "scopes": ["agents:*"]}, {"name": "reader", "scopes": ["*:read"]}],
    "scopes": [{"name": "agents:read"}, {"name": "agents:write"}, {"name": "word"}],
    "lifetime": {"max": "30d12h"},
    "rateLimits": [
        {"name": "minute", "requests": 100, "window": "1m"},
        {"name": "day", "requests": 5000, "window": "1d"},
    ],
}
GOOD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "roles": {"role": "deployer"},
    "scopes": {"scopes": ["agents:read", "word", "agents:*", "*:write", "*"]},
    "the longest ttl": {"ttl": "732h"},
    "a shorter one": {"ttl": "30d11h59m59s"},
    "tighter limits": {
        "rateLimits": [{"name": "minute", "requests": 100, "window": "61s"}, {"name": "day", "requests": 1}]
    },
}
BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown role": ({"role": "admin"}, ("spec.role", "has no role admin", "deployer, reader")),
    "an unknown scope": ({"scopes": ["agents:read", "users:read"]}, ("spec.scopes", "does not know users:read")),
    "a wildcard of nothing": ({"scopes": ["users:*", "*:delete"]}, ("does not know users:*, *:delete",)),
    "a word that is only a half": ({"scopes": ["agents"]}, ("does not know agents:",)),
    "a second too long": ({"ttl": "30d12h1s"}, ("spec.ttl", "30d12h or less")),
    "too long in minutes": ({"ttl": "9999h9999m"}, ("spec.ttl", "30d12h or less")),
    "a limit that is not there": ({"rateLimits": [{"name": "hour", "requests": 1}]}, ("spec.rateLimits: hour",)),
    "a looser limit": ({"rateLimits": [{"name": "day", "requests": 5001}]}, ("spec.rateLimits: day", "no more")),
    "a shorter window": (
        {"rateLimits": [{"name": "minute", "requests": 1, "window": "59s"}]},
        ("spec.rateLimits: minute", "no shorter window"),
    ),
}


def test_what_the_class_does_not_allow_is_refused(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """At creation and when it is changed, with the field and the remedy; also for whoever has every right."""
    name = make_class(**RULES)
    refusal(lambda: admin.create(key(namespace, className=name, role="admin")), status=422)
    for case, spec in GOOD.items():
        admin.apikey(namespace, case.replace(" ", "-"), className=name, **spec)
    for case, (spec, words) in BAD.items():
        for request in (
            lambda s=spec: admin.create(key(namespace, className=name, **s)),
            lambda s=spec: admin.patch(namespace, "nothing", {"spec": s}),
        ):
            message = refusal(request, status=422)
            assert f"class {name}" in message, case
            for word in words:
                assert word in message, case


def test_the_largest_class_is_still_read(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """As many roles, scopes and limits as the schema takes: a policy that costs too much would be passed over."""
    name = make_class(
        roles=[{"name": f"role-{number}".ljust(63, "x"), "scopes": ["*"]} for number in range(32)],
        scopes=[{"name": f"{'a' * 29}{number:02}:{'b' * 31}"} for number in range(64)],
        rateLimits=[
            {"name": f"limit-{number}".ljust(32, "x"), "requests": 9, "window": "9999d9999h9999m9999s"}
            for number in range(8)
        ],
    )
    scopes = [f"*:{'c' * 59}{number:02}" for number in range(16)]
    loose = [
        {"name": f"limit-{number}".ljust(32, "x"), "requests": 9, "window": "9998d9999h9999m9999s"}
        for number in range(8)
    ]
    asked = {"role": "none", "scopes": scopes, "rateLimits": loose}
    for field, value in asked.items():
        spec = {field: value}
        refusal(lambda s=spec: admin.create(key(namespace, className=name, **s)), status=422, saying=f"spec.{field}")  # type: ignore[misc]
    refusal(lambda: admin.create(key(namespace, className=name, **asked)), status=422)


def test_a_class_that_says_nothing_has_the_built_in_roles(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """admin and readonly; and none if the list is empty. Without a catalogue, any scope."""
    silent, none = make_class(), make_class(roles=[])
    message = refusal(lambda: admin.create(key(namespace, className=silent, role="reader")), status=422)
    assert "admin, readonly" in message
    admin.create(key(namespace, className=silent, role="readonly", scopes=["anything:at-all"], ttl="9999d"))
    message = refusal(lambda: admin.create(key(namespace, className=none, role="readonly")), status=422)
    assert "remove it" in message


def test_what_the_class_requires(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Each field at creation; later what was stated stays stated, but for the role, whose removal is a restriction."""
    name = make_class(requires=["displayName", "owner", "role", "expiresAt"])
    full = {"displayName": "key", "owner": {"user": "alice"}, "role": "readonly", "ttl": "1d"}
    for field in full:
        spec = {each: value for each, value in full.items() if each != field}
        message = refusal(lambda s=spec: admin.create(key(namespace, className=name, **s)), status=422)  # type: ignore[misc]
        assert f"requires spec.{'expiresAt or spec.ttl' if field == 'ttl' else field}: set it" in message
    admin.apikey(namespace, "key", className=name, **full)
    for field in ("displayName", "ttl"):
        refusal(lambda f=field: admin.patch(namespace, "key", {"spec": {f: None}}), status=422, saying="set it")  # type: ignore[misc]
    admin.patch(namespace, "key", {"spec": {"role": None}})


def test_a_revocation_says_why_where_the_class_wants_it(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """Only the revocation itself is judged: a key that has been revoked without can be edited."""
    name = make_class()
    for key_name in ("before", "later"):
        admin.apikey(namespace, key_name, className=name)
    admin.patch(namespace, "before", {"spec": {"revoked": True}})
    admin.patch(None, name, {"spec": {"requires": ["revocationReason"]}}, kind="ApiKeyClass")
    born = key(namespace, className=name, revoked=True)
    assert "spec.revocationReason" in refusal(lambda: admin.create(born), status=422)
    for reason in ({}, {"revocationReason": ""}, {"revocationReason": "  "}):
        patch = {"spec": {"revoked": True, **reason}}
        message = refusal(lambda p=patch: admin.patch(namespace, "later", p), status=422)  # type: ignore[misc]
        assert "spec.revocationReason" in message
    admin.patch(namespace, "before", {"spec": {"description": "a label, later"}})
    admin.patch(namespace, "later", {"spec": {"suspended": True}})
    admin.patch(namespace, "later", {"spec": {"revoked": True, "revocationReason": "leak"}})
    admin.patch(namespace, "later", {"spec": {"revocationReason": None}})


def test_only_what_changes_is_judged(admin: Kube, namespace: str, make_class: MakeClass) -> None:
    """A key whose class has become stricter can still be restricted, and edited where nothing is wrong."""
    name = make_class(rateLimits=RULES["rateLimits"])
    before = {
        "role": "admin",
        "scopes": ["users:read", "users:write"],
        "ttl": "90d",
        "rateLimits": [{"name": "minute", "requests": 50}, {"name": "day", "requests": 50}],
    }
    admin.apikey(namespace, "key", className=name, **before)
    changed = {**RULES, "rateLimits": RULES["rateLimits"][1:], "requires": ["displayName", "owner"]}
    admin.patch(None, name, {"spec": changed}, kind="ApiKeyClass")
    refusal(lambda: admin.patch(namespace, "key", {"spec": {"role": "none"}}), status=422)
    for spec in (
        {"description": "edited"},
        {"ttl": "60d"},
        {"scopes": ["users:read"]},
        {"rateLimits": [{"name": "minute", "requests": 50}, {"name": "day", "requests": 5}]},
        {"suspended": True},
        {"revoked": True},
    ):
        admin.patch(namespace, "key", {"spec": spec})


def test_a_key_without_class_is_held_against_the_marked_default(
    admin: Kube, namespace: str, make_class: MakeClass
) -> None:
    """And once the operator has pinned a class, against that one."""
    make_class(**RULES, default=True)
    refusal(lambda: admin.create(key(namespace, role="admin")), status=422)
    admin.apikey(namespace, "key")
    manifest = admin.get(namespace, "key")
    manifest["status"]["className"] = make_class(roles=[{"name": "admin", "scopes": ["*"]}])
    admin.request("PUT", admin.path("ApiKey", namespace, "key", "status"), manifest)
    allowed(lambda: admin.patch(namespace, "key", {"spec": {"role": "admin"}}))
    refusal(lambda: admin.patch(namespace, "key", {"spec": {"role": "deployer"}}), status=422)
