"""The budgets of one verifier, in its memory.

State exists for limits that a proven, live key was charged to, and goes away within a minute after its last request
has left the window. So there are never more windows than limits times keys (or owners) that were used within the
window, and each takes about half a KiB, one at most.
"""

import asyncio
import time
from collections.abc import Callable

from keywright.verifier.limits.limits import Charged, Quota
from keywright.verifier.limits.windows import SECOND, Window

__all__ = ["MemoryStore"]

SWEEP_SECONDS = 60.0
# Between two slices of a sweep requests have their turn.
SLICE = 1000


class MemoryStore:
    """Charges requests in the order they come. Nothing here waits but the sweep."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._windows: dict[bytes, Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def charge(self, quota: Quota) -> Charged:
        """Charge one request to all its limits, or to none if one of them has no room."""
        now, known = self._clock(), self._windows
        windows, is_full = [], False
        for key, requests, seconds in quota.charges:
            window = known.get(key)
            if window is None:
                window = known[key] = Window(seconds)
            if now >= window.due:
                window.settle(now)
            if window.total >= requests:
                is_full = True
            windows.append((window, requests, seconds))
        if is_full:
            return _refuse(quota, windows, now)
        figures: list[int] = []
        for window, requests, _ in windows:
            window.charge(now)
            figures += (requests - window.total, -((now - window.due) // SECOND))
        return Charged(0, tuple(figures[: 2 * quota.shown]))

    async def keep_sweeping(self) -> None:
        """Forget for ever what does not count any more."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            keys = tuple(self._windows)
            for start in range(0, len(keys), SLICE):
                self.sweep(keys[start : start + SLICE])
                await asyncio.sleep(0)

    def sweep(self, keys: tuple[bytes, ...]) -> None:
        """Forget those of ``keys`` that hold no request any more."""
        now = self._clock()
        for key in keys:
            window = self._windows[key]
            if now >= window.due:
                window.settle(now)
            if not window.total:
                del self._windows[key]


def _refuse(quota: Quota, windows: list[tuple[Window, int, int]], now: int) -> Charged:
    figures: list[int] = []
    longest = 0
    for window, requests, seconds in windows:
        if window.total >= requests:
            wait = -((now - window.passes_at(requests)) // SECOND)
            longest = max(longest, wait)
            figures += (0, wait)
        else:
            figures += (requests - window.total, -((now - window.due) // SECOND) if window.total else seconds)
    return Charged(longest, tuple(figures[: 2 * quota.shown]))
