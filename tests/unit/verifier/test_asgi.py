"""The middleware as an ASGI server and an application meet it, on an API server of loopback."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keywright.asgi import KeywrightMiddleware, require
from keywright.errors import KeywrightError
from tests.unit.verifier.builders import api_key, api_key_class, at, mint, record
from tests.unit.verifier.cluster import Cluster, running_cluster

KEY = mint()
BEARER = ("Authorization", f"Bearer {KEY.text}")
Message = dict[str, Any]
App = Callable[[Message, Any, Any], Awaitable[None]]


async def show(scope: Message, receive: Any, send: Any) -> None:
    """An application without a lifespan that says who asks."""
    if scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        return
    assert scope["type"] == "http", "no lifespan here"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-of-app", b"1")]})
    await send({"type": "http.response.body", "body": repr(scope["keywright"]).encode()})


class Server:
    """What a server does, without sockets."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.told: list[Message] = []
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self.life: asyncio.Task[None] | None = None

    async def start(self) -> Message:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self.life = asyncio.ensure_future(self.app(scope, self._to_app.get, self._from_app.put))
        return await self._tell("startup")

    async def stop(self) -> Message:
        assert self.life is not None
        answer = await self._tell("shutdown")
        await self.life
        return answer

    async def _tell(self, event: str) -> Message:
        await self._to_app.put({"type": f"lifespan.{event}"})
        return await asyncio.wait_for(self._from_app.get(), 10)

    async def connect(
        self, *headers: tuple[str, str], path: str = "/agents", raw: bytes | None = None, **scope: Any
    ) -> list[Message]:
        """What a connection is told."""
        said: list[Message] = []
        fields = [(b"host", b"api.example.com")] + [(n.lower().encode(), v.encode()) for n, v in headers]
        full = {"type": "http", "method": "GET", "path": path, "headers": fields, "query_string": b"", **scope}
        if raw is not None:
            full["raw_path"] = raw

        async def receive() -> Message:
            return {"type": "websocket.connect" if full["type"] == "websocket" else "http.request"}

        async def send(message: Message) -> None:
            said.append(message)

        await self.app(full, receive, send)
        return said

    async def ask(self, *headers: tuple[str, str], **scope: Any) -> tuple[int, dict[str, str], str]:
        start, body = await self.connect(*headers, **scope)
        fields = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], fields, body["body"].decode()

    async def statuses(self, *paths: str, key: bool = True) -> list[int]:
        return [(await self.ask(*([BEARER] if key else []), path=each))[0] for each in paths]


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as (running, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        running.put("apikeys", api_key(record(KEY, expiresAt=at(3600))))
        yield running


@asynccontextmanager
async def serving(app: App = show, **options: Any) -> AsyncIterator[Server]:
    """A server that has started and is in sync."""
    server = Server(KeywrightMiddleware(app, **{"usage": False} | options))  # type: ignore[arg-type]
    assert (await server.start())["type"] == "lifespan.startup.complete"
    while (await server.ask())[0] == 503:
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        assert (await server.stop())["type"] == "lifespan.shutdown.complete"


async def test_an_identity(cluster: Cluster) -> None:
    """The application sees who asks; the client hears when its key ends."""
    async with serving() as server:
        status, headers, body = await server.ask(BEARER, ("X-Auth-Subject", "forged"))
    assert status == 200
    assert headers == {"x-of-app": "1", "x-auth-key-expires": at(3600)}
    assert f"subject='apikey:payments/ci-deploy', key='payments/ci-deploy', key_id='{KEY.key_id}'" in body
    assert "class_name='standard', role=None, scopes=(), expires_at=datetime" in body
    assert KEY.text not in body


async def test_a_refusal_is_the_verifiers(cluster: Cluster) -> None:
    """Status, challenges and problem document, and the application hears nothing of it."""
    async with serving() as server:
        start, body = await server.connect()
    assert start["status"] == 401
    assert [value for name, value in start["headers"] if name == b"www-authenticate"] == [
        b'Bearer realm="keywright"',
        b'ApiKey realm="keywright"',
    ]
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"])["code"] == "missing_key"
    assert not {b"date", b"x-of-app"} & {name for name, _ in start["headers"]}


async def test_revocation_and_a_new_header(cluster: Cluster) -> None:
    """Both act as soon as the watch brings them."""
    async with serving() as server:
        assert (await server.ask(("X-Own", KEY.text)))[0] == 401
        cluster.put("apikeyclasses", api_key_class("standard", credentials={"headers": ["X-Own"]}))
        async with asyncio.timeout(10):
            while (await server.ask(("X-Own", KEY.text)))[0] != 200:
                await asyncio.sleep(0.01)
        cluster.put("apikeys", api_key(record(KEY), spec={"revoked": True}))
        async with asyncio.timeout(10):
            while (await server.ask(("X-Own", KEY.text)))[0] != 401:
                await asyncio.sleep(0.01)


async def test_limits(cluster: Cluster) -> None:
    """Counted in memory; what is allowed says what is left, and 429 when to try again."""
    limits = [{"name": "hour", "requests": 1, "window": "1h"}]
    cluster.put("apikeyclasses", api_key_class("standard", rateLimits=limits))
    async with serving() as server:
        _, allowed, _ = await server.ask(BEARER)
        status, headers, _ = await server.ask(BEARER)
    assert allowed["ratelimit"].startswith('"hour";r=0')
    assert (status, headers["ratelimit-policy"], "retry-after" in headers) == (429, '"hour";q=1;w=3600', True)


async def test_scopes_and_open_paths(cluster: Cluster) -> None:
    """What every request needs, what one route needs, and what needs no key."""
    granted = {"effective": {"scopes": ["agents:*"]}}
    cluster.put("apikeys", api_key(record(KEY), spec={"scopes": ["agents:*"]}, status=granted))

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] != "/open":
            require(scope, f"agents:{scope['path'][1:]}" if scope["path"] != "/reports" else "reports:read")
        await show(scope, receive, send)

    async with serving(app, scopes=["agents:read"], anonymous=["/open", "/require-open"]) as server:
        assert await server.statuses("/write", "/reports", "/open") == [200, 403, 200]
        assert await server.statuses("/write", "/open", "/require-open", key=False) == [401, 200, 401]
        assert (await server.ask(path="/open"))[2] == "None"
        _, headers, body = await server.ask(BEARER, path="/reports")
        assert 'error="insufficient_scope", scope="reports:read"' in headers["www-authenticate"]
        assert json.loads(body)["code"] == "insufficient_scope"
    async with serving(scopes=["reports:read"]) as server:
        assert await server.statuses("/any") == [403]


async def test_a_rules_file(cluster: Cluster, tmp_path: Path) -> None:
    """It is held against the path that the application sees; what can be read in two ways is refused."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {path: /open/*, allow: anonymous}\n- {path: /agents, hosts: [api.example.com]}\n")
    async with serving(rules=rules) as server:
        assert await server.statuses("/open/x", "/agents", "/other", "//agents", "/open/../other") == [
            200,
            200,
            403,
            400,
            400,
        ]
        assert [
            (await server.ask(BEARER, path=path, raw=raw))[0]
            for path, raw in (
                ("/agents", b"/agents"),
                ("/agents", b"/%61gents"),
                ("/other", b"/agents"),
                ("/open/a/b", b"/open/a%2fb"),
            )
        ] == [200, 200, 400, 400]
        assert (await server.ask(BEARER, ("Host", "other")))[0] == 400


async def test_rules_that_are_not_there(cluster: Cluster, tmp_path: Path) -> None:
    """503 until they are."""
    async with asyncio.timeout(10):
        server = Server(KeywrightMiddleware(show, rules=tmp_path / "none", usage=False))  # type: ignore[arg-type]
        await server.start()
        assert "no rules yet" in (await server.ask(BEARER))[2]
        (tmp_path / "none").write_text("rules:\n- {path: /agents}\n")
        while (await server.ask(BEARER))[0] == 503:
            await asyncio.sleep(0.05)
        assert (await server.ask(BEARER))[0] == 200
        await server.stop()


async def test_websockets(cluster: Cluster) -> None:
    """Judged at the handshake; refused by a close, or by a whole answer where the server can carry one."""
    extensions: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}
    async with serving() as server:
        assert [each["type"] for each in await server.connect(BEARER, type="websocket")] == ["websocket.accept"]
        assert await server.connect(type="websocket") == [{"type": "websocket.close", "code": 1008}]
        start, body = await server.connect(type="websocket", **extensions)
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
        assert (body["type"], b"missing_key" in body["body"]) == ("websocket.http.response.body", True)
    with pytest.raises(KeywrightError, match="cannot be judged"):
        await server.connect(BEARER, type="carrier-pigeon")


async def test_not_before_and_not_after(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks before the first picture is whole, or after the end, is told 503."""
    server = Server(KeywrightMiddleware(show, anonymous=["/agents"], usage=False))  # type: ignore[arg-type]
    await server.start()
    assert (await server.ask())[0] == 503
    async with asyncio.timeout(10):
        while (await server.ask())[0] == 503:
            await asyncio.sleep(0.01)
    await server.stop()
    assert (await server.ask(BEARER))[0] == 503
    await server.start()
    async with asyncio.timeout(10):
        while (await server.ask())[0] == 503:
            await asyncio.sleep(0.01)
    await server.stop()
    assert "announced no start" not in caplog.text


async def test_a_server_without_a_lifespan(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """The first request starts the watches and is told 503."""
    middleware = KeywrightMiddleware(show, usage=False)  # type: ignore[arg-type]
    server = Server(middleware)
    assert (await server.ask(BEARER))[0] == 503
    async with asyncio.timeout(10):
        while (await server.ask(BEARER))[0] == 503:
            await asyncio.sleep(0.01)
    assert caplog.text.count("announced no start") == 1
    (watching,) = (each for each in asyncio.all_tasks() if each.get_name() == "keywright")
    watching.cancel()
    await asyncio.wait({watching})
    assert (await server.ask(BEARER))[0] == 503


async def test_an_application_with_a_lifespan(cluster: Cluster) -> None:
    """It hears of start and stop, and what it says of them is passed on; the last use is told before the end."""
    heard = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await show(scope, receive, send)
            return
        for _ in range(2):
            heard.append((await receive())["type"])
            await send({"type": f"{heard[-1]}.complete"})

    async with serving(app, usage=True) as server:
        assert (await server.ask(BEARER))[0] == 200
    assert heard == ["lifespan.startup", "lifespan.shutdown"]
    assert [key for each in cluster.usages.values() for key in each["uses"]] == [f"payments/ci-deploy/{KEY.key_id}"]


async def test_an_application_that_cannot_start(cluster: Cluster) -> None:
    """Its own word stands, and nothing watches any more."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise RuntimeError("no database")

    server = Server(KeywrightMiddleware(app, usage=False))  # type: ignore[arg-type]
    assert await server.start() == {"type": "lifespan.startup.failed", "message": "no database"}
    assert server.life is not None
    with pytest.raises(RuntimeError, match="no database"):
        await server.life
    assert not [each for each in asyncio.all_tasks() if each.get_name() == "keywright"]


async def test_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A service that has a lifespan does not start; one that has none refuses everything, and says why."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    caplog.set_level(logging.CRITICAL)
    answer = await Server(KeywrightMiddleware(show)).start()  # type: ignore[arg-type]
    assert (answer["type"], "kubeconfig" in answer["message"].lower()) == ("lifespan.startup.failed", True)
    server = Server(KeywrightMiddleware(show))  # type: ignore[arg-type]
    assert await server.statuses("/a", "/b") == [503, 503]
    assert "not watching the cluster" in caplog.text


async def test_an_error_after_the_answer_has_begun(cluster: Cluster) -> None:
    """It is too late to refuse, so it is the server's."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await show(scope, receive, send)
        require(scope, "agents:write")

    async with serving(app) as server:
        with pytest.raises(KeywrightError, match="does not have the scope"):
            await server.ask(BEARER)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespaces": "payments"}, "namespaces is a list: write \\['payments'\\]"),
        ({"namespaces": ["a"], "all_namespaces": True}, "namespaces and all_namespaces exclude each other"),
        ({"namespaces": ["Payments"]}, "^namespaces 'Payments' is not possible: use the name of a namespace"),
        ({"rules": "rules.yaml", "anonymous": ["/healthz"]}, "rules and anonymous exclude each other"),
        ({"anonymous": ["healthz"]}, "anonymous: "),
        ({"scopes": ["Agents"]}, "'Agents' is no scope"),
        ({"max_staleness": 5}, "120 at least"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    """One line that names the option, before anything has started."""
    with pytest.raises(KeywrightError, match=message):
        KeywrightMiddleware(show, **options)  # type: ignore[arg-type]
