"""The arithmetic of one rate limit: how many requests count now, and when the next one would pass.

A sliding window in slots of a fiftieth of its length. A request counts until its whole slot has left the window,
so in no interval of the window's length do more requests pass than the limit says, and a request is given back at
most a fiftieth (2 %) of the window late. It takes at most 51 counters, however high the limit is.

Pure: the time is an argument, in nanoseconds of any clock that does not run backwards.
"""

from array import array

__all__ = ["SECOND", "SLOTS", "Window"]

SLOTS = 50
SECOND = 1_000_000_000
_SLOT_OF_ONE_SECOND = SECOND // SLOTS


class Window:
    """The requests of one budget that count under one limit.

    ``total`` of them count before ``due``; from then on it has to be settled. While none counts, ``due`` is in the
    past and ``total`` is 0.
    """

    __slots__ = ("_counts", "_slot_ends", "_slots", "_width", "due", "total")

    def __init__(self, seconds: int) -> None:
        self._width = seconds * _SLOT_OF_ONE_SECOND
        # Oldest first; only slots in which something came.
        self._slots = array("q")
        self._counts = array("I")
        self._slot_ends = 0
        self.total = 0
        self.due = 0

    def settle(self, now: int) -> None:
        """Give back what has left the window."""
        first = now // self._width - SLOTS
        gone = next((at for at, slot in enumerate(self._slots) if slot >= first), len(self._slots))
        self.total -= sum(self._counts[:gone])
        del self._slots[:gone], self._counts[:gone]
        self.due = self._end(self._slots[0]) if self._slots else 0

    def charge(self, now: int) -> None:
        """Count one request. The window has been settled for ``now``."""
        self.total += 1
        if now < self._slot_ends:
            self._counts[-1] += 1
            return
        slot = now // self._width
        self._slots.append(slot)
        self._counts.append(1)
        self._slot_ends = (slot + 1) * self._width
        if self.total == 1:
            self.due = self._end(slot)

    def passes_at(self, requests: int) -> int:
        """When fewer than ``requests`` (one at least) will count, if nothing more is charged. One counts now."""
        at = 0
        left = self.total - self._counts[0]
        while left >= requests:
            at += 1
            left -= self._counts[at]
        return self._end(self._slots[at])

    def _end(self, slot: int) -> int:
        return (slot + 1 + SLOTS) * self._width
