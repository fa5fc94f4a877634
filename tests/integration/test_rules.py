"""Rules, roles and scopes with a real API server and a real verifier: what a key may do, and what nobody gets through."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.kube import Kube, eventually
from tests.support.processes import BIN, Process, get, verifier
from tests.unit.verifier.test_verify_hostile_targets import HOSTILE, PROTECTED, request

RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /static/*, allow: anonymous}
- {path: /api/agents/*, methods: [GET, HEAD], scopes: [agents:read]}
- {path: /api/admin/*, roles: [admin]}
default: key
"""
HEADERS = {
    "original": {"X_Original_URI": "/api/agents/7?x", "X_Original_Method": "GET"},
    "forwarded": {
        "X_Forwarded_Uri": "/api/agents/7?x",
        "X_Forwarded_Method": "GET",
        "X_Forwarded_Host": "api.example.com",
    },
}


@pytest.fixture(scope="module")
def reader(shared_operator: Process, admin: Kube) -> Iterator[str]:
    """A key with the role readonly, as policy has accepted it."""
    assert shared_operator.popen.poll() is None
    namespace = "test-rules"
    admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    admin.apikey(namespace, "reader", role="readonly")
    admin.wait(namespace, "reader", Active="True")
    accept(admin, namespace, "reader", role="readonly", scopes=["*:read"])
    yield admin.plain_key(namespace, "reader")
    admin.request("DELETE", f"/api/v1/namespaces/{namespace}")


def accept(admin: Kube, namespace: str, name: str, **effective: object) -> None:
    """What policy writes once it has accepted a spec."""
    admin.patch(namespace, name, {"status": {"effective": effective}}, subresource="status")


@contextmanager
def judging(plane: ControlPlane, folder: Path, reader: str, *flags: str) -> Iterator[tuple[str, str, Path]]:
    """A verifier with RULES that knows the key: where it judges, its admin listener, and its rules file."""
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    with verifier(plane.kubeconfig, folder / "log", "--rules", str(rules), *flags) as (_, listen, admin):
        described = {name: value for each in HEADERS.values() for name, value in each.items()}
        eventually(lambda: get(listen, "/verify/api/agents/7", X_API_Key=reader, **described)[0] == 200)
        yield listen, admin, rules


def send(address: str, raw: bytes) -> bytes:
    """Bytes to a verifier, and all that it answers until it closes."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_roles_and_scopes_are_told_and_asked_for(verifying: str, reader: str) -> None:
    """Identity headers say them; ?scope= wants one, and the refusal names it."""
    eventually(lambda: get(verifying, "/verify?scope=agents:read", X_API_Key=reader)[0] == 200)
    headers = get(verifying, X_API_Key=reader)[1]
    assert (headers["x-auth-role"], headers["x-auth-scopes"]) == ("readonly", "*:read")
    status, headers, body = get(verifying, "/verify?scope=agents:read&scope=agents%3Awrite", X_API_Key=reader)
    assert (status, '"insufficient_scope"' in body) == (403, True)
    assert 'error="insufficient_scope", scope="agents:read agents:write"' in headers["www-authenticate"]
    assert get(verifying, "/verify?scopes=agents:read", X_API_Key=reader)[0] == 400
    assert get(verifying, "/verify/x?scope=agents:write", X_API_Key=reader)[0] == 200


def test_a_class_that_takes_a_role_away_acts_at_once(
    plane: ControlPlane, admin: Kube, reader: str, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """The next request finds the catalogue and the roles of the newest class."""
    namespace = make_namespace(admin)
    name = f"roles-{namespace}"
    spec = {
        "hashing": {"algorithm": "sha256"},
        "scopes": [{"name": "agents:read"}, {"name": "agents:write", "includes": ["agents:read"]}],
        "roles": [{"name": "writer", "scopes": ["agents:write"]}],
    }
    admin.create({"kind": "ApiKeyClass", "metadata": {"name": name}, "spec": spec})
    admin.apikey(namespace, "key", className=name, role="writer")
    admin.wait(namespace, "key", Active="True")
    accept(admin, namespace, "key", role="writer", scopes=["agents:read", "agents:write"])
    plain = admin.plain_key(namespace, "key")
    with verifier(plane.kubeconfig, tmp_path / "log", "--class", name) as (_, listen, _admin):
        eventually(lambda: get(listen, "/verify?scope=agents:write", X_API_Key=plain)[0] == 200)
        assert get(listen, X_API_Key=plain)[1]["x-auth-scopes"] == "agents:read agents:write"
        admin.patch(None, name, {"spec": {"roles": []}}, kind="ApiKeyClass")
        eventually(lambda: get(listen, "/verify?scope=agents:write", X_API_Key=plain)[0] == 403)
        headers = get(listen, X_API_Key=plain)[1]
        assert (headers["x-auth-role"], headers["x-auth-scopes"]) == ("-", "-")
    admin.delete(None, name, kind="ApiKeyClass")


def test_rules_judge_the_original_path(plane: ControlPlane, reader: str, tmp_path: Path) -> None:
    """The path after /verify with the method as it is; what a client says in headers does not matter."""
    forged = HEADERS["original"] | HEADERS["forwarded"]
    with judging(plane, tmp_path, reader) as (listen, _admin, _rules):
        for path, presented, status in (
            ("/healthz", "", 200),
            ("/api/agents/7", reader, 200),
            ("/api/agents/7", "", 401),
            ("/api/admin/x", reader, 403),
            ("/elsewhere", reader, 200),
        ):
            assert get(listen, f"/verify{path}", X_API_Key=presented, **forged)[0] == status, path
        anonymous = get(listen, "/verify/healthz", X_API_Key=reader)[1]
        assert {value for name, value in anonymous.items() if name.startswith("x-auth-")} == {"-"}
        assert get(listen, X_API_Key=reader, **forged)[0] == 400
        forbidden = send(listen, request_with(b"POST /verify/api/agents/7", reader))
        assert forbidden.startswith(b"HTTP/1.1 403 ")
        assert b'"code": "forbidden"' in forbidden


def request_with(line: bytes, key: str) -> bytes:
    return line + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-API-Key: %b\r\n\r\n" % key.encode()


@pytest.mark.parametrize("source", HEADERS)
def test_headers_describe_the_request(plane: ControlPlane, reader: str, tmp_path: Path, source: str) -> None:
    """One family is read; it is missing or repeated: 400; the others do not matter."""
    said = HEADERS[source]
    others = {name: "/static/x" for each in HEADERS.values() for name in each if name not in said}
    with judging(plane, tmp_path, reader, "--request-from", source) as (listen, _admin, _rules):
        assert get(listen, X_API_Key=reader, **said, **others)[0] == 200
        assert get(listen, "/verify/static/x", **said, **others)[0] == 401
        assert get(listen, "/verify/static/x", X_API_Key=reader, **others)[0] == 400
        for name in said:
            without = {each: value for each, value in said.items() if each != name}
            assert get(listen, "/verify/static/x", X_API_Key=reader, **without)[0] == 400
            lines = [f"{each.replace('_', '-')}: {value}" for each, value in [*said.items(), (name, said[name])]]
            raw = request_with(b"GET /verify", reader)[:-2] + "\r\n".join(lines).encode() + b"\r\n\r\n"
            assert send(listen, raw).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("source", ["path", "original", "forwarded"])
def test_hostile_targets_never_pass(plane: ControlPlane, reader: str, tmp_path: Path, source: str) -> None:
    """By raw bytes, with a live key and without one: never 200, and the verifier goes on."""
    presented = (b"X-API-Key: %b\r\n" % reader.encode(), b"")
    with judging(plane, tmp_path, reader, "--request-from", source) as (listen, admin, _rules):
        for target in HOSTILE + PROTECTED:
            for key in presented:
                answer = send(listen, request(source, target, key))
                assert answer.split(b" ")[1] in (b"400", b"401", b"403", b"404"), (target, answer)
        assert get(admin, "/healthz")[0] == 200


def test_rules_are_reloaded_whole(plane: ControlPlane, reader: str, tmp_path: Path) -> None:
    """A right file counts within seconds; a wrong one leaves the rules as they are, with a line that says why."""
    with judging(plane, tmp_path, reader) as (listen, admin, rules):

        def status() -> int:
            return get(listen, "/verify/api/agents/7", X_API_Key=reader)[0]

        assert "keywright_verifier_rules_current 1\n" in get(admin, "/metrics")[2]
        swap(rules, RULES.replace("agents:read", "agents:write"))
        eventually(lambda: status() == 403)
        swap(rules, RULES.replace("scopes", "scope"))
        eventually(lambda: "keywright_verifier_rules_current 0\n" in get(admin, "/metrics")[2])
        assert status() == 403
        assert get(admin, "/readyz")[0] == 200
        assert "rules[2].scope: there is no such field" in (tmp_path / "log").read_text()
        rules.unlink()
        swap(rules, RULES)
        eventually(lambda: status() == 200)


def swap(file: Path, text: str) -> None:
    """As editors and the kubelet do."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def test_a_missing_file_is_waited_for(plane: ControlPlane, reader: str, tmp_path: Path) -> None:
    """Not ready and no verdicts until the rules are there."""
    rules = tmp_path / "rules.yaml"
    flags = ("--rules", str(rules))
    with verifier(plane.kubeconfig, tmp_path / "log", *flags, ready=False) as (_, listen, admin):
        eventually(lambda: "no rules yet" in get(admin, "/readyz")[2], within=30)
        eventually(lambda: get(listen, "/verify/healthz")[0] == 503)
        assert get(listen, "/verify/elsewhere", X_API_Key=reader)[0] == 503
        rules.write_text(RULES)
        eventually(lambda: get(admin, "/readyz")[0] == 200)
        assert get(listen, "/verify/healthz")[0] == 200


def test_the_command_judges_as_the_verifier_does(plane: ControlPlane, reader: str, tmp_path: Path) -> None:
    """`keywright rules test` and the process agree on every target."""
    with judging(plane, tmp_path, reader) as (listen, _admin, rules):
        for method, target in (("GET", "/api/agents/7"), ("POST", "/api/agents/7"), ("GET", "/static/../api/admin")):
            command = [str(BIN / "keywright"), "rules", "test", str(rules), method, target, "--role", "readonly"]
            done = subprocess.run([*command, "--scope", "*:read"], capture_output=True, check=False)
            answer = send(listen, request_with(f"{method} /verify{target}".encode(), reader))
            assert (done.returncode == 0) == answer.startswith(b"HTTP/1.1 200 "), target
