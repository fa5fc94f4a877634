"""The key service as a process: limits round every request, TLS, outages, an orderly start and end."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from keywright_local.certificates import CertificateAuthority
from tests.integration.conftest import Namespaces
from tests.support.console import Answer, Console, ask, console, console_account, make_account, serve, sign_in
from tests.support.kube import Kube, eventually
from tests.support.processes import get

CLASSES = "/v1/classes"


@pytest.fixture(scope="module")
def account(own_plane: ControlPlane, own_admin: Kube) -> Path:
    return console_account(own_plane, own_admin, everywhere=True)


@pytest.fixture(scope="module")
def service(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One key service for all namespaces."""
    with console(account, tmp_path_factory.mktemp("console") / "log") as started:
        yield started


@pytest.fixture
def namespace(own_admin: Kube, make_namespace: Namespaces) -> str:
    return make_namespace(own_admin)


@pytest.fixture
def token(own_admin: Kube, namespace: str) -> str:
    """A token of an account that may view the namespace."""
    serve(own_admin, namespace)
    return make_account(own_admin, namespace, "bob", "view")


def exchange(address: str, sent: bytes, *, patience: float = 60.0) -> bytes:
    """Everything that comes back for these bytes, until the other end closes."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        # Who is refused before he has sent all of it may find the connection closed; the answer has come all the same.
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
        return received


def test_every_answer_is_hardened(service: Console, token: str) -> None:
    """Whatever is answered: nothing is kept, framed, sniffed or loaded from elsewhere, and nobody learns what serves it."""
    answers = [
        service.ask("GET", CLASSES, token=token),
        service.ask("GET", CLASSES),
        service.ask("GET", "/no-such-page"),
        service.ask("POST", CLASSES, token=token),
        service.ask("POST", CLASSES, headers={"Content-Length": "99999999"}),
    ]
    assert [each.status for each in answers] == [200, 401, 404, 405, 413]
    for each in answers:
        assert each.fields["cache-control"] == "no-store"
        assert each.fields["x-content-type-options"] == "nosniff"
        assert each.fields["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in each.fields["content-security-policy"]
        assert "frame-ancestors 'none'" in each.fields["content-security-policy"]
        assert "server" not in each.fields
        assert "set-cookie" not in each.fields
        assert "strict-transport-security" not in each.fields
    for each in answers[1:]:
        assert each.fields["content-type"] == "application/problem+json"
        assert each.body["status"] == each.status


def test_no_page_for_explorers(service: Console) -> None:
    """The documentation pages of the framework, which load their script from other hosts, are not there."""
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert service.ask("GET", path).status == 404


def test_bodies(service: Console, namespace: str, token: str) -> None:
    """Too large: 413 at once, announced or not. Not JSON: 415. With two lengths: 400, and what follows is no request.
    Nothing of any is looked at.
    """
    path = f"/v1/namespaces/{namespace}/keys"
    head = f"POST {path} HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n".encode()
    began = time.monotonic()
    assert exchange(service.address, head + b"Content-Length: 10485760\r\n\r\n{").startswith(b"HTTP/1.1 413")
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    assert exchange(service.address, head + b"Transfer-Encoding: chunked\r\n\r\n" + 3 * chunk).startswith(
        b"HTTP/1.1 413"
    )
    twice = head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: c\r\n\r\n"
    refused = exchange(service.address, twice)
    assert (refused[:12], refused.count(b"HTTP/1.1 ")) == (b"HTTP/1.1 400", 1)
    assert time.monotonic() - began < 10
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = service.ask("POST", path, token=token, body={"name": "key"}, headers={"Content-Type": kind})
        assert (answer.status, answer.code) == (415, "invalid_request")


def test_slow_clients(service: Console, token: str) -> None:
    """A head that does not end is not waited for, nor is one that comes byte by byte; a body gets 408."""
    whole = b"GET /v1/classes HTTP/1.1\r\nHost: c\r\n\r\n"
    body = b"POST /v1/namespaces/a/keys HTTP/1.1\r\nHost: c\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"

    def drip() -> bytes:
        host, _, port = service.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=40) as connection, contextlib.suppress(OSError):
            connection.sendall(b"GET /v1/classes HTTP/1.1\r\n")
            for _ in range(40):
                connection.sendall(b"A")
                time.sleep(0.5)
            return b"is still listened to"
        return b""

    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        silent = pool.submit(exchange, service.address, b"")
        begun = pool.submit(exchange, service.address, b"GET /v1/classes HTTP/1.1\r\nHost: c\r\nX-A: ")
        second = pool.submit(exchange, service.address, whole + b"GET /v1")
        dripping = pool.submit(drip)
        waiting = pool.submit(exchange, service.address, body)
        assert (silent.result(), begun.result(), dripping.result()) == (b"", b"", b"")
        assert second.result().count(b"HTTP/1.1 401") == 1
        answer = waiting.result()
        assert time.monotonic() - began < 55
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"timeout"' in answer
    assert service.ask("GET", CLASSES, token=token).status == 200


def held(address: str) -> list[int]:
    """Of each connection that a process still has there, the bytes that wait in the kernel to be sent."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    end, listening, nobody = f":{int(address.rpartition(':')[2]):04X}", "0A", "0"
    theirs = (row for row in rows if row[1].endswith(end) and row[3] != listening and row[9] != nobody)
    return [int(row[4].partition(":")[0], 16) for row in theirs]


def test_clients_that_do_not_read(account: Path, tmp_path: Path) -> None:
    """They are parted with, over TLS too, whether they ask on and on or have asked for little and wait; and not much is
    kept for them meanwhile. Who reads slowly gets everything.
    """
    cert, key, _ = files(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    ask_once = b"GET /openapi.json HTTP/1.1\r\nHost: c\r\n\r\n"
    answers = 80

    def read_slowly(address: str) -> int:
        host, _, port = address.rpartition(":")
        length = 0
        with socket.create_connection((host, int(port)), timeout=40) as connection:
            connection.sendall(answers * ask_once)
            while (parts := connection.recv(32 * 1024)) and (length := length + len(parts)) < answers * size:
                time.sleep(0.2)
        return length

    with (
        console(account, tmp_path / "plain") as plain,
        console(account, tmp_path / "tls", "--tls-cert", str(cert), "--tls-key", str(key), tls=trusting) as secure,
        ThreadPoolExecutor(1) as pool,
        contextlib.ExitStack() as deaf,
    ):
        size = len(plain.ask("GET", "/openapi.json").body)
        for service in (plain, secure):
            host, _, port = service.address.rpartition(":")
            for requests in (200, 200, 4, 3, 2, 1):
                connection = deaf.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect((host, int(port)))
                if service.tls is not None:
                    connection = deaf.enter_context(service.tls.wrap_socket(connection, server_hostname=host))
                connection.sendall(requests * ask_once)
        reading = pool.submit(read_slowly, plain.address)
        eventually(lambda: max(held(plain.address)) > 50_000 and max(held(secure.address)) > 50_000, what="it is full")
        assert max(*held(plain.address), *held(secure.address)) < 200_000
        eventually(lambda: held(plain.address) == held(secure.address) == [], within=75, what="nothing is held")
        assert reading.result() >= answers * size


def test_what_is_no_http(service: Console, token: str) -> None:
    """Refused, without a trace of the bytes in answer or log; so is what wants another protocol."""
    for sent in (
        b"\x16\x03\x01\x02\x00hunter2\r\n\r\n",
        b"GET /hunter2\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 40000,
    ):
        answer = exchange(service.address, sent)
        assert answer.startswith(b"HTTP/1.1 400") or not answer
        assert b"hunter2" not in answer
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "a" * 24,
    }
    assert service.ask("GET", CLASSES, token=token, headers=upgrade).status == 200
    assert "hunter2" not in service.process.log
    assert "Traceback" not in service.process.log


def test_more_connections_than_are_served(service: Console, token: str) -> None:
    """Idle ones in great number turn others away for as long as they are there, and no longer."""
    host, _, port = service.address.rpartition(":")
    with contextlib.ExitStack() as idle:
        for _ in range(300):
            idle.enter_context(socket.create_connection((host, int(port)), timeout=10))
        assert service.ask("GET", CLASSES, token=token).status == 503
    eventually(lambda: service.ask("GET", CLASSES, token=token).status == 200, within=30)


def test_a_caller_who_asks_too_much(account: Path, own_admin: Kube, namespace: str, token: str, tmp_path: Path) -> None:
    """429 with Retry-After for him, and nothing of it for others."""
    other = make_account(own_admin, namespace, "other", "view")
    with console(account, tmp_path / "log", rate_limit=5) as limited:
        for _ in range(5):
            assert limited.ask("GET", CLASSES, token=token).status == 200
        answer = limited.ask("GET", CLASSES, token=token)
        assert (answer.status, answer.code) == (429, "rate_limited")
        assert 1 <= int(answer.fields["retry-after"]) <= 62
        assert limited.ask("GET", CLASSES, token=other).status == 200
        text = get(limited.admin, "/metrics")[2]
        assert 'keywright_console_answers_total{status="429"} 1' in text


def test_without_pages(account: Path, token: str, tmp_path: Path) -> None:
    """REST alone: nothing to sign in at or to look at, and no file of the pages."""
    with console(account, tmp_path / "log", "--pages", "off") as service:
        for path in ("/", "/sign-in", "/keys/default/new", "/static/console.css"):
            answer = service.ask("GET", path)
            assert (answer.status, answer.code) == (404, "not_found"), path
        assert service.ask("POST", "/sign-in", form={"credential": token}).status == 404
        assert service.ask("GET", CLASSES, token=token).status == 200


def test_not_in_sync(own_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """Alive and not ready while its account may not read: 503 for keys, which it cannot judge."""
    stranger = own_plane.kubeconfig_for("nobody-in-particular")
    key = "kw_live_" + "a" * 12 + "_" + "a" * 49
    with console(stranger, tmp_path / "log", namespaces=[namespace], ready=False) as service:
        eventually(lambda: get(service.admin, "/healthz")[0] == 200, within=30)
        assert get(service.admin, "/readyz")[0] == 503
        assert get(service.admin, "/nowhere")[0] == 404
        answer = service.ask("GET", CLASSES, token=key)
        assert (answer.status, answer.code, "retry-after" in answer.fields) == (503, "unavailable", True)
        assert service.process.stop() == 0


def files(folder: Path) -> tuple[Path, Path, Path]:
    now = datetime.now(UTC)
    authority = CertificateAuthority.create("test", now=now)
    server = authority.issue_for_server(["localhost"], ["127.0.0.1"], now=now)
    client = authority.issue_for_client("client", [], now=now)
    (folder / "ca").write_bytes(authority.key_pair.public)
    (folder / "crt").write_bytes(server.public)
    (folder / "key").write_bytes(server.private)
    (folder / "client").write_bytes(client.public + client.private)
    return folder / "crt", folder / "key", folder / "ca"


def test_tls(account: Path, token: str, tmp_path: Path) -> None:
    """From 1.2 on, for clients with a certificate of the authority that was named, and in no plain text."""
    cert, key, ca = files(tmp_path)
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(tmp_path / "client")
    flags = ("--tls-cert", str(cert), "--tls-key", str(key), "--client-ca", str(ca))
    with console(account, tmp_path / "log", *flags, tls=context) as service:
        answer = service.ask("GET", CLASSES, token=token)
        assert (answer.status, answer.fields["strict-transport-security"]) == (200, "max-age=31536000")
        stranger = ssl.create_default_context(cafile=str(ca))
        old = ssl.create_default_context(cafile=str(ca))
        old.load_cert_chain(tmp_path / "client")
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        for wrong in (stranger, old):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(service.address, "GET", CLASSES, token=token, tls=wrong)
        with pytest.raises(ConnectionError):
            ask(service.address, "GET", CLASSES, token=token)
        # Health is for the kubelet, which has no certificate.
        assert get(service.admin, "/readyz")[0] == 200


def test_an_orderly_end(account: Path, namespace: str, token: str, own_admin: Kube, tmp_path: Path) -> None:
    """What is being answered is answered; then exit 0. Without an operator a creation takes its time."""
    role = make_account(own_admin, namespace, "maker", "edit")
    with console(account, tmp_path / "log") as service, ThreadPoolExecutor() as pool:
        path = f"/v1/namespaces/{namespace}/keys"
        eventually(lambda: service.ask("GET", path, token=role).status == 200, within=30)

        def create() -> Answer:
            return service.ask("POST", path, token=role, body={"name": "key"})

        creating = pool.submit(create)
        eventually(lambda: own_admin.list(namespace), within=30)
        service.process.popen.terminate()
        assert service.process.popen.wait(45) == 0
        assert creating.result().status == 504
        assert own_admin.list(namespace) == []
        assert service.process.log.splitlines()[-1].endswith("stopped")


def test_replicas(account: Path, token: str, tmp_path: Path) -> None:
    """Who has signed in at one is known to another with the same session key, and to none without it."""
    (tmp_path / "key").write_bytes(b"k" * 32)
    flags = ("--session-key-file", str(tmp_path / "key"))
    with (
        console(account, tmp_path / "1", *flags) as first,
        console(account, tmp_path / "2", *flags) as second,
        console(account, tmp_path / "3") as stranger,
    ):
        cookie = {"Cookie": sign_in(first, token)}
        assert [each.ask("GET", "/", headers=cookie).status for each in (first, second, stranger)] == [200, 200, 303]
        assert token not in cookie["Cookie"]


def test_an_address_that_is_taken(account: Path, service: Console, tmp_path: Path) -> None:
    """One line says what to do, and the exit status is 1."""
    with console(account, tmp_path / "log", "--listen", service.address, ready=False) as second:
        assert second.process.popen.wait(30) == 1
        assert "cannot listen on" in second.process.log
        assert "Traceback" not in second.process.log


def test_figures(service: Console, token: str) -> None:
    """Answers by status, keys that are known, whether it is ready; labels that no request brought along."""
    service.ask("GET", "/hunter2", token=token)
    text = get(service.admin, "/metrics")[2]
    assert "keywright_console_ready 1" in text
    assert 'keywright_console_answers_total{status="404"}' in text
    assert "hunter2" not in text


# The last one: for half a minute after its start an API server may refuse keys (docs/decisions/0008).
def test_the_api_server_is_away(
    own_plane: ControlPlane, service: Console, namespace: str, own_admin: Kube, token: str
) -> None:
    """A problem that says so, for who asks by token; the process lives on, and serves as soon as it is back."""
    path = f"/v1/namespaces/{namespace}/keys"
    eventually(lambda: service.ask("GET", path, token=token).status == 200, within=30)
    own_plane.stop_api_server(kill=True)
    try:
        answer = service.ask("GET", path, token=token)
        assert (answer.status, answer.code, "retry-after" in answer.fields) == (503, "unavailable", True)
        assert service.ask("GET", path, token="x.y.z").status == 503
        assert get(service.admin, "/healthz")[0] == 200
    finally:
        own_plane.start_api_server()
    eventually(lambda: service.ask("GET", path, token=token).status == 200, within=60)
    assert "Traceback" not in service.process.log
