"""How long answers take: one in so many is timed and counts for all of them, so that the rest pay next to nothing."""

from collections.abc import Coroutine
from collections.abc import Set as AbstractSet
from time import perf_counter
from typing import Any, Protocol

from keywright.exposition import Histogram
from keywright.verifier.http.request import Request

__all__ = ["ONE_IN", "TimedHandler"]

ONE_IN = 16


class _Handler(Protocol):
    @property
    def watched(self) -> AbstractSet[bytes]: ...
    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]: ...


class TimedHandler:
    """A handler before another, from the whole head of a request to its whole answer. Answers that have to be waited
    for are few, and timed all.
    """

    def __init__(self, handler: _Handler, took: Histogram) -> None:
        self._handler = handler
        self._answer = handler.answer
        self._took = took
        self._untimed = 0

    @property
    def watched(self) -> AbstractSet[bytes]:
        """The other's."""
        return self._handler.watched

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """The other's answer."""
        if self._untimed:
            self._untimed -= 1
            answer = self._answer(request)
            return answer if isinstance(answer, bytes) else self._later(answer, perf_counter())
        self._untimed = ONE_IN - 1
        begun = perf_counter()
        answer = self._answer(request)
        if not isinstance(answer, bytes):
            return self._later(answer, begun)
        self._took.observe(perf_counter() - begun, times=ONE_IN)
        return answer

    async def _later(self, answer: Coroutine[Any, Any, bytes], begun: float) -> bytes:
        try:
            return await answer
        finally:
            self._took.observe(perf_counter() - begun)
