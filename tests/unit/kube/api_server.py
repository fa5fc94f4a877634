"""An API server on loopback that answers what a test has laid out, and remembers what it was asked."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from keywright.kube.client import ApiClient, connect
from keywright.kube.credentials import Credentials

Step = dict[str, Any] | bytes | Callable[[], Awaitable[None]]
"""What a watch does next: send an event, send raw bytes, or wait for something."""


class ApiServer:
    """``lists`` and ``watches`` are used up in order; the last list answers for ever, and a watch that is not laid
    out stays open and silent. ``answers`` come before both, for any request.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.answers: deque[web.Response | int] = deque()
        self.lists: deque[list[list[dict[str, Any]]]] = deque([[[]]])
        self.watches: deque[list[Step] | int] = deque()
        self.watched_from: list[str] = []
        self.version = 100
        self.before_page: Callable[[int], Awaitable[None]] | None = None
        self._is_served = False
        self._over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(json.loads(await request.text() or "null"))
        if self.answers:
            answer = self.answers.popleft()
            return answer if isinstance(answer, web.Response) else refusal(answer)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        return await self._list(request)

    async def _list(self, request: web.Request) -> web.Response:
        page = int(request.query.get("continue", "0"))
        if page == 0 and len(self.lists) > 1 and self._is_served:
            self.lists.popleft()
        self._is_served = True
        if self.before_page is not None:
            await self.before_page(page)
        pages = self.lists[0]
        metadata: dict[str, Any] = {"resourceVersion": str(self.version)}
        if page + 1 < len(pages):
            metadata["continue"] = str(page + 1)
        return web.json_response({"metadata": metadata, "items": pages[page] or None})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watched_from.append(request.query["resourceVersion"])
        script = self.watches.popleft() if self.watches else [self.stay_open]
        if isinstance(script, int):
            return refusal(script)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for step in script:
            if callable(step):
                await step()
            else:
                await response.write(step if isinstance(step, bytes) else json.dumps(step).encode() + b"\n")
        return response

    async def stay_open(self) -> None:
        """Until the server ends."""
        await self._over.wait()

    def close(self) -> None:
        self._over.set()


def refusal(status: int, reason: str = "", **extra: Any) -> web.Response:
    """A Kubernetes Status; ``extra`` may quote anything."""
    words = {404: "NotFound", 409: "Conflict", 410: "Expired", 403: "Forbidden", 429: "TooManyRequests"}
    body = {"kind": "Status", "code": status, "reason": reason or words.get(status, "InternalError"), **extra}
    return web.json_response(body, status=status)


def secret(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "payments", "uid": f"uid-{name}", "resourceVersion": str(version)}}


def event(kind: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": manifest}


def bookmark(version: int) -> dict[str, Any]:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


@asynccontextmanager
async def serving(token: Callable[[], str | None] = lambda: None) -> AsyncIterator[tuple[ApiServer, ApiClient]]:
    """A server and a client of it."""
    server = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    credentials = Credentials(server=f"http://127.0.0.1:{port}", namespace="payments", context="test", token=token)
    try:
        async with connect(credentials) as client:
            yield server, client
    finally:
        server.close()
        await runner.cleanup()
