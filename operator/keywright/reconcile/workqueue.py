"""Whom to look at next. An ApiKey is looked at by one worker at a time; what comes in meanwhile is not lost."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random

from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ConflictError
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.ports import Clock, Ref
from keywright.reconcile.schedule import Schedule

__all__ = ["WorkQueue"]

FIRST_RETRY = 1.0  # seconds
LAST_RETRY = 300.0
CONFLICT_RETRY = 0.1

logger = logging.getLogger(__name__)

Work = Callable[[Ref, Manifest | None], Awaitable[datetime | None]]


class WorkQueue:
    """Distinct ApiKeys in order of arrival, worked off by a fixed number of tasks."""

    def __init__(self, work: Work, *, clock: Clock, rng: Random, workers: int, metrics: Metrics) -> None:
        self._work = work
        self._clock = clock
        self._rng = rng
        self._workers = workers
        self._metrics = metrics
        self.schedule = Schedule(clock, self.add, metrics.fell_due)
        self._order: deque[Ref] = deque()
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
            self._order.append(ref)
            self._wakeup.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.schedule.run())
            for _ in range(self._workers):
                tasks.create_task(self._run_worker())

    async def drain(self, seconds: float) -> None:
        """Take nothing new; give what is being worked on some time to end."""
        self._order.clear()
        self._waiting.clear()
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    self._finished.clear()
                    await self._finished.wait()

    async def _run_worker(self) -> None:
        while True:
            while not self._order:
                self._wakeup.clear()
                await self._wakeup.wait()
            ref = self._order.popleft()
            seen = self._waiting.pop(ref)
            self._running.add(ref)
            try:
                self.schedule.set(ref, await self._attempt(ref, seen))
            finally:
                self._running.discard(ref)
                self._finished.set()
                if ref in self._waiting:
                    self._order.append(ref)
                    self._wakeup.set()

    async def _attempt(self, ref: Ref, seen: Manifest | None) -> datetime | None:
        started = time.monotonic()
        result = "failed"
        try:
            wake_at = await self._work(ref, seen)
            result = "done"
        except ConflictError:
            # Somebody else wrote in between; the next look sees what they wrote.
            result = "conflict"
            return self._in(CONFLICT_RETRY)
        except ApiError as error:
            result = "refused"
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
            self._metrics.reconciled(result, time.monotonic() - started)
        self._failures.pop(ref, None)
        return wake_at

    def _retry(self, ref: Ref) -> datetime:
        failures = self._failures[ref] = self._failures.get(ref, 0) + 1
        return self._in(min(FIRST_RETRY * 2 ** (failures - 1), LAST_RETRY))

    def _in(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds * self._rng.uniform(0.5, 1.0))
