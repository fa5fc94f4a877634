"""Each proxy with the configuration in deploy/proxies, between real clients, a real verifier and a real backend."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keywright.domain import plainkey
from keywright_local import ControlPlane
from tests.support.backend import Answer, ask
from tests.support.kube import Kube, eventually
from tests.support.processes import Process, free_address
from tests.support.proxies import KINDS, VARIANTS, Kind
from tests.support.proxy_expectations import FORGED, IDENTITY, assert_told_why, refused
from tests.support.stands import Stand, standing


@pytest.fixture(scope="module", params=[*KINDS, *VARIANTS], ids=lambda kind: kind.name)
def stand(
    request: pytest.FixtureRequest, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    with standing(request.param, tmp_path_factory.mktemp("proxy"), plane.kubeconfig) as up:
        yield up


Issue = Callable[..., str]


@pytest.fixture
def issue(shared_operator: Process, admin: Kube, namespace: str, stand: Stand) -> Issue:
    """Issues a key in the test's namespace, known to the verifier behind the proxy."""

    def issue(name: str, **spec: str) -> str:
        admin.apikey(namespace, name, **spec)
        admin.wait(namespace, name, Active="True")
        plain = admin.plain_key(namespace, name)
        eventually(lambda: ask(stand.address, [("X-API-Key", plain)]).status == 200)
        stand.backend.take()
        return plain

    return issue


def test_who_is_allowed_arrives_with_an_identity_and_without_a_key(
    stand: Stand, issue: Issue, admin: Kube, namespace: str
) -> None:
    """The backend learns from the proxy who asks, hears nothing that the client made up, and never sees a key."""
    plain = issue("key")
    key_id = admin.get(namespace, "key")["status"]["currentKeyId"]
    for credential in (
        ("Authorization", f"Bearer {plain}"),
        ("authorization", f"apikey {plain}"),
        ("X-API-Key", plain),
    ):
        answer = ask(
            stand.address, [*FORGED, credential, ("X-Request-Note", "kept")], target="/api/agents/%41%20b?x=%41"
        )
        assert (answer.status, answer.body, answer.headers["x-from"]) == (200, "served\n", "backend")
        received = stand.backend.take_one()
        assert (received.method, received.target) == ("GET", "/api/agents/%41%20b?x=%41")
        assert [received.values(name) for name in IDENTITY] == [
            [f"apikey:{namespace}/key"],
            [f"{namespace}/key"],
            [key_id],
            ["standard"],
            ["-"],
            ["-"],
        ]
        assert received.values("x-request-note") == ["kept"]
        assert not received.names() & {"authorization", "x-api-key"}
        assert not any(plain in value or value.startswith("{") for _, value in received.headers)
        said = [(name, value) for name, value in received.headers if "forged" in value or "203.0.113.9" in value]
        assert said == []
        # Whatever is left of these families, the proxy has set.
        assert {name for name in received.names() if name.startswith(("x-original-", "x-rewrite"))} == set()
        assert {name for name in received.names() if name.startswith("x-auth-")} <= {*IDENTITY, "x-auth-key-expires"}


def test_who_is_refused_is_told_why(stand: Stand, issue: Issue, admin: Kube, namespace: str) -> None:
    """Status, challenge and body of the verdict, and the backend has not been asked."""
    plain = issue("key")
    wrong = plain[:-7] + ("0" if plain[-7] != "0" else "1")
    wrong += plainkey.checksum(wrong)
    ended = {
        "expired": {"expiresAt": "2026-01-01T00:00:00Z"},
        "revoked": {"revoked": True},
        "suspended": {"suspended": True},
    }
    dead = {name: issue(name) for name in ended}
    for name, spec in ended.items():
        admin.patch(namespace, name, {"spec": spec})
    eventually(lambda: all(ask(stand.address, [("X-API-Key", key)]).status == 401 for key in dead.values()))
    stand.backend.take()
    cases = [
        ([], 401, "missing_key", None),
        (FORGED, 401, "missing_key", None),
        ([("X-API-Key", plain[:-1])], 401, "malformed_key", "invalid_token"),
        ([("Authorization", f"Bearer {wrong}")], 401, "invalid_key", "invalid_token"),
        ([("Authorization", f"Bearer {plain}"), ("X-API-Key", wrong)], 400, "invalid_request", "invalid_request"),
        *(([("X-API-Key", key)], 401, f"{name}_key", "invalid_token") for name, key in dead.items()),
    ]
    for headers, status, code, error in cases:
        answer = ask(stand.address, headers, target="/api/agents")
        assert_told_why(answer, stand, status=status, code=code, error=error)


def test_a_key_that_ends_soon_says_so_to_both_sides(stand: Stand, issue: Issue) -> None:
    """X-Auth-Key-Expires reaches client and backend, for such a key and for no other."""
    for spec, count in (({}, 0), ({"ttl": "1h"}, 1)):
        answer = ask(stand.address, [("X-API-Key", issue(f"key-{count}", **spec)), ("X-Auth-Key-Expires", "forged")])
        assert answer.status == 200
        values = stand.backend.take_one().values("x-auth-key-expires")
        assert len(values) == ("x-auth-key-expires" in answer.headers) == count
        assert not count or values == [answer.headers["x-auth-key-expires"]] != ["forged"]


@pytest.mark.parametrize("kind", [*KINDS, *VARIANTS], ids=lambda kind: kind.name)
def test_who_asks_too_often_is_told_when_to_come_back(
    shared_operator: Process,
    plane: ControlPlane,
    admin: Kube,
    namespace: str,
    make_class: Callable[..., str],
    tmp_path: Path,
    kind: Kind,
) -> None:
    """429 with Retry-After and the limits, which an allowed client has seen coming."""
    limits = [{"name": "hour", "requests": 5, "window": "1h"}]
    name = make_class(rateLimits=limits, hashing={"algorithm": "sha256"})
    admin.apikey(namespace, "limited", className=name)
    admin.wait(namespace, "limited", Active="True")
    credential = [("X-API-Key", admin.plain_key(namespace, "limited"))]
    with standing(kind, tmp_path, plane.kubeconfig, "--class", name) as up:
        first = eventually(lambda: answer if (answer := ask(up.address, credential)).status == 200 else None)
        assert "hour" in first.headers["ratelimit"]
        assert "hour" in first.headers["ratelimit-policy"]

        def over() -> Answer | None:
            up.backend.take()
            answer = ask(up.address, credential)
            return answer if answer.status == 429 else None

        last = eventually(over)
        refused(last, up)
        assert int(last.headers["retry-after"]) > 0
        assert "hour" in last.headers["ratelimit"]
        assert "hour" in last.headers["ratelimit-policy"]
        problem = json.loads(last.body)
        assert (problem["status"], problem.get("code")) == (429, None if kind.folder == "nginx" else "rate_limited")


def test_a_repeated_credential_is_refused(stand: Stand, issue: Issue) -> None:
    """Two lines of one header leave open which key is meant; no proxy may choose one of them."""
    plain, other = issue("key"), issue("other")
    for name, first, second in (
        ("X-API-Key", plain, other),
        ("X-API-Key", plain, plain),
        ("Authorization", f"Bearer {plain}", f"Bearer {other}"),
    ):
        answer = ask(stand.address, [(name, first), (name, second)])
        refused(answer, stand)
        assert answer.status in (400, 401), name


def test_a_revocation_is_seen_at_once(stand: Stand, issue: Issue, admin: Kube, namespace: str) -> None:
    """No proxy keeps a verdict, also on a connection that was allowed a moment ago."""
    plain = issue("key")
    connection = http.client.HTTPConnection(stand.address, timeout=15)
    with contextlib.closing(connection):
        assert ask(connection, [("X-API-Key", plain)]).status == 200
        admin.patch(namespace, "key", {"spec": {"revoked": True}})
        eventually(lambda: ask(connection, [("X-API-Key", plain)]).status == 401, within=2)
        stand.backend.take()
        answer = ask(connection, [("X-API-Key", plain)])
        refused(answer, stand)
        assert answer.status == 401


def test_a_body_passes_unharmed(stand: Stand, issue: Issue) -> None:
    """Its length, its chunks and its bytes reach the backend; the verifier never waits for it."""
    plain = issue("key")
    body = bytes(range(256)) * 1024
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert ask(stand.address, [("X-API-Key", plain)], method=method, body=body).status == 200
        received = stand.backend.take_one()
        assert (received.method, received.body) == (method, body)
    connection = http.client.HTTPConnection(stand.address, timeout=15)
    with contextlib.closing(connection):
        pieces = iter([body[:1000], body[1000:]])
        connection.request("POST", "/", pieces, {"X-API-Key": plain}, encode_chunked=True)
        assert connection.getresponse().read() == b"served\n"
    assert stand.backend.take_one().body == body
    assert ask(stand.address, [("X-API-Key", plain)], method="HEAD").status == 200
    assert stand.backend.take_one().method == "HEAD"


def test_verdicts_do_not_mix_on_shared_connections(stand: Stand, issue: Issue) -> None:
    """Alternating clients, bodies among them, over one connection each and the proxy's few to the verifier: every
    answer is that of its own request.
    """
    plain, other = issue("key"), issue("other")
    connections = [http.client.HTTPConnection(stand.address, timeout=15) for _ in range(2)]
    # What looks like a request of its own, for whoever takes a body for the next request.
    smuggled = f"GET /verify HTTP/1.1\r\nHost: x\r\nX-API-Key: {plain}\r\n\r\n".encode()
    names = {plain: "key", other: "other", "": ""}
    try:
        for turn in range(30):
            presented = (plain, "", other, "")[turn % 4]
            connection = connections[turn % 3 % 2]
            headers = [("X-API-Key", presented)] if presented else []
            answer = ask(connection, headers, method="POST" if turn % 2 else "GET", body=smuggled if turn % 2 else None)
            assert answer.status == (200 if presented else 401), turn
            if presented:
                assert stand.backend.take_one().values("x-auth-key")[0].endswith(f"/{names[presented]}")
            else:
                assert stand.backend.take() == []
    finally:
        for each in connections:
            each.close()


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0"])
def test_an_upgrade_is_judged_like_anything_else(stand: Stand, protocol: str) -> None:
    """Asking for another protocol does not lead past the verifier."""
    headers = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", protocol),
        ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    answer = ask(stand.address, headers, target="/api/admin/keys")
    assert answer.status in (401, 403)
    assert "x-from" not in answer.headers
    assert stand.backend.take() == []


def test_without_a_picture_nobody_gets_in(stand: Stand, issue: Issue, plane: ControlPlane, tmp_path: Path) -> None:
    """A verifier that is not in sync: 503. Killed: closed as well. And no log holds the key."""
    plain = issue("key")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(plane.kubeconfig.read_text().replace(plane.server, f"https://{free_address()}"))
    with standing(stand.kind, tmp_path, kubeconfig, ready=False) as blind:
        answer = ask(blind.address, [("X-API-Key", plain)])
        assert (answer.status, blind.backend.take()) == (503, [])
        assert answer.headers["retry-after"] == "5"
        blind.verifier.kill()
        for credential in (("X-API-Key", plain), ("Authorization", f"Bearer {plain}")):
            answer = ask(blind.address, [credential], method="POST", body=b"x")
            assert (answer.status, blind.backend.take()) == (stand.kind.when_silent, [])
        assert "x-from" not in answer.headers
        for log in (blind.proxy.log, stand.proxy.log, blind.verifier.log, stand.verifier.log):
            assert plain not in log


def test_a_verifier_that_dies_after_it_allowed_closes(
    stand: Stand, issue: Issue, plane: ControlPlane, tmp_path: Path
) -> None:
    """What was allowed a moment ago is not remembered by any proxy."""
    plain = issue("key")
    with standing(stand.kind, tmp_path, plane.kubeconfig) as mortal:
        eventually(lambda: ask(mortal.address, [("X-API-Key", plain)]).status == 200)
        mortal.backend.take()
        mortal.verifier.kill()
        assert ask(mortal.address, [("X-API-Key", plain)]).status == stand.kind.when_silent
        assert mortal.backend.take() == []
