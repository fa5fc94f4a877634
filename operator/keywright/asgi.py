"""Judges requests inside of a Python service: a middleware for everything that speaks ASGI (Starlette, FastAPI, …).

The same verdicts and the same answers as the verifier's, without a hop. It needs none of those frameworks. What it
knows of a connection is the ASGI specification (https://asgi.readthedocs.io, version 3).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keywright.errors import KeywrightError
from keywright.verifier.http.identity import Denied, Identity, RefusedError, Verdict, require
from keywright.verifier.in_process import InProcess
from keywright.verifier.settings import VerifierSettings

__all__ = ["Identity", "KeywrightMiddleware", "RefusedError", "require"]

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_BEGINNINGS = ("http.response.start", "websocket.accept")
_POLICY_VIOLATION = 1008


class KeywrightMiddleware:
    """Lets a request through to ``app`` if its key may pass, with ``scope["keywright"]``: the :class:`Identity`, or
    ``None`` on a path that needs no key. Everything else it answers itself.

    ``namespaces`` (default: the own one) hold the keys that are trusted, ``classes`` (default: the default class) are
    accepted. ``rules`` is a rules file; without one ``anonymous`` paths are open and ``scopes`` are needed by all
    others. ``max_staleness`` is in seconds, 120 at least. ``usage``: publish when keys were last used.

    Raises:
        KeywrightError: for options that cannot be.

    """

    def __init__(
        self,
        app: App,
        *,
        namespaces: Sequence[str] = (),
        all_namespaces: bool = False,
        classes: Sequence[str] = (),
        rules: str | PathLike[str] | None = None,
        anonymous: Sequence[str] = (),
        scopes: Sequence[str] = (),
        max_staleness: float = 300.0,
        usage: bool = True,
    ) -> None:
        settings = VerifierSettings(
            namespaces=_listed("namespaces", namespaces),
            all_namespaces=all_namespaces,
            classes=_listed("classes", classes),
            rules=Path(rules) if rules is not None else None,
            max_staleness=max_staleness,
            usage=usage,
        )
        self._app = app
        self._make: Callable[[], InProcess] = partial(
            InProcess, settings, anonymous=_listed("anonymous", anonymous), scopes=_listed("scopes", scopes)
        )
        self._engine = self._make()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, or the life of the server."""
        match scope["type"]:
            case "http" | "websocket":
                await self._judge(scope, receive, send)
            case "lifespan":
                await self._live(scope, receive, send)
            case other:
                raise KeywrightError(f"connections of the kind {other!r} cannot be judged, so none is let through")

    async def _judge(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._running is None:
            logger.warning("the server announced no start (lifespan): watching from this first request on")
            self._launch(asyncio.Event())
        engine = self._engine
        verdict = _ask(engine, scope)
        if isinstance(verdict, Coroutine):
            verdict = await verdict
        if isinstance(verdict, Denied):
            await _deny(verdict, scope, receive, send)
            return
        fields, has_begun = verdict.fields, False

        async def tell(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            if fields and message["type"] in _BEGINNINGS:
                message = {**message, "headers": [*message.get("headers", ()), *fields]}
            await send(message)

        try:
            await self._app({**scope, "keywright": verdict.identity}, receive, tell)
        except RefusedError as error:
            denied = engine.refuse(error)
            if has_begun or not isinstance(denied, Denied):
                raise
            await _deny(denied, scope, receive, send)

    async def _live(self, scope: Message, receive: Receive, send: Send) -> None:
        """Watch from before the application starts until after it has stopped, also for one that knows neither."""
        first: list[Message] = [await receive()]
        try:
            await self._start()
        except KeywrightError as error:
            await send({"type": "lifespan.startup.failed", "message": f"keywright: {error}"})
            return
        has_answered = False

        async def hear() -> Message:
            return first.pop() if first else await receive()

        async def tell(message: Message) -> None:
            nonlocal has_answered
            has_answered = True
            if message["type"] != "lifespan.startup.complete":
                await self._stop()
            await send(message)

        try:
            await self._app(scope, hear, tell)
        except Exception as error:
            if has_answered:
                raise
            logger.info("the application has no start of its own (lifespan): %s", type(error).__name__)
        finally:
            if has_answered:
                await self._stop()
        if not has_answered:
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._stop()
            await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        started = asyncio.Event()
        self._engine = self._make()
        running = self._launch(started)
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if running.done():
            await running

    def _launch(self, started: asyncio.Event) -> asyncio.Task[None]:
        self._running = asyncio.create_task(self._engine.run(started.set), name="keywright")
        self._running.add_done_callback(_report)
        return self._running

    async def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})


def _listed(name: str, value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise KeywrightError(f"{name} is a list: write [{value!r}]")
    return tuple(value)


def _report(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        what = error if isinstance(error, KeywrightError) else type(error).__name__
        logger.critical("not watching the cluster, so every request is answered 503: %s", what)


def _ask(engine: InProcess, scope: Message) -> Verdict | Coroutine[Any, Any, Verdict]:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return engine.judge(
        method=scope.get("method", "GET").encode("latin-1"),
        target=scope.get("raw_path") or quote(scope["path"]).encode("ascii"),
        path=scope["path"],
        host=hosts[0] if len(hosts) == 1 else b"",
        fields=scope["headers"],
    )


async def _deny(denied: Denied, scope: Message, receive: Receive, send: Send) -> None:
    kind, start = "http", {"status": denied.status, "headers": denied.fields}
    if scope["type"] == "websocket":
        # Nothing may be said before the client's handshake was heard.
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        kind = "websocket.http"
    await send({"type": f"{kind}.response.start", **start})
    await send({"type": f"{kind}.response.body", "body": denied.body})
