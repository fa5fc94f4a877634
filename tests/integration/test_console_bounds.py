"""A program with a key that manages keys: it acts as the key's owner, and never hands out more than it has itself."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.support.askers import BEHIND_A_PROXY, Asker, editor_at, holder_of
from tests.support.console import Console, console, console_account, serve
from tests.support.kube import Kube, eventually
from tests.support.people import bind_cluster
from tests.support.processes import Process

GROUP = "keywright.dev"
MANAGE = "keys:manage"
ROLES = [{"name": "manager", "scopes": [MANAGE, "agents:*"]}, {"name": "readonly", "scopes": ["*:read"]}]
CATALOGUE = [{"name": each} for each in ("agents:read", "agents:write", "keys:read", MANAGE)]
CLASSES: dict[str, dict[str, Any]] = {
    "guarded": {"roles": ROLES, "rateLimits": [{"name": "minute", "requests": 1000, "window": "1m"}]},
    "rare": {"rateLimits": [{"name": "minute", "requests": 3, "window": "1m"}]},
    "sharing": {"roles": ROLES, "delegation": "Allowed"},
    "listed": {"roles": [*ROLES[1:], {"name": "admin", "scopes": ["*"]}], "scopes": CATALOGUE},
}


@pytest.fixture(scope="module")
def service(
    plane: ControlPlane, admin: Kube, shared_operator: Process, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    """A key service that takes the keys of three classes."""
    account = console_account(plane, admin, everywhere=True)
    for name, spec in CLASSES.items():
        admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": {"prefix": f"kw_{name}"} | spec})
    flags = [part for name in CLASSES for part in ("--class", name)]
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, *flags, *BEHIND_A_PROXY) as running:
        yield running
    for name in CLASSES:
        admin.delete(None, name, kind="ApiKeyClass")


@pytest.fixture
def alice(service: Console, admin: Kube, namespace: str) -> Asker:
    """An editor who may use these classes, and grant whatever they know."""
    serve(admin, namespace)
    bind_cluster(
        admin,
        f"alice-of-{namespace}",
        {"apiGroups": [GROUP], "resources": ["apikeyclasses"], "verbs": ["use"], "resourceNames": [*CLASSES]},
        {"apiGroups": [GROUP], "resources": ["apikeyclasses/roles", "apikeyclasses/scopes"], "verbs": ["grant"]},
    )
    asker = editor_at(service, admin, namespace, f"alice-of-{namespace}")

    def may_grant() -> bool:
        wanted = {"className": "listed", "role": "admin", "scopes": [MANAGE], "name": "first"}
        return asker.ask("POST", "", wanted).status == 201

    eventually(may_grant, within=30)
    assert asker.ask("DELETE", "/first").status == 204
    return asker


def program(alice: Asker, **wanted: Any) -> Asker:
    """Somebody with a key that Alice has made, once the key service knows it."""
    made = alice.create(**wanted)
    holder = holder_of(made["key"], alice.console, alice.namespace)
    eventually(lambda: holder.ask("GET").status == 200, what="the key at the key service")
    return holder


def soon(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat(timespec="seconds")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_what_is_left_out_is_the_key_s_own(alice: Asker, admin: Kube, namespace: str) -> None:
    """Class, owner and end; and the new key is its owner's in every sense, as the audit log has it too."""
    own_end = soon(days=30)
    ci = program(alice, className="guarded", scopes=[MANAGE, "agents:read"], expiresAt=own_end)
    made = ci.create(scopes=["agents:read"])
    assert made["className"] == "guarded"
    assert made["owner"]["user"] == f"alice-of-{namespace}"
    assert instant(made["expiresAt"]) == instant(own_end)
    lived = instant(ci.create(ttl="1d")["expiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23) < lived <= timedelta(days=1)
    assert {each["name"] for each in ci.ask("GET").body["items"]} == {
        each["metadata"]["name"] for each in admin.list(namespace)
    }


@pytest.mark.parametrize(
    ("wanted", "saying"),
    [
        ({"scopes": ["agents:write"]}, "scope"),
        ({"scopes": ["agents:*"]}, "scope"),
        ({"scopes": ["*"]}, "scope"),
        ({"scopes": ["*:read"]}, "scope"),
        ({"role": "readonly"}, "scope"),
        ({"role": "manager"}, "scope"),
        ({"scopes": [MANAGE]}, "may manage keys"),
        ({"scopes": ["keys:*"]}, "scope"),
        ({"className": "sharing"}, "class"),
        ({"className": "standard"}, "class"),
        ({"className": "nothing-of-that-name"}, "class"),
        ({"owner": {"user": "bob"}}, "owner"),
        ({"owner": {"user": "alice", "groups": ["admins"]}}, "owner"),
        ({"expiresAt": "2999-01-01T00:00:00Z"}, "longer"),
        ({"ttl": "31d"}, "longer"),
    ],
)
def test_nothing_beyond_what_the_key_has(bounded: Asker, admin: Kube, wanted: dict[str, Any], saying: str) -> None:
    """Its owner may grant all of it, and the class knows all of it: the key may not hand it out."""
    before = len(admin.list(bounded.namespace))
    if wanted.get("owner", {}).get("user") == "alice":
        wanted = {"owner": wanted["owner"] | {"user": f"alice-of-{bounded.namespace}"}}
    answer = bounded.ask("POST", "", wanted)
    assert (answer.status, answer.code) == (403, "forbidden"), answer
    assert saying in answer.body["detail"]
    assert len(admin.list(bounded.namespace)) == before


@pytest.fixture
def bounded(alice: Asker) -> Asker:
    """A program that may manage keys and read agents, for a month."""
    return program(alice, className="guarded", scopes=[MANAGE, "agents:read"], ttl="30d")


def test_a_key_that_is_not_its_owner_s_does_not_exist(
    alice: Asker, bounded: Asker, service: Console, admin: Kube, namespace: str
) -> None:
    """By name, key id or UID, for looking and for changing, in its namespace and in another: the same bytes."""
    bob = editor_at(service, admin, namespace, f"bob-of-{namespace}")
    his = bob.create(name="bobs")
    requests: list[tuple[str, str, Any]] = [("GET", "", None), ("DELETE", "", None), ("POST", "/revoke", None)]
    requests += [("POST", "/suspend", None), ("POST", "/resume", None), ("POST", "/rotate", {"grace": "0s"})]
    for method, tail, body in requests:
        missing = bounded.ask(method, f"/nothing{tail}", body)
        assert (missing.status, missing.code) == (404, "not_found")
        for reference in ("bobs", his["currentKeyId"], his["uid"]):
            answer = bounded.ask(method, f"/{reference}{tail}", body)
            assert (answer.status, answer.body) == (404, missing.body)
        for elsewhere in ("default", "kube-system", "no-such-namespace"):
            answer = bounded.ask(method, f"/v1/namespaces/{elsewhere}/keys/ci{tail}", body)
            assert (answer.status, answer.body) == (404, missing.body)
    assert bounded.ask("POST", "/v1/namespaces/default/keys", {}).status == 404
    assert "bobs" not in json.dumps(bounded.ask("GET").body)
    assert bounded.ask("GET", f"?owner=bob-of-{namespace}").body["items"] == []
    assert bounded.ask("GET", f"/v1/owners/bob-of-{namespace}/keys").body["items"] == []
    assert bounded.ask("POST", f"/v1/owners/bob-of-{namespace}/revoke").body["items"] == []
    assert admin.get(namespace, "bobs")["spec"].get("revoked", False) is False
    taken = bounded.ask("POST", "", {"name": "bobs", "scopes": ["agents:read"]})
    assert (taken.status, taken.code) == (409, "already_exists")


def test_it_rotates_and_resumes_what_it_could_have_made(alice: Asker, bounded: Asker) -> None:
    """Rotating hands a key out: one that may more, itself included, is not its to have. Ending any of them is."""
    keys: dict[str, dict[str, Any]] = {
        "smaller": {"scopes": ["agents:read"], "ttl": "1d"},
        "wider": {"scopes": ["agents:*"], "ttl": "1d"},
        "longer": {"scopes": ["agents:read"]},
        "manager": {"scopes": [MANAGE], "ttl": "1d"},
    }
    for name, wanted in keys.items():
        alice.create(name=name, className="guarded", **wanted)
    alice.create(name="other", className="sharing", ttl="1d")
    rotated = bounded.ask("POST", "/smaller/rotate", {"grace": "1h"})
    assert rotated.status == 200, rotated
    assert rotated.body["key"].startswith("kw_guarded_")
    for name in ("wider", "longer", "manager", "other"):
        for change in ("rotate", "resume"):
            answer = bounded.ask("POST", f"/{name}/{change}")
            assert (answer.status, answer.code) == (403, "forbidden"), (name, change, answer)
        assert bounded.ask("POST", f"/{name}/suspend").status == 200
        assert bounded.ask("POST", f"/{name}/resume").status == 403
    assert bounded.ask("POST", "/wider/revoke", {"reason": "too wide"}).body["status"] == "Revoked"
    assert bounded.ask("DELETE", "/manager").status == 204
    own = next(each for each in bounded.ask("GET").body["items"] if MANAGE in each["scopes"])
    assert bounded.ask("POST", f"/{own['name']}/rotate").status == 403
    assert bounded.ask("POST", f"/{own['name']}/revoke").status == 200
    eventually(lambda: bounded.ask("GET").status == 401)
    assert bounded.ask("GET").code == "revoked_key"


def test_what_it_hands_out_asks_no_more_often(alice: Asker, admin: Kube, editor: Kube, namespace: str) -> None:
    """A key with a tighter limit than its class's passes it on, and gets hold of none that has a looser one."""
    limits = [{"name": "minute", "requests": 500}]
    alice_s = {"className": "guarded", "owner": {"user": f"alice-of-{namespace}"}}
    admin.apikey(namespace, "tight", scopes=[MANAGE], rateLimits=limits, **alice_s)
    admin.apikey(namespace, "loose", **alice_s)
    admin.wait(namespace, "tight", Active="True")
    admin.wait(namespace, "loose", Active="True")
    holder = holder_of(admin.plain_key(namespace, "tight"), alice.console, namespace)
    eventually(lambda: holder.ask("GET").status == 200)
    made = holder.create(name="made")
    assert admin.get(namespace, made["name"])["spec"]["rateLimits"] == limits
    assert holder.ask("POST", "/made/rotate").status == 200
    answer = holder.ask("POST", "/loose/rotate")
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "more often" in answer.body["detail"]


def test_the_limits_of_a_key_hold_at_the_key_service_too(alice: Asker) -> None:
    """Three requests a minute by its class: the fourth is refused, and told when to try again. Its owner asks on."""
    made = alice.create(className="rare", scopes=["keys:read"])
    holder = holder_of(made["key"], alice.console, alice.namespace)
    eventually(lambda: holder.ask("GET").status == 200, what="the key at the key service")
    assert [holder.ask("GET", f"/{made['name']}").status for _ in range(2)] == [200, 200]
    answer = holder.ask("GET")
    assert (answer.status, answer.code) == (429, "rate_limited")
    assert 1 <= int(answer.fields["retry-after"]) <= 62
    assert alice.ask("GET").status == 200


def test_a_program_that_repeats_itself_gets_its_key_once(alice: Asker, bounded: Asker, admin: Kube) -> None:
    """With an end that counts from the request, too."""
    bounded.create(ttl="1d", idempotency_key="7")
    assert bounded.create(ttl="1d", idempotency_key="7", status=409)["code"] == "already_delivered"
    assert bounded.create(ttl="2d", idempotency_key="7", status=422)["code"] == "invalid_request"
    # Alice herself is another caller, whatever key she has given out.
    alice.create(ttl="1d", idempotency_key="7")
    assert len(admin.list(alice.namespace)) == 3


def test_delegation_is_for_the_class_to_allow(alice: Asker) -> None:
    """Where it does, a key makes others that manage keys, and those make others, each within what its maker has."""
    first = program(alice, className="sharing", role="manager", ttl="10d")
    second = program(first, scopes=[MANAGE, "agents:read"])
    third = program(second, scopes=[MANAGE], ttl="1d")
    assert third.ask("POST", "", {"scopes": ["agents:read"]}).code == "forbidden"
    assert third.ask("POST", "", {"scopes": [MANAGE], "ttl": "2d"}).code == "forbidden"
    assert third.create(ttl="1h")["scopes"] == []
    guarded = program(alice, className="guarded", role="manager", ttl="10d")
    assert "delegation" in guarded.ask("POST", "", {"scopes": [MANAGE]}).body["detail"]
    assert guarded.create(scopes=["agents:*"])["scopes"] == ["agents:*"]


def test_wildcards_of_a_catalogue_are_handed_out_by_who_has_them(alice: Asker) -> None:
    """The admin's key makes a readonly one. One that has each scope by name has not what the catalogue will hold."""
    chief = program(alice, className="listed", role="admin", ttl="10d")
    assert chief.create(role="readonly")["role"] == "readonly"
    assert "may manage keys" in chief.ask("POST", "", {"role": "admin"}).body["detail"]
    named = program(alice, className="listed", scopes=[each["name"] for each in CATALOGUE], ttl="10d")
    assert named.ask("POST", "", {"role": "readonly"}).code == "forbidden"
    assert named.create(scopes=["agents:read", "agents:write"])["status"] == "Expiring"


def test_a_key_that_reads_keys_changes_none(alice: Asker, admin: Kube, namespace: str) -> None:
    """It lists and looks; whatever would change something is 403, and says which scope it takes."""
    reader = program(alice, className="guarded", scopes=["keys:read"], name="reader")
    assert reader.look("reader")["name"] == "reader"
    before = admin.get(namespace, "reader")["spec"]
    for method, path, body in (
        ("POST", "", {}),
        ("POST", "/reader/rotate", {}),
        ("POST", "/reader/suspend", None),
        ("POST", "/reader/resume", None),
        ("POST", "/reader/revoke", None),
        ("DELETE", "/reader", None),
        ("POST", f"/v1/owners/alice-of-{namespace}/revoke", None),
    ):
        answer = reader.ask(method, path, body)
        assert (answer.status, answer.code) == (403, "insufficient_scope"), (method, path, answer)
        assert MANAGE in answer.fields["www-authenticate"]
    assert admin.get(namespace, "reader")["spec"] == before


def test_kubernetes_decides_as_well(alice: Asker, service: Console, admin: Kube, namespace: str) -> None:
    """What the owner may not do any more, her key may not do either: it asks as she would."""
    ci = program(alice, className="guarded", role="manager", ttl="10d")
    assert ci.create(scopes=["agents:read"])["scopes"] == ["agents:read"]
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/alice-of-{namespace}-edit"
    admin.request("DELETE", path)
    eventually(lambda: ci.ask("GET").status == 403, within=30)
    answer = ci.ask("POST", "", {"scopes": ["agents:read"]})
    assert (answer.status, answer.code) == (403, "forbidden")


def test_who_leaves_keeps_no_key_that_a_key_made_meanwhile(
    alice: Asker, bounded: Asker, service: Console, admin: Kube, namespace: str
) -> None:
    """While all keys of somebody are revoked, one of them goes on making others: none is left, and none is shown after
    that.
    """
    every = {"apiGroups": [GROUP], "resources": ["apikeys"], "verbs": ["get", "list", "patch"]}
    bind_cluster(admin, f"root-of-{namespace}", every)
    root = editor_at(service, admin, namespace, f"root-of-{namespace}")
    keys = f"/v1/owners/alice-of-{namespace}"
    eventually(lambda: root.ask("GET", f"{keys}/keys").status == 200, within=30)
    making = threading.Event()

    def make() -> list[str]:
        made: list[str] = []
        while (answer := bounded.ask("POST", "", {"scopes": ["agents:read"]})).status == 201:
            made.append(answer.body["name"])
            making.set()
        return [*made, answer.code or ""]

    for number in range(8):
        alice.create(name=f"z{number}", className="guarded")
    with ThreadPoolExecutor(6) as pool:
        makers = [pool.submit(make) for _ in range(6)]
        assert making.wait(60)
        outcomes = root.ask("POST", f"{keys}/revoke").body["items"]
        assert {each.result()[-1] for each in makers} <= {"revoked_key", "conflict", "invalid_key"}
    assert all(each["revoked"] for each in outcomes)
    living = [each["metadata"]["name"] for each in admin.list(namespace) if not each["spec"].get("revoked")]
    assert living == []
