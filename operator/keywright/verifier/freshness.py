"""How old may the picture be that verdicts are made from? (Invariant 9.)

Between two signs of life from the API server the verifier serves from memory. After ``max_staleness`` without
one it no longer guesses.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Freshness", "Watched"]


class Watched(Protocol):
    """What is asked of a reflector."""

    @property
    def synced(self) -> asyncio.Event: ...

    @property
    def heard_at(self) -> float:
        """Monotonic seconds of the last sign of life; 0 before the first."""


class Freshness:
    """The picture is fresh while every watch has synced and was heard of within ``max_staleness`` seconds."""

    __slots__ = ("_clock", "_max_staleness", "_watches", "until")

    def __init__(
        self,
        watches: Sequence[Watched],
        max_staleness: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watches = watches
        self._max_staleness = max_staleness
        self._clock = clock
        self.until = -math.inf
        """The picture is fresh at least until then (monotonic), so that most requests need one comparison."""

    def is_fresh(self) -> bool:
        """Look again, and remember until when the answer holds."""
        if not self.is_synced():
            return False
        self.until = min(each.heard_at for each in self._watches) + self._max_staleness
        return self._clock() < self.until

    def is_synced(self) -> bool:
        """Whether every watch has brought a whole picture once."""
        return bool(self._watches) and all(each.synced.is_set() for each in self._watches)

    def age(self) -> float:
        """Seconds since the least lively watch was heard of; infinite before it ever was."""
        heard_at = min((each.heard_at for each in self._watches), default=0.0)
        return self._clock() - heard_at if heard_at else math.inf
