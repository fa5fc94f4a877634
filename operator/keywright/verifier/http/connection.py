"""One client connection: bytes in, answers out, in order, and nothing that a client does is free for long.

The fast path is synchronous: a whole head arrives, is answered, and the answer is written before
``data_received`` returns. Only a key that has to be proven first makes a connection wait, and then it reads
nothing more until its answer is out. Time limits are enforced by one sweep over all connections, so that a
request sets no timer.
"""

import asyncio
import logging
from collections.abc import Coroutine
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Any, Protocol, cast

from keywright.verifier.http.request import END_OF_HEAD, Body, Limits, Request, is_hopeless
from keywright.verifier.http.responses import bodiless, closing

__all__ = ["Connection", "Shared"]

logger = logging.getLogger(__name__)

# Why a connection does not take the next request now; several may hold at once.
_PENDING = 1  # an answer is awaited
_BLOCKED = 2  # the client does not take what was written
_YIELDING = 4  # the other connections have their turn
_ENDING = 8  # for good: what still arrives is discarded
_COLLECTING = 16  # what arrives is the body that the handler wants

_END = len(END_OF_HEAD)


class Shared(Protocol):
    """What a connection asks of the hub it belongs to."""

    limits: Limits
    is_stopping: bool

    @property
    def watched(self) -> AbstractSet[bytes]: ...
    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes] | Body: ...
    def admit(self, connection: "Connection") -> bool: ...
    def forget(self, connection: "Connection") -> None: ...
    def error(self, status: HTTPStatus) -> bytes: ...


class Connection(asyncio.Protocol):
    """The state of one connection. ``_holds`` says why it does not read on, ``_rest`` what it has not read."""

    __slots__ = (
        "_answer",
        "_body",
        "_discarded",
        "_has_eof",
        "_holds",
        "_hub",
        "_read",
        "_request",
        "_rest",
        "_since",
        "_transport",
        "_was_active",
    )

    def __init__(self, hub: Shared) -> None:
        self._hub = hub
        self._request = Request(hub.watched, hub.limits)
        self._read = self._request.read
        self._answer = hub.answer
        self._transport = cast(asyncio.Transport, None)
        self._rest = b""
        self._holds = 0
        self._has_eof = False
        self._body: Body | None = None
        self._discarded = 0
        # Time is looked at by the sweep alone: it notes when it first saw the present state.
        self._since = 0.0
        self._was_active = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._hub.admit(self):
            self._holds = _ENDING
            self._transport.write(self._hub.error(HTTPStatus.SERVICE_UNAVAILABLE))
            self._transport.close()
            return
        address = transport.get_extra_info("peername")
        self._request.peer = address[0] if isinstance(address, tuple) else "unix"

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost is all the same
        self._holds |= _ENDING
        self._rest = b""
        self._body = None
        self._hub.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._holds or self._rest:
            self._receive_more(data)
            return
        self._was_active = True
        # Three bytes without an end would satisfy the comparison alone: -1 == 3 - 4.
        if len(data) < _END or data.find(END_OF_HEAD) != len(data) - _END:
            self._serve(data)
            return
        # One whole head and nothing else: nearly every request. The same as _serve, without its loop.
        error = self._read(data)
        if error is not None:
            self._end(self._hub.error(error))
            return
        answer = self._answer(self._request)
        if isinstance(answer, bytes) and self._request.is_plain and not self._hub.is_stopping:
            self._transport.write(answer)
        else:
            self._give(answer)

    def eof_received(self) -> bool:
        # A client may end its side and still wait for the answer; it gets it, and then we close.
        self._has_eof = True
        return bool(self._holds & (_PENDING | _YIELDING))

    def pause_writing(self) -> None:
        self._holds |= _BLOCKED
        self._was_active = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._release(_BLOCKED)

    def check_time(self, now: float) -> None:
        """Called by the sweep: end the connection if it has been in its present state for too long."""
        if self._was_active or self._holds & (_PENDING | _YIELDING):
            self._was_active = False
            self._since = now
            return
        limits, waited = self._hub.limits, now - self._since
        if self._holds & _ENDING:
            if waited > limits.linger_seconds:
                self.abort()
        elif self._holds & _BLOCKED:
            if waited > limits.head_seconds:
                self.abort()
        elif self._rest or self._holds & _COLLECTING:
            if waited > limits.head_seconds:
                self._end(self._hub.error(HTTPStatus.REQUEST_TIMEOUT))
        # Idle is who has asked something before; who never has is late with a first request.
        elif waited > (limits.idle_seconds if self._request.method else limits.head_seconds):
            self._transport.close()

    def finish(self) -> None:
        """End as soon as nothing is under way any more."""
        if not self._holds and not self._rest:
            self._transport.close()

    def abort(self) -> None:
        """End now, whatever is under way."""
        self._transport.abort()

    def _receive_more(self, data: bytes) -> None:
        if self._holds & _ENDING:
            self._discarded += len(data)
            if self._discarded > self._hub.limits.linger_bytes:
                self.abort()
            return
        # The clock of an unfinished head runs on whatever arrives, or a trickle would keep it open.
        self._rest += data
        if self._holds & _COLLECTING:
            self._collect()
        elif not self._holds:
            self._serve(self._rest)

    def _collect(self) -> None:
        """Hand the body over as soon as it is whole. The answer to a request with a body is the last one."""
        body = self._body
        if body is None or len(self._rest) < body.length:
            return
        content, self._rest, self._body = self._rest[: body.length], self._rest[body.length :], None
        self._holds &= ~_COLLECTING
        self._give(body.answer(content))

    def _serve(self, data: bytes) -> None:
        """Answer the heads in ``data``, one after the other; keep what is left of it."""
        limits, start = self._hub.limits, 0
        for _ in range(limits.pipelined):
            end = data.find(END_OF_HEAD, start) + _END
            if end < _END:
                break
            head, start = data[start:end], end
            error = self._read(head)
            if error is not None:
                self._end(self._hub.error(error))
                return
            # Whatever begins now, a next head or an idle time, counts from now.
            self._was_active = True
            self._rest = data[start:]
            self._give(self._answer(self._request))
            if self._holds:
                return
        else:
            self._rest = data[start:]
            self._yield()
            return
        self._rest = data[start:]
        error = is_hopeless(self._rest, limits) if self._rest else None
        if error is not None:
            self._end(self._hub.error(error))

    def _give(self, answer: bytes | Coroutine[Any, Any, bytes] | Body) -> None:
        """Write an answer, or see to it that it is written when it is there."""
        if isinstance(answer, Body):
            self._body = answer
            self._holds |= _COLLECTING
            self._collect()
            return
        if not isinstance(answer, bytes):
            self._holds |= _PENDING
            self._transport.pause_reading()
            asyncio.get_running_loop().create_task(answer).add_done_callback(self._give_later)
            return
        request = self._request
        if request.method == b"HEAD":
            answer = bodiless(answer)
        if request.wants_close or request.has_body or self._hub.is_stopping:
            self._end(closing(answer))
        else:
            self._transport.write(answer)

    def _give_later(self, task: asyncio.Task[bytes]) -> None:
        self._was_active = True
        if self._holds & _ENDING:
            return
        if task.cancelled() or task.exception() is not None:
            # The type alone: the text of an exception may quote what was received.
            logger.error("an answer failed: %s", "stopped" if task.cancelled() else type(task.exception()).__name__)
            self.abort()
            return
        self._give(task.result())
        self._release(_PENDING)

    def _yield(self) -> None:
        self._holds |= _YIELDING
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._release, _YIELDING)

    def _release(self, hold: int) -> None:
        """One reason to hold is gone: if it was the last, take up what has arrived, then read again."""
        self._holds &= ~hold
        if not self._holds and self._rest:
            self._serve(self._rest)
        if self._holds:
            return
        if self._has_eof:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _end(self, last: bytes) -> None:
        """Write a last answer and close without losing it.

        Closing a socket that has unread data makes the kernel reset it, and the reset can overtake the
        answer. So our side is shut and what the client still sends is discarded for a while.
        """
        self._holds |= _ENDING
        self._was_active = True
        self._rest = b""
        transport = self._transport
        transport.write(last)
        if self._has_eof or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        transport.resume_reading()
