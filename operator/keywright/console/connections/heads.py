"""HTTP/1.1 as uvicorn speaks it, for clients that send the heads of their requests in time."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

__all__ = ["HEAD_BYTES", "PromptProtocol"]

HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 10.0


class PromptProtocol(H11Protocol):
    """Closes a connection on which a request head is not whole ten seconds after it was due, or has begun."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

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
