"""The limits of all requests: in memory, or in a shared store with something to fall back on when it is away."""

from collections.abc import Awaitable, Coroutine
from enum import StrEnum
from typing import Any, Protocol

from keywright.verifier import verdicts
from keywright.verifier.limits.limits import Charged, Quota
from keywright.verifier.limits.store import MemoryStore
from keywright.verifier.metrics import LimitedBy, Metrics
from keywright.verifier.verdicts import Refusal

__all__ = ["Limiter", "OnFailure", "Ruling", "SharedStore"]

Ruling = Charged | Refusal | None
"""What came of charging; a refusal if that cannot be told; ``None`` if nobody counts."""


class OnFailure(StrEnum):
    """What to do with a request while the shared store is away."""

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


class SharedStore(Protocol):
    """A store that several verifiers share."""

    @property
    def is_up(self) -> bool: ...

    def charge(self, quota: Quota) -> Awaitable[Charged | None] | None:
        """Charge one request. ``None``, now or later, if the store is away."""

    async def keep_connected(self) -> None: ...


class Limiter:
    """Charges each request once, wherever its budget is kept."""

    def __init__(self, store: SharedStore | None, on_failure: OnFailure, metrics: Metrics) -> None:
        self._memory = MemoryStore()
        self._store = store
        self._on_failure = on_failure
        self._metrics = metrics

    @property
    def windows(self) -> int:
        """How many windows are held in memory."""
        return len(self._memory)

    @property
    def is_store_up(self) -> bool | None:
        """Whether the shared store answers; ``None`` if there is none."""
        return self._store.is_up if self._store is not None else None

    def charge(self, quota: Quota) -> Ruling | Coroutine[Any, Any, Ruling]:
        """Charge one request, at once unless a shared store has to be asked."""
        if self._store is None:
            self._metrics.limited_by[LimitedBy.MEMORY] += 1
            return self._memory.charge(quota)
        answer = self._store.charge(quota)
        return self._without_store(quota) if answer is None else self._with_store(answer, quota)

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """What has to run for as long as requests are charged."""
        return [self._memory.keep_sweeping(), *([self._store.keep_connected()] if self._store is not None else [])]

    async def _with_store(self, answer: Awaitable[Charged | None], quota: Quota) -> Ruling:
        charged = await answer
        if charged is None:
            return self._without_store(quota)
        self._metrics.limited_by[LimitedBy.STORE] += 1
        return charged

    def _without_store(self, quota: Quota) -> Ruling:
        match self._on_failure:
            case OnFailure.LOCAL:
                self._metrics.limited_by[LimitedBy.LOCAL] += 1
                return self._memory.charge(quota)
            case OnFailure.OPEN:
                self._metrics.limited_by[LimitedBy.OPEN] += 1
                return None
            case OnFailure.CLOSED:
                self._metrics.limited_by[LimitedBy.CLOSED] += 1
                return verdicts.LIMITS_UNKNOWN
