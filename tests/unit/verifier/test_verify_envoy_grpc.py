"""Envoy's question over gRPC, asked by another client of gRPC."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from keywright.addresses import Tcp
from keywright.errors import KeywrightError
from keywright.verifier.envoy import envoy_auth_pb2 as wire
from keywright.verifier.http.listener import Unix
from keywright.verifier.run import _serve_grpc
from keywright.verifier.settings import VerifierSettings
from tests.support.processes import free_address
from tests.unit.verifier.builders import CHEAP, api_key, api_key_class, at, mint, record
from tests.unit.verifier.wire import Served, serving

KEY = mint()
BEARER = ("authorization", f"Bearer {KEY.text}".encode())
RULES = "rules:\n- {path: /open, allow: anonymous}\n- {path: /agents, methods: [GET]}\n"


def question(*headers: tuple[str, bytes], path: str = "/agents", method: str = "GET") -> wire.CheckRequest:
    raw = wire.HeaderMap(headers=[wire.HeaderValue(key=name, raw_value=value) for name, value in headers])
    http = wire.AttributeContext.HttpRequest(method=method, path=path, host="api.example.com", header_map=raw)
    return wire.CheckRequest(attributes=wire.AttributeContext(request=wire.AttributeContext.Request(http=http)))


class Client:
    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self._check = self.channel.unary_unary(
            "/envoy.service.auth.v3.Authorization/Check",
            request_serializer=wire.CheckRequest.SerializeToString,
            response_deserializer=wire.CheckResponse.FromString,
        )

    async def check(self, asked: wire.CheckRequest) -> wire.CheckResponse:
        answer: wire.CheckResponse = await self._check(asked, timeout=10)
        return answer

    async def status(self, *headers: tuple[str, bytes], **about: Any) -> int:
        answer = await self.check(question(*headers, **about))
        return 200 if answer.HasField("ok_response") else answer.denied_response.status.code


def pairs(options: Any) -> list[tuple[str, str]]:
    return [(each.header.key, each.header.value) for each in options]


@pytest.fixture
async def judged(tmp_path: Path) -> AsyncIterator[tuple[Served, Client]]:
    """A verifier with one key and rules, and a client of it, at a Unix socket."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    settings = VerifierSettings(argon2_workers=2, rules=rules, audit=tmp_path / "audit.jsonl")
    async with serving(settings) as served:
        served.verifier.index.put(api_key(record(KEY, expiresAt=at(3600))))
        stop = await _serve_grpc(Unix(tmp_path / "grpc.sock"), served.verifier)
        client = Client(f"unix:{tmp_path / 'grpc.sock'}")
        try:
            yield served, client
        finally:
            await client.channel.close()
            await stop(0)


async def test_allowed(judged: tuple[Served, Client]) -> None:
    """What goes to the backend, what to the client, and what is taken off: every header that may carry a key."""
    served, client = judged
    limits = [{"name": "hour", "requests": 9, "window": "1h"}]
    served.verifier.classes.put(
        api_key_class("standard", rateLimits=limits, credentials={"schemes": ["Bearer"], "headers": ["X-Own"]})
    )
    answer = await client.check(question(BEARER))
    assert answer.status.code == 0
    assert pairs(answer.ok_response.headers) == [
        ("x-auth-subject", "apikey:payments/ci-deploy"),
        ("x-auth-key", "payments/ci-deploy"),
        ("x-auth-key-id", KEY.key_id),
        ("x-auth-key-expires", at(3600)),
        ("x-auth-class", "standard"),
        ("x-auth-role", "-"),
        ("x-auth-scopes", "-"),
    ]
    assert {each.append_action for each in answer.ok_response.headers} == {2}
    client_hears = dict(pairs(answer.ok_response.response_headers_to_add))
    assert client_hears.keys() == {"ratelimit", "ratelimit-policy", "x-auth-key-expires"}
    assert list(answer.ok_response.headers_to_remove) == ["authorization", "x-own"]


async def test_refused(judged: tuple[Served, Client]) -> None:
    """Status, challenges and problem document of the verdict."""
    _, client = judged
    answer = await client.check(question())
    assert (answer.status.code, answer.denied_response.status.code) == (7, 401)
    said = pairs(answer.denied_response.headers)
    assert [value for name, value in said if name == "www-authenticate"] == [
        'Bearer realm="keywright"',
        'ApiKey realm="keywright"',
    ]
    assert "content-length" not in dict(said)
    assert json.loads(answer.denied_response.body)["code"] == "missing_key"


async def test_an_audit_line_for_each(judged: tuple[Served, Client], tmp_path: Path) -> None:
    """As over HTTP: who, what, by which rule; the id of a refused key, and nothing of anybody's secret."""
    _, client = judged
    other = mint(2)
    trace = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    await client.status(BEARER, trace, path="/agents?a=b")
    await client.status(("authorization", f"Bearer {other.text}".encode()))
    await client.status(path="/open")
    log = tmp_path / "audit.jsonl"
    async with asyncio.timeout(10):
        while not log.exists() or log.read_text().count("\n") < 3:
            await asyncio.sleep(0.02)
    text = log.read_text()
    assert KEY.text[-49:] not in text
    assert other.text[-49:] not in text
    allowed, refused, anonymous = [json.loads(each) for each in text.splitlines()]
    assert (allowed["key"], allowed["path"], allowed["rule"]) == ("payments/ci-deploy", "/agents", 1)
    assert (allowed["peer"], allowed["trace"]) == ("unix", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert (refused["code"], refused["keyId"]) == ("invalid_key", other.key_id)
    assert (anonymous["verdict"], anonymous["path"]) == ("allowed", "/open")


async def test_who_has_connected_over_tcp(tmp_path: Path) -> None:
    """By address, without port and brackets."""
    for number, host in enumerate(("127.0.0.1", "::1")):
        log = tmp_path / f"audit-{number}.jsonl"
        async with serving(VerifierSettings(argon2_workers=2, audit=log)) as served:
            address = Tcp(host, int(free_address().rpartition(":")[2]))
            stop = await _serve_grpc(address, served.verifier)
            client = Client(str(address))
            assert await client.status(BEARER) == 401
            await client.channel.close()
            await stop(0)
        assert json.loads(log.read_text())["peer"] == host


async def test_the_rules_of_the_verifier(judged: tuple[Served, Client]) -> None:
    """By the path that the client sent; the query is no part of it."""
    _, client = judged
    assert await client.status(path="/open?x=//") == 200
    assert await client.status(BEARER, path="/agents?x") == 200
    assert await client.status(BEARER, method="POST") == 403
    assert await client.status(BEARER, path="/other") == 403
    assert await client.status(BEARER, path="/open/../agents") == 400


async def test_a_first_use_and_a_revocation(judged: tuple[Served, Client]) -> None:
    """A key that has to be proven first is waited for; what the watch brings acts on the next question."""
    served, client = judged
    served.verifier.index.put(api_key(record(KEY, hashed=CHEAP)))
    assert await client.status(BEARER) == 200
    served.verifier.index.put(api_key(record(KEY, hashed=CHEAP), spec={"revoked": True}))
    assert await client.status(BEARER) == 401


async def test_what_a_proxy_may_not_hide(judged: tuple[Served, Client]) -> None:
    """A header that came twice is refused, and so is a question without raw headers, or with a whole body."""
    _, client = judged
    assert await client.status(BEARER, BEARER) == 400
    joined = question(BEARER)
    joined.attributes.request.http.ClearField("header_map")
    answer = await client.check(joined)
    assert (answer.denied_response.status.code, "proxy's configuration" in answer.denied_response.body) == (400, True)
    with pytest.raises(grpc.aio.AioRpcError):
        await client.status(("x-api-key", b"x" * 200_000))


async def test_not_in_sync(judged: tuple[Served, Client]) -> None:
    """503, whatever is asked."""
    served, client = judged
    served.watch.synced.clear()
    assert await client.status(BEARER) == 503


async def test_an_address_that_is_taken(judged: tuple[Served, Client], tmp_path: Path) -> None:
    """One line says what to do, and a socket that somebody listens on stays."""
    served, client = judged
    with pytest.raises(KeywrightError, match="another process listens"):
        await _serve_grpc(Unix(tmp_path / "grpc.sock"), served.verifier)
    host, _, port = free_address().rpartition(":")
    stop = await _serve_grpc(Tcp(host, int(port)), served.verifier)
    with pytest.raises(KeywrightError, match="choose another address for --grpc-listen"):
        await _serve_grpc(Tcp(host, int(port)), served.verifier)
    await stop(0)
    assert (tmp_path / "grpc.sock").stat().st_mode & 0o777 == 0o660
    assert await client.status(BEARER) == 200


def test_nobody_else_loads_it() -> None:
    """A verifier that does not speak gRPC does not pay for it in memory."""
    code = "import sys, keywright.verifier.run; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_missing_package_is_one_line(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what to install."""
    monkeypatch.setitem(sys.modules, "keywright.verifier.envoy.endpoint", None)
    with pytest.raises(KeywrightError, match=r"pip install '\.\[grpc\]' in the checkout"):
        await _serve_grpc(Tcp("127.0.0.1", 1), served.verifier)
