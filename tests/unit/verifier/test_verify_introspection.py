"""``POST /introspect``: who may ask, what is told, and a body that is read no further than it was announced."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from keywright.addresses import Tcp
from keywright.verifier import verdicts
from keywright.verifier.http.listener import listen
from keywright.verifier.http.request import Limits
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import CHEAP, NOW, api_key, api_key_class, at, mint, record, with_other_secret
from tests.unit.verifier.wire import Reply, Served, read_reply, serving

CALLER = mint(1)
TOKEN = mint(2)
FORM = "application/x-www-form-urlencoded"
SETTINGS = VerifierSettings(
    introspect="keys:introspect", introspect_callers=("payments/caller",), classes=("standard", "owned")
)
INACTIVE = b'{"active": false}'


@pytest.fixture
async def admin() -> AsyncIterator[Served]:
    async with serving(SETTINGS) as served:
        hub = served.verifier.admin_hub
        hub.limits = Limits(head_seconds=0.5)
        listener = await listen(Tcp("127.0.0.1", 0), hub.open)
        assert isinstance(listener.address, Tcp)
        running = Served(served.verifier, served.watch, listener.address.port, hub)
        put(running, CALLER, "caller", uid="uid-c", scopes=["keys:introspect"])
        sweeping = asyncio.create_task(hub.keep_sweeping())
        yield running
        sweeping.cancel()
        listener.close()
        await running.close()
        await hub.stop(0)


def put(served: Served, key: Any, name: str, *, uid: str, scopes: list[str], **more: Any) -> None:
    spec = {"scopes": scopes} | more.pop("spec", {})
    status = {"effective": spec | {}} | more.pop("status", {})
    served.verifier.index.put(api_key(record(key, **more), name=name, uid=uid, spec=spec, status=status))


def head(body: bytes, *lines: str, key: str = CALLER.text, kind: str = FORM) -> bytes:
    fields = [
        "POST /introspect HTTP/1.1",
        "Host: h",
        f"Authorization: Bearer {key}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join(fields).encode() + b"\r\n\r\n"


async def introspect(served: Served, token: str, **kwargs: Any) -> Reply:
    body = urlencode({"token": token}).encode()
    return await served.send(head(body, **kwargs) + body)


async def test_an_active_key_is_described(admin: Served) -> None:
    """Subject, scopes, times and the ApiKey; never the key itself."""
    owner = {"user": "alice", "groups": ["payments"]}
    spec = {"owner": owner, "role": "readonly"}
    put(admin, TOKEN, "token", uid="uid-t", scopes=["agents:write"], spec=spec, expiresAt=at(3600))
    effective = {"owner": owner, "role": "readonly", "scopes": ["*:read", "agents:write"]}
    manifest = api_key(
        record(TOKEN, expiresAt=at(3600)),
        name="token",
        uid="uid-t",
        spec=spec | {"scopes": ["agents:write"]},
        status={"effective": effective},
    )
    admin.verifier.index.put(manifest)
    reply = await introspect(admin, TOKEN.text)
    assert (reply.status, reply.one("Content-Type"), reply.one("Cache-Control")) == (
        200,
        "application/json",
        "no-store",
    )
    assert json.loads(reply.body) == {
        "active": True,
        "sub": "alice",
        "username": "alice",
        "client_id": "payments/token",
        "scope": "*:read agents:write",
        "exp": int(NOW.timestamp()) + 3600,
        "iat": int(NOW.timestamp()) - 60,
        "jti": TOKEN.key_id,
        "keywright_class": "standard",
        "keywright_role": "readonly",
        "keywright_authorization": "Scopes",
    }
    assert TOKEN.text.encode() not in reply.body
    assert CALLER.text.encode() not in reply.body
    assert reply.one("Connection") == "close"


async def test_what_there_is_nothing_to_say_about_is_left_out(admin: Served) -> None:
    """No owner, no role, no scope, no end."""
    put(admin, TOKEN, "token", uid="uid-t", scopes=[])
    told = json.loads((await introspect(admin, TOKEN.text)).body)
    assert told["sub"] == "apikey:payments/token"
    assert not {"username", "scope", "exp", "keywright_role"} & told.keys()


async def test_no_scopes_are_told_where_the_owner_decides(admin: Served) -> None:
    """Whoever went by them would give a key more than it has. Nor does such a key have the scope to ask."""
    classes = admin.verifier.classes
    classes.put(api_key_class("standard"))
    put(admin, TOKEN, "token", uid="uid-t", scopes=["*"], spec={"owner": {"user": "alice"}})
    assert json.loads((await introspect(admin, TOKEN.text)).body)["scope"] == "*"
    classes.put(api_key_class("owned", authorization="Owner"))
    spec = {"owner": {"user": "alice"}, "scopes": ["*"]}
    for key, name in ((TOKEN, "token"), (CALLER, "caller")):
        manifest = api_key(
            record(key), name=name, uid="uid-t", class_name="owned", spec=spec, status={"effective": spec}
        )
        admin.verifier.index.put(manifest)
        if key is TOKEN:
            told = json.loads((await introspect(admin, TOKEN.text)).body)
            assert (told["active"], told["keywright_authorization"], "scope" in told) == (True, "Owner", False)
    admin.verifier.index.remove("uid-c")
    refused = await introspect(admin, TOKEN.text)
    assert (refused.status, refused.code) == (403, "forbidden")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        " " + TOKEN.text,
        TOKEN.text + "x",
        with_other_secret(TOKEN),
        mint(9).text,
        mint(2, "other").text,
        "\u00e9",
        "%",
    ],
)
async def test_whatever_is_no_active_key_is_inactive(admin: Served, token: str) -> None:
    """One body, and nothing says why."""
    put(admin, TOKEN, "token", uid="uid-t", scopes=[])
    reply = await introspect(admin, token)
    assert (reply.status, reply.body) == (200, INACTIVE)


@pytest.mark.parametrize("spec", [{"revoked": True}, {"suspended": True}, {"expiresAt": at(-1)}])
async def test_a_dead_key_is_inactive(admin: Served, spec: dict[str, Any]) -> None:
    """Revoked, suspended, expired: the same."""
    put(admin, TOKEN, "token", uid="uid-t", scopes=[], spec=spec)
    reply = await introspect(admin, TOKEN.text)
    assert (reply.status, reply.body) == (200, INACTIVE)
    assert admin.verifier.metrics.introspected["inactive"] == 1  # type: ignore[index]


async def test_a_key_is_proven_on_its_first_use(admin: Served) -> None:
    """By argon2 here as elsewhere, once; both keys count as used."""
    put(admin, TOKEN, "token", uid="uid-t", scopes=[], hashed=CHEAP)
    assert json.loads((await introspect(admin, TOKEN.text)).body)["active"] is True
    assert json.loads((await introspect(admin, TOKEN.text)).body)["active"] is True
    assert admin.verifier.metrics.argon2_runs == 1
    assert admin.verifier.used is not None
    assert {each.path for each in admin.verifier.used} == {b"payments/caller", b"payments/token"}


async def test_who_may_ask(admin: Served) -> None:
    """A live key with the scope that is among the callers; the others are told what is missing, and no more."""
    put(admin, TOKEN, "token", uid="uid-t", scopes=["*"])
    body = urlencode({"token": TOKEN.text}).encode()
    nobody = b"POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    missing = await admin.send(nobody % (FORM.encode(), len(body)) + body)
    assert (missing.status, missing.code) == (401, "missing_key")
    assert missing.all("WWW-Authenticate")
    assert (await introspect(admin, TOKEN.text, key=mint(9).text)).code == "invalid_key"
    other = await introspect(admin, TOKEN.text, key=TOKEN.text)
    assert (other.status, other.code) == (403, "forbidden")
    put(admin, CALLER, "caller", uid="uid-c", scopes=["keys:read"])
    lacking = await introspect(admin, TOKEN.text)
    assert (lacking.status, lacking.code) == (403, "insufficient_scope")
    assert 'scope="keys:introspect"' in lacking.all("WWW-Authenticate")[0]
    put(admin, CALLER, "caller", uid="uid-c", scopes=["*"], spec={"suspended": True})
    assert (await introspect(admin, TOKEN.text)).code == "suspended_key"
    assert admin.verifier.metrics.introspected["refused"] == 5  # type: ignore[index]
    assert admin.verifier.metrics.refused[verdicts.NOT_A_CALLER] == 0


async def test_a_caller_with_two_headers_is_refused(admin: Served) -> None:
    """As on /verify."""
    assert (await introspect(admin, TOKEN.text)).status == 200
    body = urlencode({"token": TOKEN.text}).encode()
    assert (await admin.send(head(body, f"X-API-Key: {TOKEN.text}") + body)).code == "invalid_request"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "token=",
        "x=y",
        "token",
        "token=a&token=b",
        "token=a&x",
        "&".join(f"a{n}=b" for n in range(9)),
        "token=\u00e9",
    ],
)
async def test_a_body_that_is_none(admin: Served, body: str) -> None:
    """400, with what to send, and none of what was sent."""
    raw = body.encode()
    reply = await admin.send(head(raw) + raw)
    assert (reply.status, reply.code) == (400, "invalid_request")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", f"{FORM}x", ""])
async def test_a_content_type_that_is_none(admin: Served, kind: str) -> None:
    """400, whatever the body."""
    body = urlencode({"token": TOKEN.text}).encode()
    assert (await admin.send(head(body, kind=kind) + body)).status == 400
    assert (await admin.send(head(body, f"Content-Type: {FORM}") + body)).status == 400
    assert (await admin.send(head(body, kind=f"{FORM.upper()} ; charset=utf-8") + body)).status == 200


async def test_other_fields_do_not_matter(admin: Served) -> None:
    """token_type_hint may be sent (RFC 7662 section 2.1)."""
    put(admin, TOKEN, "token", uid="uid-t", scopes=[])
    body = urlencode({"token_type_hint": "access_token", "token": TOKEN.text}).encode()
    assert json.loads((await admin.send(head(body) + body)).body)["active"] is True


async def test_not_in_sync(admin: Served) -> None:
    """503: neither active nor not."""
    admin.watch.synced.clear()
    reply = await introspect(admin, TOKEN.text)
    assert (reply.status, reply.code) == (503, "unavailable")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /introspect HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        (b"GET /introspect?token=x HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST /introspect/ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST /verify/../introspect HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Length: 8193\r\n\r\n", 413),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nab", 400),
        (b"POST /introspect HTTP/1.1\r\nHost: h\r\n\r\n", 401),
        (b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\ntoken=x", 405),
    ],
)
async def test_what_is_not_read(admin: Served, raw: bytes, status: int) -> None:
    """Only POST of exactly this path with a length has a body, and a small one."""
    assert (await admin.send(raw)).status == status


async def test_nothing_behind_a_body_is_read(admin: Served) -> None:
    """One answer, then the connection ends, however much was sent."""
    body = urlencode({"token": TOKEN.text}).encode()
    answers = await admin.send_until_close(head(body) + body + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.endswith(INACTIVE)


async def test_a_body_in_pieces(admin: Served) -> None:
    """It is waited for, byte by byte."""
    body = urlencode({"token": TOKEN.text}).encode()
    reader, writer = await admin.connect()
    for piece in (head(body), body[:1], body[1:-1], body[-1:]):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    assert (await read_reply(reader)).body == INACTIVE


async def test_without_a_body_the_connection_goes_on(admin: Served) -> None:
    """What follows a request without one is the next request."""
    raw = head(b"").replace(b"Content-Length: 0\r\n", b"") + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
    reader, writer = await admin.connect()
    writer.write(raw)
    assert [(await read_reply(reader)).status for _ in range(2)] == [400, 200]


async def test_a_body_that_never_comes(admin: Served) -> None:
    """408 after the time for a head; a trickle does not help."""
    reader, writer = await admin.connect()
    writer.write(head(b"x" * 100))
    replying = asyncio.create_task(read_reply(reader))
    while not replying.done():
        writer.write(b"x")
        await asyncio.sleep(0.1)
    assert (await replying).status == 408
    gone, leaving = await admin.connect()
    leaving.write(head(b"x" * 100) + b"x")
    leaving.write_eof()
    assert await gone.read() == b""


async def test_it_is_off_unless_asked_for(served: Served) -> None:
    """And never on the verify listener."""
    hub = served.verifier.admin_hub
    assert not hub.watched.carriers | hub.watched.telling
    listener = await listen(Tcp("127.0.0.1", 0), hub.open)
    assert isinstance(listener.address, Tcp)
    running = Served(served.verifier, served.watch, listener.address.port, hub)
    assert (await introspect(running, TOKEN.text)).status == 404
    assert (await introspect(served, TOKEN.text)).status == 404
    listener.close()
    await running.close()
    await hub.stop(0)
