"""HTTP/1.1 as uvicorn speaks it, for clients that send the heads of their requests in time, and take the answers."""

import asyncio
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

__all__ = ["HEAD_BYTES", "PromptProtocol"]

HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 10.0
LOOK_SECONDS = 10.0

_NO_LINGERING = struct.pack("ii", 1, 0)


class PromptProtocol(H11Protocol):
    """Closes a connection on which a request head is not whole ten seconds after it was due, or has begun; and breaks
    one off whose client has not taken what it was sent at two looks in a row, ten seconds apart.
    """

    _patience: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _was_stuck = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Whoever reads slowly, but does, is no trouble."""
        super().resume_writing()
        self._was_stuck = False

    def data_received(self, data: bytes) -> None:
        """A head that comes byte by byte gets no more time than one that does not come."""
        super().data_received(data)
        if not self._is_headless():
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def _is_headless(self) -> bool:
        # Before the first request there is none, whatever the types of uvicorn say.
        cycle: RequestResponseCycle | None = self.cycle
        # Between two requests uvicorn itself closes what is idle, but not what has begun.
        return cycle is None or (cycle.response_complete and bool(self.conn.trailing_data[0]))

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._close_if_headless)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _close_if_headless(self) -> None:
        if self._is_headless():
            self.transport.close()

    def _look(self) -> None:
        # Too little is left for a pause of writing when uvicorn closes what is idle; until that is sent, it stays.
        is_stuck = self.flow.write_paused or self.transport.is_closing()
        if is_stuck and self._was_stuck:
            # Or the kernel would keep what it has, and try for a minute more. Of one that is just lost there is none.
            if (own := self.transport.get_extra_info("socket")) is not None:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            self.transport.abort()
        self._was_stuck = is_stuck
        self._looking = self.loop.call_later(LOOK_SECONDS, self._look)
