"""Keys by REST: what people and programs may ask for, as themselves, and that nothing is half made."""

import contextlib
import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from keywright_local import AuditLevel, ControlPlane
from tests.integration.conftest import Namespaces, install
from tests.integration.test_canary import everything, without_secrets
from tests.support.askers import BEHIND_A_PROXY, Asker, editor_at
from tests.support.both_ways import ACTIONS, BothWays
from tests.support.console import Console, console, console_account, make_account, serve
from tests.support.kube import Kube, eventually
from tests.support.people import RBAC, bind, bind_cluster, key, make_user, succeeds
from tests.support.processes import Process, get, operator, verifier


@pytest.fixture(scope="module")
def service(
    plane: ControlPlane, admin: Kube, shared_operator: Process, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    """A key service of all namespaces, behind a proxy that names people."""
    account = console_account(plane, admin, everywhere=True)
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, *BEHIND_A_PROXY) as running:
        yield running


@pytest.fixture
def alice(service: Console, admin: Kube, namespace: str) -> Asker:
    """Somebody who may edit the test's namespace, and nothing else."""
    serve(admin, namespace)
    return editor_at(service, admin, namespace, f"alice-of-{namespace}")


def accepts(verifying: str, plain: str) -> bool:
    return get(verifying, X_API_Key=plain)[0] == 200


def refuses(verifying: str, plain: str) -> bool:
    return get(verifying, X_API_Key=plain)[0] == 401


def names(admin: Kube, namespace: str) -> set[str]:
    return {each["metadata"]["name"] for each in admin.list(namespace)}


def secrets(admin: Kube, namespace: str) -> list[str]:
    found = admin.request("GET", f"/api/v1/namespaces/{namespace}/secrets")["items"]
    return [each["metadata"]["name"] for each in found]


def test_a_new_key_is_shown_once_and_works_at_once(alice: Asker, admin: Kube, namespace: str, verifying: str) -> None:
    """The answer holds the key and says where it is; its Secret is gone by then; a verifier accepts it; no look at it
    afterwards shows the key again, or anything that it could be found by.
    """
    answer = alice.ask("POST", "", {"displayName": "nightly <b>build</b>", "description": "of the shop", "ttl": "30d"})
    assert secrets(admin, namespace) == []
    assert answer.status == 201
    assert answer.fields["cache-control"] == "no-store"
    made = answer.body
    assert answer.fields["location"] == f"/v1/namespaces/{namespace}/keys/{made['name']}"
    assert made["name"].startswith("ak-")
    assert (made["displayName"], made["status"], made["owner"]["user"]) == (
        "nightly <b>build</b>",
        "Active",
        f"alice-of-{namespace}",
    )
    eventually(lambda: accepts(verifying, made["key"]), what="the new key at the verifier")
    spec = admin.get(namespace, made["name"])["spec"]
    assert spec["secret"] == {
        "delivery": "Once",
        "removeAfter": "5m",
        "deletionPolicy": "Delete",
        "onLoss": "Report",
        "whenInactive": "Delete",
    }
    record = admin.get(namespace, made["name"])["status"]["keys"][0]
    shown = json.dumps([alice.look(made["name"]), alice.ask("GET").body, alice.ask("GET", "/v1/classes").body])
    for hidden in (made["key"], made["key"][20:], record["hash"], record["fingerprint"], "argon2"):
        assert hidden not in shown
    assert {name for name in made if name not in alice.look(made["name"])} == {"key"}


def test_whose_key_it_is(service: Console, alice: Asker, admin: Kube, namespace: str) -> None:
    """A person's own, with the groups that he came with; an account, which makes keys for others, names an owner or
    has none. Nobody names another.
    """
    member = Asker(
        console=service, namespace=namespace, headers=dict(alice.headers) | {"X-Remote-Groups": "dev, payments"}
    )
    user = f"alice-of-{namespace}"
    assert member.create()["owner"] == {"user": user, "groups": ["dev", "payments"]}
    assert member.create(owner={"user": user})["owner"] == {"user": user, "groups": []}
    assert "impersonate" in member.create(owner={"user": "bob"}, status=403)["detail"]
    assert "impersonate" in member.create(owner={"user": user, "groups": ["admins"]}, status=403)["detail"]
    token = make_account(admin, namespace, "builder", "edit")
    account = Asker(console=service, namespace=namespace, headers={"Authorization": f"Bearer {token}"})
    eventually(lambda: account.ask("GET").status == 200, within=30)
    assert account.create()["owner"] is None
    own = {"user": f"system:serviceaccount:{namespace}:builder"}
    assert account.create(owner=own)["owner"]["user"] == own["user"]


def test_who_may_not_read_secrets_gets_no_key(
    service: Console, plane: ControlPlane, admin: Kube, namespace: str
) -> None:
    """He is told which right he lacks, and the ApiKey that he could make is taken back."""
    serve(admin, namespace)
    user = f"carl-of-{namespace}"
    make_user(
        plane, admin, namespace, user, {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["*"]}
    ).close()
    carl = Asker(console=service, namespace=namespace, headers={"X-Remote-User": user})
    eventually(lambda: carl.ask("GET").status == 200, within=30)
    answer = carl.ask("POST", "", {"name": "ci"})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "You may not get secrets here" in answer.body["detail"]
    assert names(admin, namespace) == set()


def test_a_key_is_found_by_name_by_key_id_and_by_uid(alice: Asker) -> None:
    """All three lead to the same."""
    made = alice.create(name="ci", displayName="CI")
    found = [alice.look(each) for each in ("ci", made["currentKeyId"], made["uid"])]
    assert {each["uid"] for each in found} == {made["uid"]}
    for missing in ("cd", "0" * 12, "00000000-0000-0000-0000-000000000000", "x" * 63):
        answer = alice.ask("GET", f"/{missing}")
        assert (answer.status, answer.code) == (404, "not_found")


def test_lists_are_filtered_and_paged(alice: Asker, editor: Kube, namespace: str) -> None:
    """By display name, status and owner, each key exactly once however small the pages are."""
    owner = {"user": f"editor-of-{namespace}"}
    for number in range(7):
        named = {"displayName": "twin"} if number in (2, 5) else {}
        editor.apikey(namespace, f"key-{number}", suspended=number % 3 == 0, owner=owner, **named)
    for number in range(7):
        editor.wait(namespace, f"key-{number}", Ready="True")
    alice.create(name="zz")

    def listed(query: str) -> list[str]:
        found, following = [], ""
        while True:
            answer = alice.ask("GET", f"?{query}{following}")
            assert answer.status == 200, answer
            found += [each["name"] for each in answer.body["items"]]
            if answer.body["next"] is None:
                return found
            following = f"&cursor={answer.body['next']}"

    everyone = [f"key-{number}" for number in range(7)]
    for limit in (1, 2, 3, 100):
        assert listed(f"limit={limit}") == [*everyone, "zz"]
        assert listed(f"limit={limit}&status=Suspended") == ["key-0", "key-3", "key-6"]
        assert listed(f"limit={limit}&displayName=twin") == ["key-2", "key-5"]
        assert listed(f"limit={limit}&owner=editor-of-{namespace}") == everyone
        assert listed(f"limit={limit}&owner=nobody%2Cspec.x%3Dy") == []
    assert listed("status=Active&displayName=zz") == ["zz"]


def test_rotation_hands_out_a_second_key_and_ends_the_first(alice: Asker, verifying: str) -> None:
    """Both work for the grace period; the next rotation without one ends both that were before it."""
    first = alice.create(name="ci")
    second = alice.ask("POST", "/ci/rotate", {"grace": "1h"})
    assert second.status == 200, second
    assert second.fields["cache-control"] == "no-store"
    assert second.body["key"] != first["key"]
    assert [each["state"] for each in second.body["keys"]] == ["Retiring", "Current"]
    assert second.body["keys"][0]["expiresAt"] is not None
    eventually(lambda: accepts(verifying, second.body["key"]) and accepts(verifying, first["key"]))
    third = alice.ask("POST", "/ci/rotate", {"grace": "0s"})
    eventually(lambda: accepts(verifying, third.body["key"]))
    eventually(lambda: refuses(verifying, first["key"]) and refuses(verifying, second.body["key"]))


def test_a_key_that_stays_in_its_secret_is_rotated_there(alice: Asker, editor: Kube, namespace: str) -> None:
    """It is not shown: whoever may read the Secret has it."""
    editor.apikey(namespace, "gitops")
    editor.wait(namespace, "gitops", Active="True")
    before = editor.plain_key(namespace, "gitops")
    answer = alice.ask("POST", "/gitops/rotate")
    assert (answer.status, answer.body["key"]) == (200, None)
    after = editor.plain_key(namespace, "gitops")
    assert after != before
    assert after not in json.dumps(answer.body)


def test_suspended_resumed_and_revoked(alice: Asker, verifying: str) -> None:
    """Each acts at the verifier, and says so in its own answer; what is over cannot be brought back."""
    plain = alice.create(name="ci")["key"]
    eventually(lambda: accepts(verifying, plain))
    assert alice.ask("POST", "/ci/suspend").body["status"] == "Suspended"
    eventually(lambda: refuses(verifying, plain))
    assert alice.ask("POST", "/ci/rotate").code == "conflict"
    assert alice.ask("POST", "/ci/resume").status == 200
    # That it is active is for the operator to say: a late one is not waited for.
    eventually(lambda: alice.look("ci")["status"] == "Active")
    eventually(lambda: accepts(verifying, plain))
    revoked = alice.ask("POST", "/ci/revoke", {"reason": "seen in a log"})
    assert (revoked.status, revoked.body["status"], revoked.body["isOver"]) == (200, "Revoked", True)
    eventually(lambda: refuses(verifying, plain))
    eventually(lambda: any("seen in a log" in each["message"] for each in alice.look("ci")["conditions"]))
    for change in ("resume", "rotate"):
        answer = alice.ask("POST", f"/ci/{change}")
        assert (answer.status, answer.code) == (409, "conflict")
    assert alice.ask("POST", "/ci/revoke").status == 200


def test_a_deleted_key_is_refused_and_gone(alice: Asker, verifying: str) -> None:
    """Deleting is an end as well, by key id too."""
    made = alice.create()
    eventually(lambda: accepts(verifying, made["key"]))
    assert alice.ask("DELETE", f"/{made['currentKeyId']}").status == 204
    eventually(lambda: refuses(verifying, made["key"]))
    assert alice.ask("GET", f"/{made['name']}").status == 404
    assert alice.ask("DELETE", f"/{made['name']}").status == 404


# What people of each kind may do with a key; those of "no grant" are editors, and its class is not granted to them.
ENDING = {"list", "get", "suspend", "revoke", "delete"}
KINDS: dict[str, tuple[list[dict[str, Any]] | str | None, set[str]]] = {
    "no rights": (None, set()),
    "view": ("view", {"list", "get"}),
    "edit": ("edit", set(ACTIONS)),
    "keys alone": ([{"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["*"]}], ENDING),
    "no grant": ("edit", ENDING),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_does_more_than_he_may_with_kubectl(
    plane: ControlPlane,
    service: Console,
    admin: Kube,
    namespace: str,
    make_class: Callable[..., str],
    kind: str,
) -> None:
    """Both are asked, action by action, as the same person: the API server itself, and the key service by REST and in
    the pages. They agree, and what is refused has changed nothing.
    """
    serve(admin, namespace)
    rights, expected = KINDS[kind]
    user = f"dana-of-{namespace}"
    if isinstance(rights, str):
        bind(admin, namespace, user, rights)
    elif rights is not None:
        make_user(plane, admin, namespace, user, *rights).close()
    class_name = make_class(prefix="kw_dana") if kind == "no grant" else "standard"
    admin.put_secret(namespace, {"metadata": {"name": "any"}})
    admin.apikey(namespace, "hers", className=class_name, owner={"user": user}, secret={"delivery": "Once"})
    admin.wait(namespace, "hers", Active="True")

    def state() -> Any:
        found = admin.get(namespace, "hers")
        return found["spec"], found["status"]["keys"], names(admin, namespace)

    with contextlib.closing(Kube(plane.kubeconfig_for(user))) as kube:
        asker = Asker(console=service, namespace=namespace, headers={"X-Remote-User": user})
        dana = BothWays(kube=kube, asker=asker, class_name=class_name, secret="any")
        eventually(lambda: dana.may_by_kubectl("list", "hers") == ("list" in expected), within=30)
        found: dict[str, tuple[bool, bool]] = {}
        for action in ACTIONS:
            admin.patch(namespace, "hers", {"spec": {"suspended": action == "resume"}})
            before = state()
            by_kubectl = dana.may_by_kubectl(action, "hers")
            assert state() == before, "a dry run has changed something"
            found[action] = (by_kubectl, dana.may_by_rest(action, "hers"))
            if not found[action][1]:
                assert state() == before, f"{action} was refused, and has changed something"
            if action == "suspend":
                admin.patch(namespace, "hers", {"spec": {"suspended": False}})
                assert dana.may_look_in_pages("hers") == found["get"][0]
                assert dana.may_suspend_in_pages("hers") == by_kubectl
                assert admin.get(namespace, "hers")["spec"]["suspended"] == by_kubectl
    assert found == {action: (action in expected, action in expected) for action in ACTIONS}


def test_who_has_no_right_is_told_what_to_ask_for(
    alice: Asker, admin: Kube, make_namespace: Namespaces, service: Console
) -> None:
    """In a namespace where he has no right each request is refused, and says what to ask for; nothing is made."""
    elsewhere = make_namespace(admin)
    serve(admin, elsewhere)
    editor_at(service, admin, elsewhere, f"bob-of-{elsewhere}").create(name="his")
    stranger = Asker(console=service, namespace=elsewhere, headers=alice.headers)
    for method, path, body in (
        ("GET", "", None),
        ("POST", "", {}),
        ("GET", "/his", None),
        ("POST", "/his/revoke", None),
        ("POST", "/his/rotate", None),
        ("DELETE", "/his", None),
    ):
        answer = stranger.ask(method, path, body)
        assert (answer.status, answer.code) == (403, "forbidden"), (method, path, answer)
        assert "ClusterRole keywright-" in answer.body["detail"]
    assert names(admin, elsewhere) == {"his"}
    assert not admin.get(elsewhere, "his")["spec"].get("revoked")


def test_a_namespace_that_is_not_served_does_not_exist(
    plane: ControlPlane, admin: Kube, service: Console, namespace: str, tmp_path: Path
) -> None:
    """Whatever rights somebody has there."""
    serve(admin, namespace)
    editor_at(service, admin, namespace, f"alice-of-{namespace}")
    account = console_account(plane, admin, everywhere=True)
    with console(account, tmp_path / "log", *BEHIND_A_PROXY, namespaces=["default"]) as narrow:
        asker = Asker(console=narrow, namespace=namespace, headers={"X-Remote-User": f"alice-of-{namespace}"})
        for method, path, body in (("GET", "", None), ("POST", "", {}), ("GET", "/ci", None)):
            assert asker.ask(method, path, body).code == "not_found"
    assert admin.list(namespace) == []


def test_what_policy_refuses_is_told_in_its_words(
    alice: Asker, admin: Kube, make_class: Callable[..., str], namespace: str
) -> None:
    """A class that he may not use, a role that he may not grant: 403, with what to ask for."""
    name = make_class(prefix="kw_rest")
    answer = alice.ask("POST", "", {"className": name})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert f"ask for the verb use on apikeyclasses/{name}" in answer.body["detail"]
    answer = alice.ask("POST", "", {"className": "standard", "role": "admin"})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "apikeyclasses/roles standard:admin" in answer.body["detail"]
    assert admin.list(namespace) == []


def test_what_the_operator_refuses_leaves_nothing_behind(
    alice: Asker, admin: Kube, make_class: Callable[..., str], namespace: str
) -> None:
    """An end beyond what the class allows is told by the operator, after the ApiKey was made: it is taken back."""
    name = make_class(prefix="kw_rest", lifetime={"max": "10d"})
    bind_cluster(
        admin,
        f"alice-of-{namespace}",
        {"apiGroups": ["keywright.dev"], "resources": ["apikeyclasses"], "verbs": ["use"], "resourceNames": [name]},
    )
    eventually(lambda: alice.ask("POST", "", {"className": name, "ttl": "1d"}).status == 201, within=30)
    before = names(admin, namespace)
    for end in ({"expiresAt": "2999-01-01T00:00:00Z"}, {"ttl": "11d"}):
        answer = alice.ask("POST", "", {"className": name, **end})
        assert (answer.status, answer.code) == (422, "invalid_request"), answer
        assert "beyond lifetime.max" in answer.body["detail"]
    assert names(admin, namespace) == before


def test_a_name_that_is_taken_is_not_touched(alice: Asker, admin: Kube, namespace: str, verifying: str) -> None:
    """409, and the key of that name works on."""
    plain = alice.create(name="ci")["key"]
    before = admin.get(namespace, "ci")
    assert alice.create(name="ci", status=409)["code"] == "already_exists"
    assert admin.get(namespace, "ci")["metadata"]["uid"] == before["metadata"]["uid"]
    eventually(lambda: accepts(verifying, plain))


def test_a_change_can_be_bound_to_what_was_seen(alice: Asker, admin: Kube, namespace: str) -> None:
    """If-Match with the ETag of before: 412 once the key has changed, and nothing is done."""
    alice.create(name="ci")
    seen = alice.ask("GET", "/ci").fields["etag"]
    admin.patch(namespace, "ci", {"spec": {"description": "changed meanwhile"}})
    for method, path, body in (
        ("POST", "/ci/suspend", None),
        ("POST", "/ci/revoke", None),
        ("POST", "/ci/rotate", {}),
        ("DELETE", "/ci", None),
    ):
        for tag in (seen, f"W/{seen}", "x"):
            answer = alice.ask(method, path, body, If_Match=tag)
            assert (answer.status, answer.code) == (412, "conflict"), (path, tag, answer)
    spec = admin.get(namespace, "ci")["spec"]
    assert not spec.get("suspended")
    assert not spec.get("revoked")

    def is_suspended() -> bool:
        # The operator writes as well: a version may be outdated as soon as it was read.
        answer = alice.ask("POST", "/ci/suspend", If_Match=alice.ask("GET", "/ci").fields["etag"])
        return answer.status == 200

    eventually(is_suspended)
    assert alice.ask("POST", "/ci/resume", If_Match="*").status == 200


def test_a_repeated_request_makes_nothing_twice(alice: Asker, admin: Kube, namespace: str) -> None:
    """The same Idempotency-Key with the same body says that the key was shown; with another body that is an error."""
    made = alice.create(displayName="nightly", idempotency_key="4711")
    answer = alice.ask("POST", "", {"displayName": "nightly"}, Idempotency_Key="4711")
    assert (answer.status, answer.code) == (409, "already_delivered")
    assert answer.fields["location"].endswith(f"/keys/{made['name']}")
    answer = alice.ask("POST", "", {"displayName": "weekly"}, Idempotency_Key="4711")
    assert (answer.status, answer.code) == (422, "invalid_request")
    alice.create(name="ci", idempotency_key="0815")
    assert alice.create(name="ci", idempotency_key="0815", status=409)["code"] == "already_delivered"
    assert alice.create(name="ci", idempotency_key="0816", status=409)["code"] == "already_exists"
    alice.create(displayName="nightly", idempotency_key="4712")
    assert len(admin.list(namespace)) == 3


def test_of_two_same_requests_at_once_one_gets_the_key(
    alice: Asker, admin: Kube, namespace: str, verifying: str
) -> None:
    """Both mean the same ApiKey, its key goes to exactly one of them, and it works."""
    for number in range(4):
        with ThreadPoolExecutor(3) as pool:
            asked = [
                pool.submit(alice.ask, "POST", "", {"displayName": "x"}, Idempotency_Key=f"n{number}") for _ in range(3)
            ]
            answers = [each.result() for each in asked]
        assert sorted((each.status, each.code) for each in answers) == [
            (201, None),
            (409, "already_delivered"),
            (409, "already_delivered"),
        ], answers
        (made,) = (each.body for each in answers if each.status == 201)
        eventually(partial(accepts, verifying, made["key"]))
        assert len(admin.list(namespace)) == number + 1
    assert secrets(admin, namespace) == []


def test_whoever_vanishes_leaves_no_key_behind(service: Console, alice: Asker, admin: Kube, namespace: str) -> None:
    """The ApiKey of a client that is gone before its answer could be sent is deleted again, and its Secret with it."""

    def is_taken_back(name: str) -> bool:
        body = json.dumps({"name": name}).encode()
        fields = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{field}: {value}\r\n" for field, value in (fields | dict(alice.headers)).items()]
        head = f"POST /v1/namespaces/{namespace}/keys HTTP/1.1\r\n" + "".join(lines) + "\r\n"
        host, port = service.address.split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.encode() + body)
            eventually(lambda: name in names(admin, namespace), what="an ApiKey is made")
        line = eventually(lambda: re.search(rf"/keys/{name}: .*", service.process.log), what="the request is done")[0]
        is_gone = name not in names(admin, namespace)
        assert line.endswith(": no answer, and what was made is taken back" if is_gone else ": 201")
        return is_gone

    # On a busy machine an answer may have been on its way already: such a client has lost its key, as told.
    assert any(is_taken_back(f"ghost-{number}") for number in range(10))
    assert secrets(admin, namespace) == []


def test_revoking_all_keys_of_somebody_who_leaves(
    alice: Asker, admin: Kube, service: Console, make_namespace: Namespaces, namespace: str, verifying: str
) -> None:
    """For who may list keys everywhere: in all namespaces, each of them named. An editor of one namespace is refused,
    and not one key is revoked by it.
    """
    leaver = f"alice-of-{namespace}"
    elsewhere = make_namespace(admin)
    serve(admin, elsewhere)
    plain = [alice.create(name="here")["key"], editor_at(service, admin, elsewhere, leaver).create(name="there")["key"]]
    bob = editor_at(service, admin, namespace, f"bob-of-{namespace}")
    bob.create(name="bobs")
    for each in plain:
        eventually(partial(accepts, verifying, each))
    for path, method in ((f"/v1/owners/{leaver}/keys", "GET"), (f"/v1/owners/{leaver}/revoke", "POST")):
        answer = bob.ask(method, path)
        assert (answer.status, answer.code) == (403, "forbidden")
    assert all(accepts(verifying, each) for each in plain)
    everything_of_keys = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["get", "list", "patch"]}
    bind_cluster(admin, f"carol-of-{namespace}", everything_of_keys)
    carol = Asker(console=service, namespace=namespace, headers={"X-Remote-User": f"carol-of-{namespace}"})
    eventually(lambda: carol.ask("GET", f"/v1/owners/{leaver}/keys").status == 200, within=30)
    listed = carol.ask("GET", f"/v1/owners/{leaver}/keys").body["items"]
    assert {(each["namespace"], each["name"]) for each in listed} == {(namespace, "here"), (elsewhere, "there")}
    done = carol.ask("POST", f"/v1/owners/{leaver}/revoke", {"reason": "left the company"}).body["items"]
    assert [each["problem"] for each in done] == [None, None]
    assert all(each["revoked"] for each in done)
    for each in plain:
        eventually(partial(refuses, verifying, each))
    assert carol.ask("POST", f"/v1/owners/{leaver}/revoke").body["items"] == []
    assert bob.look("bobs")["status"] == "Active"


def test_keys_of_an_owner_are_shown_where_one_may_look_and_revoked_where_one_may_look_everywhere(
    plane: ControlPlane,
    service: Console,
    admin: Kube,
    make_namespace: Namespaces,
    namespace: str,
    verifying: str,
    tmp_path: Path,
) -> None:
    """Of two namespaces that are served, with rights in one only: its keys are listed, and revoking all is refused, in
    that one too. With rights in both, all of them are revoked.
    """
    elsewhere = make_namespace(admin)
    leaver = f"alice-of-{namespace}"
    plain = []
    for place in (namespace, elsewhere):
        serve(admin, place)
        plain.append(editor_at(service, admin, place, leaver).create(name="hers")["key"])
    account = console_account(plane, admin, everywhere=True)
    with console(account, tmp_path / "log", *BEHIND_A_PROXY, namespaces=[namespace, elsewhere]) as narrow:
        carol = editor_at(narrow, admin, namespace, f"carol-of-{namespace}")
        listed = carol.ask("GET", f"/v1/owners/{leaver}/keys")
        assert listed.status == 200, listed
        assert [each["namespace"] for each in listed.body["items"]] == [namespace]
        refused = carol.ask("POST", f"/v1/owners/{leaver}/revoke")
        assert (refused.status, refused.code) == (403, "forbidden")
        assert not any(admin.get(place, "hers")["spec"].get("revoked") for place in (namespace, elsewhere))
        for each in plain:
            eventually(partial(accepts, verifying, each))
        bind(admin, elsewhere, f"carol-of-{namespace}", "edit")
        place = f"/v1/namespaces/{elsewhere}/keys"
        eventually(lambda: carol.ask("GET", place).status == 200, within=30)
        done = carol.ask("POST", f"/v1/owners/{leaver}/revoke").body["items"]
        assert {(each["namespace"], each["revoked"]) for each in done} == {(namespace, True), (elsewhere, True)}
    for each in plain:
        eventually(partial(refuses, verifying, each))


BODIES: list[tuple[str, str]] = [
    ('{"nmae": "ci"}', "nmae"),
    ('{"name": "CI"}', "name"),
    ('{"name": "a/b"}', "name"),
    ('{"name": ".."}', "name"),
    ('{"name": 5}', "name"),
    ('{"name": "%s"}' % ("x" * 64), "name"),
    ('{"name": "3f0c2a4e-9d55-4c5e-8f0b-2b1f6f0f7a11"}', "name"),
    ('{"displayName": ""}', "displayName"),
    ('{"display_name": "x"}', "display_name"),
    ('{"displayName": "%s"}' % ("x" * 129), "displayName"),
    ('{"displayName": "\\ud800"}', "displayName"),
    ('{"scopes": ["a", "a"]}', "scopes"),
    ('{"scopes": "a"}', "scopes"),
    ('{"scopes": ["A b"]}', "scopes.0"),
    ('{"ttl": 5}', "ttl"),
    ('{"ttl": "5 days"}', "ttl"),
    ('{"ttl": "1d", "expiresAt": "2999-01-01T00:00:00Z"}', "exclude"),
    ('{"expiresAt": 5}', "expiresAt"),
    ('{"expiresAt": "2999-01-01"}', "expiresAt"),
    ('{"expiresAt": "32472144000"}', "expiresAt"),
    ('{"expiresAt": "2001-01-01T00:00:00Z"}', "expiresAt"),
    ('{"owner": {"user": ""}}', "owner.user"),
    ('{"owner": {"user": "x", "root": true}}', "owner.root"),
    ('{"owner": "x"}', "owner"),
    ('{"name": "a", "name": "b"}', "body"),
    ('{"ttl": NaN}', "body"),
    ('{"ttl": %s}' % ("9" * 5000), "body"),
    ("[" * 5000, "body"),
    ('{"description": ' + "[" * 30 + "]" * 30 + "}", "body"),
    ("[]", "body"),
    ("null", "body"),
    ("{", "body"),
    ("", "body"),
]


def test_odd_bodies_are_refused_by_the_name_of_the_field(
    service: Console, alice: Asker, admin: Kube, namespace: str
) -> None:
    """422, with the field and what is wrong with it, and none of the values that were sent."""
    fields = {"Content-Type": "application/json"} | dict(alice.headers)
    for text, named in BODIES:
        status, body = raw(service, "POST", f"/v1/namespaces/{namespace}/keys", text.encode(), fields)
        assert (status, body["code"]) == (422, "invalid_request"), (text[:80], status, body)
        assert named in body["detail"], (text[:80], body)
        assert len(body["detail"]) < 400
    assert admin.list(namespace) == []


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("GET", "/v1/namespaces/{ns}/keys/..", (404, 422)),
        ("GET", "/v1/namespaces/{ns}/keys/%2e%2e", (404, 422)),
        ("GET", "/v1/namespaces/{ns}/keys/..%2f..%2fsecrets", (404, 422)),
        ("GET", "/v1/namespaces/{ns}/keys/ci%2fstatus", (404, 422)),
        ("GET", "/v1/namespaces/{ns}/keys/%00", (404, 422)),
        ("GET", "/v1/namespaces/..%2f../keys", (404, 422)),
        ("GET", "/v1/namespaces/kube-system%2fsecrets/keys", (404, 422)),
        ("GET", "/v1/namespaces/{ns}/keys/", (404, 422)),
        ("GET", "/v1/namespaces//keys", (404, 422)),
        ("GET", "/v1/namespaces/{ns}/keys/ci?x=1", (422,)),
        ("GET", "/v1/namespaces/{ns}/keys?limit=0", (422,)),
        ("GET", "/v1/namespaces/{ns}/keys?limit=501", (422,)),
        ("GET", "/v1/namespaces/{ns}/keys?limit=1&limit=2", (422,)),
        ("GET", "/v1/namespaces/{ns}/keys?status=Odd", (422,)),
        ("GET", "/v1/namespaces/{ns}/keys?cursor=odd", (422,)),
        ("GET", "/v1/namespaces/{ns}/keys?dispalyName=x", (422,)),
        ("PUT", "/v1/namespaces/{ns}/keys/ci", (405,)),
        ("PATCH", "/v1/namespaces/{ns}/keys/ci", (405,)),
        ("OPTIONS", "/v1/namespaces/{ns}/keys", (405,)),
        ("TRACE", "/v1/namespaces/{ns}/keys", (405,)),
        ("GET", "/v1/nothing", (404,)),
    ],
)
def test_odd_addresses_are_problems(
    service: Console, alice: Asker, namespace: str, method: str, path: str, statuses: tuple[int, ...]
) -> None:
    """Nothing reaches another object of the API server, and each refusal is a problem document without what was sent."""
    status, body = raw(service, method, path.format(ns=namespace), b"", alice.headers)
    assert status in statuses, body
    assert body["status"] == status
    assert set(body) == {"type", "title", "status", "code", "detail"}


@pytest.mark.parametrize("name", ["If-Match", "Idempotency-Key"])
def test_what_is_said_twice_is_not_guessed(
    service: Console, alice: Asker, admin: Kube, namespace: str, name: str
) -> None:
    """One of two values would be left out, and nobody knows which."""
    twice = [*alice.headers.items(), (name, "one"), (name, "two"), ("Content-Type", "application/json")]
    status, body = raw(service, "POST", f"/v1/namespaces/{namespace}/keys", b"{}", twice)
    assert (status, body["code"]) == (422, "invalid_request")
    assert names(admin, namespace) == set()


def test_a_secret_that_is_in_the_way_stays_as_it_is(alice: Asker, admin: Kube, namespace: str) -> None:
    """A Secret of that name is somebody else's: 409, no key, and nothing in it has changed."""
    admin.put_secret(namespace, {"metadata": {"name": "taken"}, "stringData": {"api-key": "foreign"}})
    before = admin.secret(namespace, "taken")
    answer = alice.ask("POST", "", {"name": "taken"})
    assert (answer.status, answer.code) == (409, "conflict")
    assert "taken" in answer.body["detail"]
    assert names(admin, namespace) == set()
    assert admin.secret(namespace, "taken") == before


def test_an_owner_may_have_any_name(service: Console, admin: Kube, namespace: str) -> None:
    """Names as OIDC makes them, with slashes and the like, are found by REST too."""
    serve(admin, namespace)
    user = "https://id.example.com/realms/a,b=c#42"
    asker = Asker(console=service, namespace=namespace, headers={"X-Remote-User": user})
    body = {
        "metadata": {"name": "odd"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", body)
    keys = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["list"]}
    bind_cluster(admin, f"carol-of-{namespace}", keys)
    carol = Asker(console=service, namespace=namespace, headers={"X-Remote-User": f"carol-of-{namespace}"})
    eventually(lambda: asker.ask("GET").status == 200, within=30)
    asker.create(name="odd")
    place = f"/v1/owners/{quote(user, safe='')}/keys"
    eventually(lambda: carol.ask("GET", place).status == 200, within=30)
    assert [each["name"] for each in carol.ask("GET", place).body["items"]] == ["odd"]
    assert [each["name"] for each in asker.ask("GET", f"?owner={quote(user, safe='')}").body["items"]] == ["odd"]


def raw(service: Console, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
    """A request that no client would write so."""
    import http.client

    with contextlib.closing(http.client.HTTPConnection(service.address, timeout=60)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        listed = headers if isinstance(headers, list) else list(headers.items())
        for name, value in [*listed, ("Content-Length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        assert "problem+json" in answer.headers["Content-Type"]
        return answer.status, json.loads(answer.read())


@pytest.fixture
def place(own_admin: Kube, make_namespace: Namespaces) -> str:
    """A namespace that is served, where no operator works unless the test runs one."""
    name = make_namespace(own_admin)
    serve(own_admin, name)
    return name


def test_without_an_operator_nothing_is_made(
    own_plane: ControlPlane, own_admin: Kube, place: str, tmp_path: Path
) -> None:
    """After twenty seconds the answer is 504, and the ApiKey is gone."""
    account = console_account(own_plane, own_admin, everywhere=True)
    with console(account, tmp_path / "log", *BEHIND_A_PROXY) as service:
        alice = editor_at(service, own_admin, place, "alice")
        answer = alice.ask("POST", "", {"name": "ci"})
        assert (answer.status, answer.code) == (504, "timeout")
        assert own_admin.list(place) == []


def test_what_somebody_revokes_while_it_is_made_stays_on_record(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """The creation fails, repeatable or not, and does not take back what another was told is revoked."""
    account = console_account(own_plane, own_admin, everywhere=True)
    place = make_namespace(own_admin)
    serve(own_admin, place)
    with console(account, tmp_path / "log", *BEHIND_A_PROXY) as service, ThreadPoolExecutor(2) as pool:
        alice = editor_at(service, own_admin, place, "alice")
        creating = [
            pool.submit(alice.ask, "POST", "", {"name": "once"}),
            pool.submit(alice.ask, "POST", "", {"name": "repeatable"}, Idempotency_Key="1"),
        ]
        eventually(lambda: names(own_admin, place) == {"once", "repeatable"})
        for name in ("once", "repeatable"):
            assert alice.ask("POST", f"/{name}/revoke", {"reason": "a mistake"}).status == 200
        assert {each.result().code for each in creating} <= {"conflict", "timeout"}
        assert [each["spec"]["revocationReason"] for each in own_admin.list(place)] == ["a mistake"] * 2


def test_a_service_that_stops_takes_back_what_it_has_begun(
    own_plane: ControlPlane, own_admin: Kube, place: str, tmp_path: Path
) -> None:
    """SIGTERM in the middle of a creation that no operator helps along: it is answered, and nothing is left."""
    account = console_account(own_plane, own_admin, everywhere=True)
    with console(account, tmp_path / "log", *BEHIND_A_PROXY) as service, ThreadPoolExecutor(1) as pool:
        alice = editor_at(service, own_admin, place, "ann")
        creating = pool.submit(alice.ask, "POST", "", {"name": "ci"})
        eventually(lambda: own_admin.list(place))
        service.process.popen.terminate()
        assert creating.result().code == "timeout"
        assert service.process.popen.wait(60) == 0
        assert own_admin.list(place) == []


def test_a_service_that_is_killed_leaves_what_a_repeated_request_finishes(
    own_plane: ControlPlane, own_admin: Kube, place: str, tmp_path: Path
) -> None:
    """SIGKILL in the middle of creations under Idempotency-Keys. Another replica, asked the same again, hands out the key
    of each exactly once, from the ApiKey that is there; and of those that were killed later, none twice.
    """
    account = console_account(own_plane, own_admin, everywhere=True)
    issuer = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    early, late = [f"early-{number}" for number in range(4)], [f"late-{number}" for number in range(6)]

    def ask(asker: Asker, each: str) -> Any:
        return asker.ask("POST", "", {"displayName": each}, Idempotency_Key=each)

    def ask_and_kill(asker: Asker, several: list[str], is_time: Callable[[], Any]) -> dict[str, Any]:
        """The answers that came before the service was killed, once it is time."""
        with ThreadPoolExecutor(len(several)) as pool:
            asked = {each: pool.submit(ask, asker, each) for each in several}
            eventually(is_time, within=30)
            asker.console.process.kill()
            return {each: future.result() for each, future in asked.items() if future.exception() is None}

    with console(account, tmp_path / "1", *BEHIND_A_PROXY) as service:
        abe = editor_at(service, own_admin, place, "abe")
        assert ask_and_kill(abe, early, lambda: len(own_admin.list(place)) == len(early)) == {}
    begun = {each["spec"]["displayName"]: each["metadata"]["uid"] for each in own_admin.list(place)}
    assert set(begun) == {*early}
    with operator(issuer, tmp_path / "operator"):
        with console(account, tmp_path / "2", *BEHIND_A_PROXY) as second:
            abe = Asker(console=second, namespace=place, headers=abe.headers)
            answers = {each: ask(abe, each) for each in early}
            assert {each: answer.status for each, answer in answers.items()} == dict.fromkeys(early, 201)
            assert {each: answer.body["uid"] for each, answer in answers.items()} == begun
            assert len({answer.body["key"] for answer in answers.values()}) == len(early)
            assert secrets(own_admin, place) == []
            assert {ask(abe, each).code for each in early} == {"already_delivered"}
            first = ask_and_kill(abe, late, lambda: len(own_admin.list(place)) > len(early))
        with console(account, tmp_path / "3", *BEHIND_A_PROXY) as third:
            abe = Asker(console=third, namespace=place, headers=abe.headers)
            again = {each: ask(abe, each) for each in late}
    for each, answer in again.items():
        # Killed between taking a key and answering, it has shown it to nobody, and shows it to nobody any more.
        assert answer.status == 201 or answer.code == "already_delivered", (each, answer)
        assert each not in first or (first[each].status, answer.code) == (201, "already_delivered"), each
    assert any(answer.status == 201 for answer in again.values()), "it was killed too late to tell"
    assert secrets(own_admin, place) == []
    made = own_admin.list(place)
    assert sorted(each["spec"]["displayName"] for each in made) == sorted([*early, *late])
    assert [len(each["status"]["keys"]) for each in made] == [1] * len(made)


def test_an_api_server_that_goes_away_leaves_nothing_half_made(
    own_plane: ControlPlane, own_admin: Kube, place: str, tmp_path: Path
) -> None:
    """In the middle of a creation: 503, and the ApiKey is taken back as soon as there is an API server again."""
    account = console_account(own_plane, own_admin, everywhere=True)
    with console(account, tmp_path / "log", *BEHIND_A_PROXY) as service, ThreadPoolExecutor(1) as pool:
        alice = editor_at(service, own_admin, place, "amy")
        creating = pool.submit(alice.ask, "POST", "", {"name": "ci"})
        eventually(lambda: own_admin.list(place))
        own_plane.stop_api_server(kill=True)
        try:
            answer = creating.result()
            assert (answer.status, answer.code) == (503, "unavailable")
            assert int(answer.fields["retry-after"]) > 0
            for method, path in (("GET", ""), ("POST", "/ci/revoke"), ("DELETE", "/ci")):
                assert alice.ask(method, path).code == "unavailable"
        finally:
            own_plane.start_api_server()
        eventually(lambda: succeeds(lambda: own_admin.list(place)), within=60)
        eventually(lambda: own_admin.list(place) == [], within=120)


def test_a_request_that_failed_is_repeated_until_it_succeeds(
    own_plane: ControlPlane, own_admin: Kube, tmp_path: Path
) -> None:
    """Under one Idempotency-Key: after an operator that was away, and after an API server that went in the middle. The
    key that the repetition brings stays, whatever the first request still had to put right.
    """
    account = console_account(own_plane, own_admin, everywhere=True)
    serve(own_admin, "default")
    issuer = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    with console(account, tmp_path / "log", *BEHIND_A_PROXY) as service, ThreadPoolExecutor(1) as pool:
        alice = editor_at(service, own_admin, "default", "ada")
        # For half a minute after its start an API server may refuse to create ApiKeys.
        wanted = {"apiVersion": "keywright.dev/v1alpha1", **key("default")}
        path = own_admin.path("ApiKey", "default")
        eventually(lambda: succeeds(lambda: own_admin.request("POST", path, wanted, dryRun="All")), within=90)
        assert alice.ask("POST", "", {"name": "one"}, Idempotency_Key="1").code == "timeout"
        assert own_admin.list("default") == []
        creating = pool.submit(alice.ask, "POST", "", {"name": "two"}, Idempotency_Key="2")
        eventually(lambda: own_admin.list("default"))
        own_plane.stop_api_server(kill=True)
        assert creating.result().code == "unavailable"
        own_plane.start_api_server()
        eventually(lambda: succeeds(lambda: own_admin.list("default")), within=60)
        with operator(issuer, tmp_path / "operator"):
            for number, name in enumerate(("one", "two"), start=1):

                def repeat(name: str = name, number: int = number) -> Any:
                    answer = alice.ask("POST", "", {"name": name}, Idempotency_Key=str(number))
                    return answer.body if answer.status == 201 else None

                made = eventually(repeat, within=90)
                assert made["key"].startswith("kw_live_")
            assert names(own_admin, "default") == {"one", "two"}
            assert secrets(own_admin, "default") == []
            assert alice.create(name="two", idempotency_key="2", status=409)["code"] == "already_delivered"
    assert names(own_admin, "default") == {"one", "two"}
    for name in ("one", "two"):
        own_admin.delete("default", name)


def test_a_plain_key_is_in_no_object_log_or_metric(tmp_path: Path) -> None:
    """Every place that a key could leak to is searched after all that can be done with keys was done."""
    with ControlPlane(audit=True, audit_level=AuditLevel.REQUEST_RESPONSE) as plane:
        install(plane)
        kube = Kube(plane.kubeconfig)
        account = console_account(plane, kube, everywhere=True)
        serve(kube, "default")
        with (
            operator(plane.kubeconfig, tmp_path / "o", "--log-level", "debug") as issuing,
            verifier(plane.kubeconfig, tmp_path / "v", "--log-level", "debug") as (judging, listen, _),
            console(account, tmp_path / "c", *BEHIND_A_PROXY) as service,
        ):
            alice = editor_at(service, kube, "default", "alice")
            keys = [alice.create(name="ci")["key"], alice.create(idempotency_key="1", ttl="1d")["key"]]
            keys += [alice.ask("POST", "/ci/rotate", {"grace": grace}).body["key"] for grace in ("1h", "0s")]
            eventually(lambda: accepts(listen, keys[3]))
            answers = [str(alice.ask("GET", path)) for path in ("", "/ci", "?limit=1", "/v1/owners/alice/keys")]
            answers += [str(alice.ask("POST", "", {"name": "ci"}))]
            answers += [str(alice.ask("POST", "", {"name": keys[0]}))]
            answers += [str(alice.ask("POST", "", {keys[0]: 1}))]
            answers += [str(alice.ask(method, f"/{keys[0]}")) for method in ("GET", "DELETE")]
            answers += [
                str(alice.ask("POST", f"/{keys[0]}/suspend")),
                str(alice.ask("POST", f"/ci/suspend?x={keys[0]}")),
            ]
            answers += [str(alice.ask("GET", "", If_Match=keys[0], Idempotency_Key=keys[0]))]
            answers += [str(alice.ask("POST", "", {}, Idempotency_Key=keys[0]))]
            answers += [str(alice.ask("POST", f"/ci/{each}")) for each in ("suspend", "resume", "revoke")]
            answers += [str(service.ask("GET", "/v1/classes", token=keys[2]))]
            metrics = get(service.admin, "/metrics")[2]
            objects = everything(plane)
        logs = issuing.log + judging.log + service.process.log
        kube.close()
        requests = without_secrets(plane.audit_log)
    for plain in keys:
        for needle in (plain, plain[20:-6], plain[21:60]):
            for place, text in (
                ("an answer", "".join(answers)),
                ("metrics", metrics),
                ("a log", logs),
                ("an object", objects),
                ("a request that is not about Secrets", requests),
            ):
                assert needle not in text, f"a plain key is in {place}"
