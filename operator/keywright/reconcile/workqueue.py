"""Whom to look at next. An ApiKey is looked at by one worker at a time; what comes in meanwhile is not lost."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random

from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ConflictError
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.ports import Clock, Ref
from keywright.reconcile.schedule import Schedule
from keywright.reconcile.turns import Turns

__all__ = ["WorkQueue"]

FIRST_RETRY = 1.0  # seconds
LAST_RETRY = 300.0
CONFLICT_RETRY = 0.1

logger = logging.getLogger(__name__)

Work = Callable[[Ref, Manifest | None], Awaitable[datetime | None]]


class WorkQueue:
    """Distinct ApiKeys, namespace by namespace in turn, worked off by a fixed number of tasks.

    ``reason_of`` says why an ApiKey is in the state it is in, for the figures.
    """

    def __init__(
        self,
        work: Work,
        *,
        clock: Clock,
        rng: Random,
        workers: int,
        metrics: Metrics,
        reason_of: Callable[[Ref], str],
    ) -> None:
        self._work = work
        self._clock = clock
        self._rng = rng
        self._workers = workers
        self._metrics = metrics
        self._reason_of = reason_of
        self.schedule = Schedule(clock, self._fall_due)
        self._turns = Turns(max(1, workers * 3 // 4))
        self._due_since: dict[Ref, datetime] = {}
        self._waiting: dict[Ref, Manifest | None] = {}
        self._running: set[Ref] = set()
        self._failures: dict[Ref, int] = {}
        self._wakeup = asyncio.Event()
        self._finished = asyncio.Event()
        self._is_draining = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def add(self, ref: Ref, seen: Manifest | None = None) -> None:
        """Ask for a look at one ApiKey. ``seen`` spares a read if nothing else asks for one meanwhile."""
        if self._is_draining:
            return
        if ref in self._waiting:
            self._waiting[ref] = seen if self._waiting[ref] is not None else None
            return
        self._waiting[ref] = seen
        if ref not in self._running:
            self._turns.push(ref)
            self._wakeup.set()

    def forget(self, ref: Ref) -> None:
        """The ApiKey is gone: no time is due any more, and what was seen of it is not to be worked with."""
        self.schedule.set(ref, None)
        if ref in self._waiting:
            self._waiting[ref] = None

    def overdue(self) -> float:
        """By how many seconds the oldest due time that has not been met yet is late."""
        oldest = min(self._due_since.values(), default=None)
        return (self._clock() - oldest).total_seconds() if oldest is not None else 0.0

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.schedule.run())
            for _ in range(self._workers):
                tasks.create_task(self._run_worker())

    async def drain(self, seconds: float) -> None:
        """Take nothing new; give what is being worked on some time to end."""
        self._turns.clear()
        self._waiting.clear()
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    self._finished.clear()
                    await self._finished.wait()

    async def _run_worker(self) -> None:
        while True:
            while (ref := self._turns.pop()) is None:
                self._wakeup.clear()
                await self._wakeup.wait()
            seen = self._waiting.pop(ref)
            self._running.add(ref)
            try:
                self.schedule.set(ref, await self._attempt(ref, seen))
            finally:
                self._running.discard(ref)
                self._turns.done(ref)
                self._finished.set()
                if (due_since := self._due_since.pop(ref, None)) is not None:
                    self._metrics.fell_due((self._clock() - due_since).total_seconds())
                if ref in self._waiting:
                    self._turns.push(ref)
                # The place that this one had may be what another of its namespace waits for.
                self._wakeup.set()

    def _fall_due(self, ref: Ref, at: datetime) -> None:
        self._due_since[ref] = at
        self.add(ref)

    async def _attempt(self, ref: Ref, seen: Manifest | None) -> datetime | None:
        started = time.monotonic()
        result, reason = "failed", "Defect"
        try:
            wake_at = await self._work(ref, seen)
            result, reason = "done", self._reason_of(ref)
        except ConflictError:
            # Somebody else wrote in between; the next look sees what they wrote.
            result, reason = "conflict", "Conflict"
            return self._in(CONFLICT_RETRY)
        except ApiError as error:
            result, reason = "refused", error.reason
            logger.warning("%s: %s; trying again", ref, error)
            return self._retry(ref)
        except Exception as error:  # noqa: BLE001 - one bad object must not take the others with it
            # The text of an unknown exception may hold anything, also a key; its type and place may not.
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else "?"
            logger.error("%s: %s at %s; trying again", ref, type(error).__name__, where)  # noqa: TRY400 - see above
            return self._retry(ref)
        finally:
            self._metrics.reconciled(result, reason, time.monotonic() - started)
        self._failures.pop(ref, None)
        return wake_at

    def _retry(self, ref: Ref) -> datetime:
        failures = self._failures[ref] = self._failures.get(ref, 0) + 1
        return self._in(min(FIRST_RETRY * 2 ** (failures - 1), LAST_RETRY))

    def _in(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds * self._rng.uniform(0.5, 1.0))
