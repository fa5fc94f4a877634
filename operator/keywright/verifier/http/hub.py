"""What the connections of one listener share: handler, limits, counters, and the sweep that ends slow ones."""

import asyncio
import time
from collections.abc import Coroutine
from collections.abc import Set as AbstractSet
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

from keywright.verifier.http.connection import Connection
from keywright.verifier.http.request import Body, Limits, Request
from keywright.verifier.http.responses import Dater, closing, problem
from keywright.verifier.metrics import Metrics

__all__ = ["Handler", "Hub"]

_ERRORS = {
    status: problem(status)
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    )
} | {HTTPStatus.SERVICE_UNAVAILABLE: problem(503, headers=("Retry-After: 1",))}


class Handler(Protocol):
    """What answers requests. ``watched`` holds the header names (lower case) it wants to see."""

    @property
    def watched(self) -> AbstractSet[bytes]: ...

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes] | Body:
        """A whole response: now, later, or once the body is there. ``request`` is reused: keep nothing of it but its
        values.
        """


class Hub:
    """The server side of one listener, apart from its socket."""

    def __init__(self, handler: Handler, limits: Limits, metrics: Metrics, dater: Dater) -> None:
        self.answer = handler.answer
        self.watched = handler.watched
        self.limits = limits
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._metrics = metrics
        self._dater = dater
        self._emptied = asyncio.Event()

    def open(self) -> Connection:
        """Protocol factory of the listener."""
        return Connection(self)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        self._metrics.connections_total += 1
        if self.is_stopping or len(self.connections) >= self.limits.connections:
            self._metrics.connections_refused += 1
            return False
        self.connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """A connection is lost."""
        self.connections.discard(connection)
        if self.is_stopping and not self.connections:
            self._emptied.set()

    def error(self, status: HTTPStatus) -> bytes:
        """A plain HTTP error that ends its connection."""
        self._metrics.http_errors += 1
        return closing(self._dater.complete(_ERRORS[status], time.time()))

    def sweep(self, now: float) -> None:
        """Enforce the time limits. ``now`` is monotonic."""
        for connection in tuple(self.connections):
            connection.check_time(now)

    async def keep_sweeping(self) -> None:
        """Sweep for ever, often enough for the shortest limit."""
        limits = self.limits
        shortest = min(limits.head_seconds, limits.idle_seconds, limits.linger_seconds)
        while True:
            await asyncio.sleep(min(1.0, shortest / 4))
            self.sweep(time.monotonic())

    async def stop(self, grace: float) -> None:
        """Close what is idle, let the rest finish, and cut off what has not finished after ``grace`` seconds."""
        self.is_stopping = True
        for connection in tuple(self.connections):
            connection.finish()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), grace)
        for connection in tuple(self.connections):
            connection.abort()
