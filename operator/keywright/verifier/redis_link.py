"""One connection to a Redis or Valkey server: commands out, replies in, in order, each within a deadline.

Many commands share the connection, so one round trip costs no more than a write and a future. A server that does
not answer in time answers nobody behind that command either: the connection is lost then, as a whole.
"""

import asyncio
from collections import deque
from typing import Any, cast

import hiredis

__all__ = ["Link", "Reply"]

Reply = Any
"""What the server said: an integer, bytes, a list, a ``hiredis.ReplyError``; ``None`` if it did not."""

# After a pause of our own, replies may lie in the socket while the deadline's timer is looked at first.
GRACE_SECONDS = 0.002


class Link(asyncio.Protocol):
    """``lost`` is done with the reason once the connection is no good any more."""

    def __init__(self, deadline: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._reader = hiredis.Reader()
        self._awaited: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self._transport = cast(asyncio.Transport, None)
        self._is_watched = False
        self._is_late = False
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def ask(self, command: tuple[bytes | str | int, ...]) -> asyncio.Future[Reply]:
        """Send one command; its reply."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if self.lost.done():
            reply.set_result(None)
            return reply
        self._awaited.append((self._loop.time() + self._deadline, reply))
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # declared for one argument
        if not self._is_watched:
            self._is_watched = True
            self._loop.call_later(self._deadline, self._watch)
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
        self._is_late = False
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

    def _watch(self) -> None:
        """One timer for all that is awaited: the first in the line is the first to be late."""
        self._is_watched = bool(self._awaited) and not self.lost.done()
        if not self._is_watched:
            return
        left = self._awaited[0][0] - self._loop.time()
        if left > 0:
            self._loop.call_later(left, self._watch)
        elif not self._is_late:
            self._is_late = True
            self._loop.call_later(GRACE_SECONDS, self._watch)
        else:
            self.close(f"no answer within {self._deadline * 1000:.0f} ms")
