"""When to look again: one heap of due times for every ApiKey, one task that waits for the first of them.

Instead of a timer per object (kopf's would add a finalizer and two tasks to each). An entry costs about a
hundred bytes. A newer due time does not search the heap: the old entry is skipped when it comes up. The wait is
never longer than :data:`LONGEST_WAIT`, so that a step of the clock is noticed.
"""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

from keywright.reconcile.ports import Clock, Ref

__all__ = ["Schedule"]

LONGEST_WAIT = 30.0  # seconds
SPARE_ENTRIES = 100


class Schedule:
    """At most one due time per ApiKey. ``due`` is told of whom and since when."""

    def __init__(self, clock: Clock, due: Callable[[Ref, datetime], None]) -> None:
        self._clock = clock
        self._due = due
        self._heap: list[tuple[datetime, Ref]] = []
        self._due_at: dict[Ref, datetime] = {}
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due_at)

    def set(self, ref: Ref, at: datetime | None) -> None:
        """Replace the due time of one ApiKey; ``None`` means that only an event wakes it."""
        if at is None:
            self._due_at.pop(ref, None)
            return
        if self._due_at.get(ref) == at:
            return
        self._due_at[ref] = at
        heapq.heappush(self._heap, (at, ref))
        if len(self._heap) > 2 * len(self._due_at) + SPARE_ENTRIES:
            # Replaced due times that lie far ahead would otherwise pile up until they come.
            self._heap = [(due_at, each) for each, due_at in self._due_at.items()]
            heapq.heapify(self._heap)
        if self._heap[0][1] == ref:
            self._earlier.set()

    async def run(self) -> None:
        """Call ``due`` for each ApiKey when its time has come, until cancelled."""
        while True:
            self._earlier.clear()
            wait = self._release()
            try:
                async with asyncio.timeout(wait):
                    await self._earlier.wait()
            except TimeoutError:
                continue

    def _release(self) -> float:
        now = self._clock()
        while self._heap:
            at, ref = self._heap[0]
            if self._due_at.get(ref) != at:
                heapq.heappop(self._heap)
            elif at <= now:
                heapq.heappop(self._heap)
                del self._due_at[ref]
                self._due(ref, at)
            else:
                return min((at - now).total_seconds(), LONGEST_WAIT)
        return LONGEST_WAIT
