"""Who may ask the key service, and as whom it then acts: real users, a real API server, the service's own account."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.support.audit import Request, requests
from tests.support.console import (
    ACCOUNT,
    HOME,
    Answer,
    Console,
    console,
    console_account,
    make_account,
    serve,
    token_of,
)
from tests.support.kube import Kube, eventually
from tests.support.people import bind

SERVICE = f"system:serviceaccount:{HOME}:{ACCOUNT}"
PROXY = ("--proxy-user-header", "X-Forwarded-User", "--proxy-groups-header", "X-Forwarded-Groups")
ISSUE = Callable[..., str]


@pytest.fixture(scope="module")
def account(plane: ControlPlane, admin: Kube) -> Path:
    return console_account(plane, admin, everywhere=True)


@pytest.fixture(scope="module")
def service(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One key service for all namespaces."""
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, "--log-format", "json") as started:
        yield started


@pytest.fixture(scope="module")
def proxied(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One that believes what comes from this machine."""
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, "--proxy-from", "10.0.0.0/8", "--proxy-from", "127.0.0.0/8", *PROXY) as started:
        yield started


@pytest.fixture
def keys(admin: Kube, namespace: str) -> str:
    """Where the keys of the test's namespace are, with the rights of the service bound there."""
    serve(admin, namespace)
    return f"/v1/namespaces/{namespace}/keys"


def once(ask: Callable[[], Answer], status: int, *, within: float = 30) -> Answer:
    """The answer with this status, once it is given: roles and keys become known some time after they are made."""

    def look() -> Answer | None:
        last.append(ask())
        return last[-1] if last[-1].status == status else None

    last: list[Answer] = []
    try:
        found = eventually(look, within=within)
    except AssertionError:
        raise AssertionError(f"no {status}, but {last[-1]}") from None
    assert found is not None
    return found


def asked(plane: ControlPlane, namespace: str, resource: str = "apikeys") -> list[Request]:
    """What the service has asked the API server for in a namespace as somebody else."""
    found = [each for each in requests(plane.audit_log) if each.user == SERVICE and each.acting_as is not None]
    return [each for each in found if (each.namespace, each.resource) == (namespace, resource)]


def test_nobody(service: Console, keys: str) -> None:
    """Without a credential: 401 with challenges for a key, and a next step."""
    answer = service.ask("GET", keys)
    assert (answer.status, answer.code) == (401, "missing_key")
    assert answer.fields["www-authenticate"].startswith('Bearer realm="keywright"')
    assert answer.fields["content-type"] == "application/problem+json"
    assert answer.fields["cache-control"] == "no-store"


def test_a_token_acts_as_its_account(
    service: Console, plane: ControlPlane, admin: Kube, namespace: str, keys: str
) -> None:
    """What the account may do with kubectl is done; the audit log names it, and by which constraint it was acted as."""
    admin.apikey(namespace, "key")
    token = make_account(admin, namespace, "bob", "view")
    answer = once(lambda: service.ask("GET", keys, token=token), 200)
    assert [each["name"] for each in answer.body["items"]] == ["key"]
    seen = asked(plane, namespace)
    bob = f"system:serviceaccount:{namespace}:bob"
    assert {(each.verb, each.acting_as, each.constraint) for each in seen} == {
        ("list", bob, "impersonate:serviceaccount")
    }
    # Its own groups come from the API server, as for a request of its own.
    assert f"system:serviceaccounts:{namespace}" in seen[-1].acting_in
    refused = service.ask("POST", f"{keys}/key/suspend", token=token)
    assert (refused.status, refused.code) == (403, "forbidden")


def test_a_token_of_somebody_without_rights(service: Console, admin: Kube, namespace: str, keys: str) -> None:
    """He is known and may nothing: 403, as kubectl would say."""
    token = make_account(admin, namespace, "nobody")
    answer = once(lambda: service.ask("GET", keys, token=token), 403)
    assert answer.code == "forbidden"


def test_a_key_acts_as_its_owner(
    service: Console, plane: ControlPlane, admin: Kube, namespace: str, keys: str, issue: ISSUE
) -> None:
    """User and groups of the owner decide; the key itself has no rights in the cluster."""
    owner = {"user": f"alice-{namespace}", "groups": [f"team-{namespace}"]}
    plain = issue(scopes=["keys:read"], owner=owner)
    once(lambda: service.ask("GET", keys, token=plain), 403)
    bind(admin, namespace, owner["user"], "view")  # type: ignore[arg-type]
    answer = once(lambda: service.ask("GET", keys, token=plain), 200)
    assert [each["name"] for each in answer.body["items"]] == ["key"]
    last = asked(plane, namespace)[-1]
    assert (last.acting_as, last.constraint) == (owner["user"], "impersonate:user-info")
    assert f"team-{namespace}" in last.acting_in
    by_header = service.ask("GET", keys, headers={"X-API-Key": plain})
    assert by_header.status == 200


def test_a_key_without_an_owner(service: Console, keys: str, issue: ISSUE) -> None:
    """It acts for nobody, whatever its scopes."""
    plain = issue(scopes=["keys:manage"])
    answer = once(lambda: service.ask("GET", keys, token=plain), 403)
    assert (answer.code, "acts for nobody" in answer.body["detail"]) == ("forbidden", True)


def test_a_key_without_a_scope_for_keys(service: Console, namespace: str, keys: str, issue: ISSUE) -> None:
    """403 with a challenge that names what is missing."""
    plain = issue(scopes=["agents:read"], owner={"user": f"alice-{namespace}"})
    answer = once(lambda: service.ask("GET", keys, token=plain), 403)
    assert answer.code == "insufficient_scope"
    assert 'scope="keys:read"' in answer.fields["www-authenticate"]


def test_a_readonly_key_changes_nothing(service: Console, admin: Kube, namespace: str, keys: str, issue: ISSUE) -> None:
    """keys:read lists, and does not suspend, also where its owner may; one with keys:manage does."""
    user = f"alice-{namespace}"
    bind(admin, namespace, user, "edit")
    plain = issue(role="readonly", owner={"user": user})
    once(lambda: service.ask("GET", keys, token=plain), 200)
    for method, path in (("POST", f"{keys}/key/suspend"), ("DELETE", f"{keys}/key"), ("POST", keys)):
        answer = service.ask(method, path, token=plain, body={} if path == keys else None)
        assert (answer.status, answer.code) == (403, "insufficient_scope")
        assert 'scope="keys:manage"' in answer.fields["www-authenticate"]
    assert admin.get(namespace, "key")["spec"]["suspended"] is False
    admin.apikey(namespace, "manager", scopes=["keys:manage"], owner={"user": user})
    admin.wait(namespace, "manager", Active="True")
    manager = admin.plain_key(namespace, "manager")
    once(lambda: service.ask("POST", f"{keys}/key/suspend", token=manager), 200)
    assert admin.get(namespace, "key")["spec"]["suspended"] is True


def test_a_revoked_key(service: Console, admin: Kube, namespace: str, keys: str, issue: ISSUE) -> None:
    """It asks for nothing more, at once, and is told why; so is one that nobody knows."""
    user = f"alice-{namespace}"
    bind(admin, namespace, user, "view")
    plain = issue(scopes=["keys:read"], owner={"user": user})
    once(lambda: service.ask("GET", keys, token=plain), 200)
    admin.patch(namespace, "key", {"spec": {"revoked": True}})
    assert once(lambda: service.ask("GET", keys, token=plain), 401).code == "revoked_key"
    admin.delete(namespace, "key")
    unknown = "This API key is not known here."
    eventually(lambda: service.ask("GET", keys, token=plain).body["detail"] == unknown)


def test_a_mistyped_key_is_not_shown_to_the_api_server(
    service: Console, plane: ControlPlane, namespace: str, keys: str, issue: ISSUE
) -> None:
    """Cut off, with a letter changed, in quotes: it is nobody's token, so it is not asked about as one."""
    plain = issue(scopes=["keys:read"], owner={"user": f"alice-{namespace}"})
    before = reviews(plane)
    changed = ("a" if plain[-1] != "a" else "b").join((plain[:-1], ""))
    for each in (plain[:-1], changed, f'"{plain}"', plain + "."):
        answer = service.ask("GET", keys, token=each)
        assert (answer.status, answer.code) == (401, "malformed_key")
    assert reviews(plane) == before
    assert service.ask("GET", keys, token="no-key-and-no-token").status == 401
    assert reviews(plane) > before


def reviews(plane: ControlPlane) -> int:
    return sum(each.resource == "tokenreviews" and each.user == SERVICE for each in requests(plane.audit_log))


def test_a_token_that_is_over(service: Console, plane: ControlPlane, admin: Kube, namespace: str, keys: str) -> None:
    """An answer of the API server is remembered, for seconds; then the token is refused."""
    make_account(admin, namespace, "bob", "view")
    secret = admin.put_secret(namespace, {"metadata": {"name": "bound"}})
    bound = {"apiVersion": "v1", "kind": "Secret", "name": "bound", "uid": secret["metadata"]["uid"]}
    token = token_of(admin, namespace, "bob", boundObjectRef=bound)
    once(lambda: service.ask("GET", keys, token=token), 200)
    before = reviews(plane)
    assert service.ask("GET", keys, token=token).status == 200
    assert reviews(plane) <= before + 1
    admin.delete_secret(namespace, "bound")
    # The key service and the API server each remember for ten seconds whose it was.
    answer = once(lambda: service.ask("GET", keys, token=token), 401, within=60)
    assert (answer.code, 'error="invalid_token"' in answer.fields["www-authenticate"]) == ("invalid_key", True)


def test_a_token_for_somebody_else(service: Console, admin: Kube, namespace: str, keys: str) -> None:
    """A token with an audience of its own is none for the API server, so it is none here."""
    make_account(admin, namespace, "bob", "view")
    token = token_of(admin, namespace, "bob", audiences=["https://vault.example"])
    assert service.ask("GET", keys, token=token).status == 401


def test_a_front_proxy_says_who_asks(
    proxied: Console, plane: ControlPlane, admin: Kube, namespace: str, keys: str
) -> None:
    """User and groups, in one header or in several; names in UTF-8 as they are."""
    team = f"team-{namespace}"
    binding = {
        "metadata": {"name": team},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": team}],
    }
    admin.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", binding)
    headers = {"X-Forwarded-User": "jürgen@example.com".encode().decode("latin-1"), "X-Forwarded-Groups": f"a, {team},"}
    once(lambda: proxied.ask("GET", keys, headers=headers), 200)
    last = asked(plane, namespace)[-1]
    assert (last.acting_as, {"a", team} <= set(last.acting_in)) == ("jürgen@example.com", True)
    without = proxied.ask("GET", keys, headers={"X-Forwarded-User": "jürgen@example.com".encode().decode("latin-1")})
    assert without.status == 403


def test_forged_headers(
    service: Console, account: Path, admin: Kube, namespace: str, keys: str, tmp_path: Path
) -> None:
    """Where no proxy is configured, or the peer is another one, the headers say nothing, whatever stands in others."""
    token = make_account(admin, namespace, "bob", "view")
    headers = {
        "X-Forwarded-User": "admin",
        "X-Forwarded-Groups": "system:masters",
        "X-Forwarded-For": "10.1.2.3",
        "Forwarded": "for=10.1.2.3",
        "Impersonate-User": "admin",
        "Impersonate-Group": "system:masters",
    }
    with console(account, tmp_path / "log", "--proxy-from", "10.0.0.0/8", *PROXY) as elsewhere:
        for each in (service, elsewhere):
            assert each.ask("GET", keys, headers=headers).code == "missing_key"
            # They do not stand in the way of who asks by himself either.
            once(lambda e=each: e.ask("GET", keys, token=token, headers=headers), 200)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("alice", "dev,system:masters"),
        ("alice", "system:nodes"),
        ("system:admin", ""),
        ("system:serviceaccount:kube-system:default", ""),
        ("apikey:payments/ci", ""),
    ],
)
def test_whom_a_proxy_cannot_vouch_for(
    proxied: Console, plane: ControlPlane, namespace: str, keys: str, user: str, groups: str
) -> None:
    """Nobody of the cluster itself: 403, and the API server is not asked."""
    answer = proxied.ask("GET", keys, headers={"X-Forwarded-User": user, "X-Forwarded-Groups": groups})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert not [each for each in requests(plane.audit_log) if (each.user, each.namespace) == (SERVICE, namespace)]


def test_two_callers_at_once(
    service: Console, proxied: Console, admin: Kube, namespace: str, keys: str, issue: ISSUE
) -> None:
    """A token and a key, two keys, a header twice, a proxy's user and a token: 400, for none of them."""
    token = make_account(admin, namespace, "bob", "view")
    plain = issue(scopes=["keys:read"], owner={"user": f"alice-{namespace}"})
    cases = [
        service.ask("GET", keys, token=token, headers={"X-API-Key": plain}),
        service.ask("GET", keys, token=plain, headers={"X-API-Key": plain[:-1]}),
        proxied.ask("GET", keys, token=token, headers={"X-Forwarded-User": "alice"}),
        proxied.ask("GET", keys, token=plain, headers={"X-Forwarded-User": "alice"}),
    ]
    assert [(each.status, each.code) for each in cases] == [(400, "invalid_request")] * 4


def test_another_site_does_not_act_through_the_proxy(proxied: Console, admin: Kube, namespace: str, keys: str) -> None:
    """What a browser was made to send by another site is refused, though the proxy vouches for its user."""
    user = f"alice-{namespace}"
    bind(admin, namespace, user, "edit")
    admin.apikey(namespace, "key")
    who = {"X-Forwarded-User": user}
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        answer = proxied.ask("POST", f"{keys}/key/suspend", headers=who | headers)
        assert (answer.status, answer.code) == (403, "forbidden")
    assert admin.get(namespace, "key")["spec"]["suspended"] is False
    once(lambda: proxied.ask("POST", f"{keys}/key/suspend", headers=who | {"Sec-Fetch-Site": "same-origin"}), 200)


def test_pages_behind_a_proxy(proxied: Console, admin: Kube, namespace: str, keys: str) -> None:
    """Who comes through it needs no session; his forms are his own all the same."""
    forms: dict[str, str] = {}
    admin.apikey(namespace, "key")
    page = f"/keys/{namespace}/key/suspend"
    for name in ("alice", "bob"):
        user = f"{name}-{namespace}"
        bind(admin, namespace, user, "edit")
        answer = once(lambda u=user: proxied.ask("GET", page, headers={"X-Forwarded-User": u}), 200)  # type: ignore[misc]
        found = re.search(r'name="csrf" value="([^"]+)"', answer.body)
        assert found is not None
        forms[user] = found[1]

    def send(user: str, **form: str) -> int:
        return proxied.ask("POST", page, form=form, headers={"X-Forwarded-User": user}).status

    alice, bob = forms
    assert (send(alice), send(alice, csrf=forms[bob])) == (403, 403)
    assert admin.get(namespace, "key")["spec"]["suspended"] is False
    assert send(alice, csrf=forms[alice]) == 303
    assert admin.get(namespace, "key")["spec"]["suspended"] is True


def test_without_keys_and_without_tokens(
    account: Path, admin: Kube, namespace: str, keys: str, issue: ISSUE, tmp_path: Path
) -> None:
    """--keys off and --tokens off leave who asks so outside."""
    token = make_account(admin, namespace, "bob", "view")
    user = f"alice-{namespace}"
    bind(admin, namespace, user, "view")
    plain = issue(scopes=["keys:read"], owner={"user": user})
    with (
        console(account, tmp_path / "1", "--keys", "off") as tokens,
        console(account, tmp_path / "2", "--tokens", "off") as by_key,
    ):
        once(lambda: tokens.ask("GET", keys, token=token), 200)
        assert tokens.ask("GET", keys, headers={"X-API-Key": plain}).code == "missing_key"
        once(lambda: by_key.ask("GET", keys, token=plain), 200)
        assert by_key.ask("GET", keys, token=token).status == 401


def test_what_the_log_says(service: Console, admin: Kube, namespace: str, keys: str, issue: ISSUE) -> None:
    """A line for each change: who, what, which key, with what result. No credential, and no line for who only looks."""
    user = f"alice-{namespace}"
    bind(admin, namespace, user, "edit")
    plain = issue(scopes=["keys:manage"], owner={"user": user})
    token = make_account(admin, namespace, "bob", "edit")
    once(lambda: service.ask("GET", keys, token=token), 200)
    once(lambda: service.ask("POST", f"{keys}/key/suspend", token=token), 200)
    assert service.ask("POST", f"{keys}/key/suspend?why={plain}", token=token).status == 422
    assert service.ask("POST", f"{keys}/{plain}/suspend", token=token).status in (404, 422)
    assert service.ask("POST", f"{keys}/{plain[:-1]}/suspend", token=token).status in (404, 422)
    once(lambda: service.ask("POST", f"{keys}/key/resume", token=token), 200)
    once(lambda: service.ask("POST", f"{keys}/key/suspend", token=plain), 200)
    # The line is written when the answer has gone.
    last = f"{user} by key {namespace}/key: POST {keys}/key/suspend: 200"
    eventually(lambda: last in service.process.log)
    lines = [line for line in service.process.log.splitlines() if f"/{namespace}/" in line]
    said = "\n".join(lines)
    assert f"system:serviceaccount:{namespace}:bob: POST {keys}/key/resume: 200" in said
    assert "GET" not in said
    assert plain.rpartition("_")[2][:-8] not in service.process.log
    assert token not in service.process.log
