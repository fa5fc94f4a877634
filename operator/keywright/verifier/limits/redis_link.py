"""One connection to a Redis or Valkey server: commands out, replies in, in order, with a deadline.

Many commands share the connection, so one round trip costs no more than a write and a future. Whoever is not answered
in time is told so, and as long as the server has not caught up nothing more should be asked. One that does not catch
up is given up, with the connection.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

import hiredis

__all__ = ["Link", "Reply"]

Reply = Any
"""What the server said: an integer, bytes, a list, a ``hiredis.ReplyError``; ``None`` if it did not, or too late."""

# After a pause of our own, replies may lie in the socket while the deadline's timer is looked at first.
GRACE_SECONDS = 0.002
# How long a server that is late may take to catch up.
PATIENCE_SECONDS = 1.0


class Link(asyncio.Protocol):
    """``lost`` is done with the reason once the connection is no good any more; ``is_late`` while somebody was not
    answered in time and the server has not caught up.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._awaited: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self._transport = cast(asyncio.Transport, None)
        self._is_watched = False
        self._is_suspect = False
        self.is_late = False
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def ask(self, command: Iterable[bytes | str | int], within: float = math.inf) -> asyncio.Future[Reply]:
        """Send one command; its reply, or ``None`` if there is none ``within`` so many seconds, which is to be the
        same for all commands that are under way.
        """
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if self.lost.done():
            reply.set_result(None)
            return reply
        self._awaited.append((self._loop.time() + within, reply))
        self._transport.write(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # declared for one part
        if not self._is_watched and within < math.inf:
            self._is_watched = True
            self._loop.call_later(within, self._watch)
        return reply

    def close(self, reason: str) -> None:
        """Give up: whatever is awaited stays without a reply."""
        if not self.lost.done():
            self.lost.set_result(reason)
            self._transport.abort()
        while self._awaited:
            reply = self._awaited.popleft()[1]
            if not reply.done():
                reply.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost is all the same
        self.close("the connection was lost")

    def data_received(self, data: bytes) -> None:
        self._is_suspect = False
        self._reader.feed(data)
        try:
            while (said := self._reader.gets()) is not False:
                if not self._awaited:
                    self.close("it said something that nobody had asked")
                    return
                reply = self._awaited.popleft()[1]
                if not reply.done():
                    reply.set_result(said)
        except hiredis.ProtocolError:
            self.close("it does not speak Redis's protocol")
        self.is_late = self.is_late and bool(self._awaited)

    def _watch(self) -> None:
        """One timer for all that is awaited: the first in the line is the first to be late."""
        self._is_watched = bool(self._awaited)
        if not self._is_watched:
            return
        now = self._loop.time()
        late_by = now - self._awaited[0][0]
        if late_by < 0:
            self._loop.call_later(-late_by, self._watch)
            return
        if late_by > PATIENCE_SECONDS:
            self.close(f"no answer for {PATIENCE_SECONDS:.0f} s")
            return
        if not self._is_suspect:
            self._is_suspect = True
            self._loop.call_later(GRACE_SECONDS, self._watch)
            return
        self.is_late = True
        for due, reply in self._awaited:
            if due <= now and not reply.done():
                reply.set_result(None)
        left = [due - now for due, reply in self._awaited if due > now]
        self._loop.call_later(min(left, default=PATIENCE_SECONDS - late_by + GRACE_SECONDS), self._watch)
