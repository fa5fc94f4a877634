"""What gives a key more is judged like creating one, what restricts it is free: tried as users on the real API server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.people import allowed, grant, make_user, refused_change
from tests.support.rights import await_right

MakeClass = Callable[..., str]
Patch = dict[str, Any]

ON_CALL = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["get", "update", "patch", "delete"]}
BEFORE: dict[str, Any] = {
    "suspended": True,
    "expiresAt": "2027-01-01T00:00:00Z",
    "role": "readonly",
    "scopes": ["agents:*", "word"],
    "rateLimits": [{"name": "minute", "requests": 10, "window": "1h"}, {"name": "day", "requests": 100}],
    "secret": {"template": {"data": {"A": "$(key)"}}, "delivery": "Once", "removeAfter": "2h", "whenInactive": "Keep"},
}
CLASS = {
    "rateLimits": [
        {"name": "minute", "requests": 100, "window": "1m"},
        {"name": "day", "requests": 5000, "window": "1d"},
        {"name": "burst", "requests": 20, "window": "1s"},
    ]
}
ANNOTATIONS = {"keywright.dev/rotate": "before", "keywright.dev/rotate-grace": "1h"}


def annotation(**values: str | None) -> Patch:
    return {"metadata": {"annotations": {f"keywright.dev/{name.replace('_', '-')}": v for name, v in values.items()}}}


def limits(*listed: tuple[str, int, str | None]) -> Patch:
    found = [{"name": name, "requests": n, **({"window": w} if w else {})} for name, n, w in listed]
    return {"spec": {"rateLimits": found}}


WIDENING: dict[str, Patch] = {
    "a rotation": {"spec": {"rotation": {"trigger": "now"}}},
    "rotation by itself": {"spec": {"rotation": {}}},
    "an annotation": annotation(rotate="now"),
    "another grace for the annotation there is": annotation(rotate_grace="0s"),
    "no grace for the annotation there is": annotation(rotate_grace=None),
    "an adoption": annotation(adopt_secret="0" * 36),
    "rotation on loss": {"spec": {"secret": {"onLoss": "Rotate"}}},
    "another entry of the Secret": {"spec": {"secret": {"template": {"data": {"A": "$(key)", "B": "$(key)"}}}}},
    "one entry less": {"spec": {"secret": {"template": {"data": None}}}},
    "a label of the Secret": {"spec": {"secret": {"template": {"labels": {"a": "b"}}}}},
    "an annotation of the Secret": {"spec": {"secret": {"template": {"annotations": {"a": "b"}}}}},
    "a Secret that stays": {"spec": {"secret": {"delivery": "Persistent"}}},
    "a Secret that stays longer": {"spec": {"secret": {"removeAfter": "3h"}}},
    "a Secret that outlives its ApiKey": {"spec": {"secret": {"deletionPolicy": "Retain"}}},
    "another end of the Secret": {"spec": {"secret": {"whenInactive": "Delete"}}},
    "no wishes for the Secret": {"spec": {"secret": None}},
    "a resumption": {"spec": {"suspended": False}},
    "a resumption by leaving it out": {"spec": {"suspended": None}},
    "a later end": {"spec": {"expiresAt": "2028-01-01T00:00:00Z"}},
    "the same hour further west": {"spec": {"expiresAt": "2027-01-01T00:00:00-01:00"}},
    "no end": {"spec": {"expiresAt": None}},
    "a ttl instead": {"spec": {"expiresAt": None, "ttl": "1s"}},
    "another role": {"spec": {"role": "admin"}},
    "another scope": {"spec": {"scopes": ["agents:*", "word", "users:read"]}},
    "a wider scope": {"spec": {"scopes": ["*"]}},
    "more requests": limits(("minute", 11, "1h"), ("day", 100, None)),
    "a shorter window": limits(("minute", 10, "59m59s"), ("day", 100, None)),
    "the window of the class": limits(("minute", 10, None), ("day", 100, None)),
    "a limit less": limits(("minute", 10, "1h")),
    "no limits": {"spec": {"rateLimits": None}},
    "a resumption behind a restriction": {
        "spec": {"suspended": False, "role": None, "expiresAt": "2026-12-01T00:00:00Z"}
    },
}
FREE: dict[str, Patch] = {
    "a label": {"metadata": {"labels": {"a": "b"}}},
    "what kubectl apply writes": {
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}
    },
    "a description": {"spec": {"description": "for whoever is on call", "displayName": "key"}},
    "no request to rotate": annotation(rotate=None, rotate_grace=None),
    "the defaults spelled out": {
        "spec": {"secret": {"deletionPolicy": "Delete", "onLoss": "Report", "key": "api-key"}}
    },
    "the same end elsewhere": {"spec": {"expiresAt": "2027-01-01T01:00:00+01:00"}},
    "an earlier end": {"spec": {"expiresAt": "2026-12-31T00:00:00Z"}},
    "tighter limits, and one more": limits(("minute", 9, "1d"), ("day", 99, "2d"), ("burst", 1, "1s")),
    "one scope less, one narrower": {"spec": {"scopes": ["agents:read"]}},
    "no scopes": {"spec": {"scopes": None}},
    "no role": {"spec": {"role": None}},
    "a suspension": {"spec": {"suspended": True}},
    "a revocation": {"spec": {"revoked": True, "revocationReason": "leak"}},
}


@pytest.fixture
def on_call(plane: ControlPlane, admin: Kube, namespace: str) -> Iterator[Kube]:
    """Somebody who may change and delete ApiKeys, and nothing else."""
    user = f"on-call-of-{namespace}"
    kube = make_user(plane, admin, namespace, user, ON_CALL)
    await_right(admin, user, "patch", "apikeys", namespace=namespace)
    yield kube
    kube.close()


def make_key(admin: Kube, namespace: str, name: str, class_name: str) -> None:
    manifest = {"name": name, "namespace": namespace, "annotations": ANNOTATIONS}
    admin.create({"kind": "ApiKey", "metadata": manifest, "spec": {"className": class_name, **BEFORE}})


def test_what_widens_is_judged_like_creation(admin: Kube, on_call: Kube, namespace: str, make_class: MakeClass) -> None:
    """Who may change ApiKeys but not create Secrets can restrict, and cannot rotate, resume, extend or widen; with
    Secrets, still not without the class; with all rights, everything."""
    restricted, granted = make_class(**CLASS), make_class(**CLASS)
    user = f"on-call-of-{namespace}"
    make_key(admin, namespace, "key", restricted)
    for case, patch in WIDENING.items():
        message = refused_change(on_call, namespace, "key", patch)
        if "spec.role" not in message and "spec.scopes" not in message and "verb adopt" not in message:
            assert "create Secrets" in message, case
    for resource in ("apikeyclasses/roles", "apikeyclasses/scopes"):
        grant(admin, namespace, user, resource, "grant")
    grant(admin, namespace, user, "apikeys", "adopt")
    grant(admin, namespace, user, "apikeyclasses", "use", granted)
    for case, patch in WIDENING.items():
        assert refused_change(on_call, namespace, "key", patch, saying="create Secrets"), case
    grant(admin, namespace, user, "secrets", "create", group="")
    for case, patch in WIDENING.items():
        assert restricted in refused_change(on_call, namespace, "key", patch, saying="verb use"), case
    for patch in FREE.values():
        on_call.patch(namespace, "key", patch)
    for case, patch in WIDENING.items():
        name = case.replace(" ", "-").lower()
        make_key(admin, namespace, name, granted)
        on_call.patch(namespace, name, patch)


def test_what_restricts_is_free_in_any_company(
    admin: Kube, on_call: Kube, namespace: str, make_class: MakeClass
) -> None:
    """All of it at once, on a key of a class that is not granted."""
    make_key(admin, namespace, "key", make_class(**CLASS))
    refused_change(on_call, namespace, "key", WIDENING["a later end"], saying="create Secrets")
    all_at_once: Patch = {"metadata": {}, "spec": {}}
    for patch in FREE.values():
        for part in patch:
            all_at_once[part] |= patch[part]
    on_call.patch(namespace, "key", all_at_once)
    on_call.delete(namespace, "key")


def test_a_key_as_large_as_the_schema_takes_can_be_restricted(
    admin: Kube, on_call: Kube, namespace: str, make_class: MakeClass
) -> None:
    """Nothing in it costs more than the API server lets a policy spend, and nothing in it cannot be read."""
    names = [f"limit-{number}".ljust(32, "x") for number in range(8)]
    scopes = [f"{'a' * 30}{number:02}:{'b' * 30}" for number in range(16)]
    name = make_class(rateLimits=[{"name": each, "requests": 100, "window": "1s"} for each in names])
    longest = [{"name": each, "requests": 100, "window": "9998d9999h9999m9999s"} for each in names]
    text = {f"entry-{number}": "x" * 4096 for number in range(16)}
    template = {"labels": {f"label-{n}": "x" * 63 for n in range(16)}, "annotations": text, "data": text}
    asked = {"scopes": scopes, "rateLimits": longest, "secret": {"template": template}}
    admin.apikey(namespace, "key", className=name, suspended=True, expiresAt="2027-01-01t00:00:00.5z", **asked)
    refused_change(on_call, namespace, "key", {"spec": {"suspended": False}}, saying="create Secrets")
    narrower = [{**each, "requests": 99, "window": "9999d9999h9999m9999s"} for each in longest]
    on_call.patch(namespace, "key", {"spec": {"rateLimits": narrower, "scopes": scopes[::-1]}})
    refused_change(on_call, namespace, "key", {"spec": {"rateLimits": longest}}, saying="spec.rateLimits")
    refused_change(on_call, namespace, "key", {"spec": {"expiresAt": "2027-01-01t00:00:01z"}}, saying="spec.expiresAt")
    on_call.patch(namespace, "key", {"spec": {"expiresAt": "2026-12-31t00:00:00z"}})
    on_call.patch(namespace, "key", {"spec": {"suspended": True, "revoked": True}})


def test_a_key_of_unknown_class_takes_the_right_to_every_class(admin: Kube, on_call: Kube, namespace: str) -> None:
    """Before the operator has pinned a class, `standard` is a guess: who may use all of them may widen."""
    user = f"on-call-of-{namespace}"
    grant(admin, namespace, user, "secrets", "create", group="")
    admin.apikey(namespace, "key", suspended=True)
    refused_change(on_call, namespace, "key", {"spec": {"suspended": False}}, saying="status.className")
    on_call.patch(namespace, "key", {"spec": {"revocationReason": "drill"}})
    grant(admin, namespace, user, "apikeyclasses", "use")
    allowed(lambda: on_call.patch(namespace, "key", {"spec": {"suspended": False}}))


def test_a_shorter_ttl_is_free_unless_it_rotates(admin: Kube, on_call: Kube, namespace: str) -> None:
    """Where rotation is asked for, a key is replaced a grace period before its ttl is over."""
    admin.apikey(namespace, "plain", className="standard", ttl="2d")
    admin.apikey(namespace, "rotating", className="standard", ttl="2d", rotation={})
    for name in ("plain", "rotating"):
        refused_change(on_call, namespace, name, {"spec": {"ttl": "49h"}}, saying="create Secrets")
        refused_change(on_call, namespace, name, {"spec": {"ttl": None}}, saying="create Secrets")
    on_call.patch(namespace, "plain", {"spec": {"ttl": "1d23h59m59s"}})
    refused_change(on_call, namespace, "plain", {"spec": {"ttl": "2d"}}, saying="create Secrets")
    refused_change(on_call, namespace, "rotating", {"spec": {"ttl": "1d"}}, saying="create Secrets")
    on_call.patch(namespace, "rotating", {"spec": {"ttl": "1d", "rotation": None}})


def test_an_end_is_not_taken_back_while_the_operator_is_away(admin: Kube, on_call: Kube, namespace: str) -> None:
    """The status still tells the old end; what was shortened in the meantime stays so."""
    admin.apikey(namespace, "key", className="standard", ttl="90d")
    manifest = admin.get(namespace, "key")
    record = {"id": "0" * 12, "state": "Current", "hash": "sha256:" + "0" * 64, "issuedAt": "2027-01-01T00:00:00Z"}
    manifest["status"] |= {"keys": [record], "expiresAt": "2027-04-01T00:00:00Z"}
    admin.request("PUT", admin.path("ApiKey", namespace, "key", "status"), manifest)

    def end(instant: str) -> Patch:
        return {"spec": {"expiresAt": instant, "ttl": None}}

    refused_change(on_call, namespace, "key", end("2027-04-02T00:00:00Z"), saying="create Secrets")
    on_call.patch(namespace, "key", {"spec": {"ttl": "10d"}})
    refused_change(on_call, namespace, "key", end("2027-03-01T00:00:00Z"), saying="create Secrets")
    on_call.patch(namespace, "key", end("2027-01-10T00:00:00Z"))
    refused_change(on_call, namespace, "key", end("2027-01-11T00:00:00Z"), saying="create Secrets")


@pytest.mark.usefixtures("shared_operator")
def test_an_end_before_the_one_there_is_is_free(admin: Kube, on_call: Kube, namespace: str) -> None:
    """Whoever is on call may give an issued key an end that it did not have, and not take it back."""
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    allowed(lambda: on_call.patch(namespace, "key", {"spec": {"expiresAt": "2027-01-01T00:00:00Z"}}))
    eventually(lambda: "expiresAt" in admin.get(namespace, "key")["status"])
    refused_change(on_call, namespace, "key", {"spec": {"expiresAt": None}}, saying="create Secrets")
