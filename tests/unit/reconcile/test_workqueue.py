"""The queue: each ApiKey at one worker at a time, nothing lost, nothing that fails takes the others along."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random

import pytest

from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ApiUnavailableError, ConflictError
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster
from keywright.reconcile.workqueue import CONFLICT_RETRY, FIRST_RETRY, LAST_RETRY, WorkQueue
from tests.unit.reconcile.world import START, ManualClock

A, B, C = (Ref("payments", name) for name in "abc")
SEEN: Manifest = {"metadata": {"name": "a"}}


class Bench:
    """A queue whose work is recorded; what the work does can be set."""

    def __init__(self, workers: int = 1) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics(per_key=False)
        self.done: list[tuple[Ref, Manifest | None]] = []
        self.act: Callable[[Ref], Awaitable[datetime | None]] = self._nothing
        self.queue = WorkQueue(
            self._work,
            clock=self.clock,
            rng=Random(1),
            workers=workers,
            metrics=self.metrics,
            reason_of=lambda _: "KeyIssued",
        )

    async def _nothing(self, ref: Ref) -> datetime | None:
        return None

    async def _work(self, ref: Ref, seen: Manifest | None) -> datetime | None:
        self.done.append((ref, seen))
        return await self.act(ref)

    @property
    def refs(self) -> list[Ref]:
        return [ref for ref, _ in self.done]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.queue.run())
        await _breathe()
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def due_in(self, ref: Ref) -> float:
        return (self.queue.schedule._due_at[ref] - self.clock()).total_seconds()


async def _breathe(times: int = 10) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_they_are_worked_off_in_order_of_arrival() -> None:
    """First come, first served."""
    bench = Bench()
    for ref in (B, A, C):
        bench.queue.add(ref)
    assert len(bench.queue) == 3
    async with bench.running():
        pass
    assert bench.refs == [B, A, C]
    assert len(bench.queue) == 0


async def test_turns_go_round_the_namespaces() -> None:
    """Whoever has a thousand keys in the queue costs the others one turn, not a thousand."""
    bench = Bench()
    loud = [Ref("loud", f"key-{number}") for number in range(1000)]
    for ref in loud:
        bench.queue.add(ref)
    for ref in (A, B):
        bench.queue.add(ref)
    async with bench.running():
        while len(bench.queue):
            await asyncio.sleep(0)
    assert bench.refs[:5] == [loud[0], A, loud[1], B, loud[2]]
    assert len(bench.refs) == 1002


async def test_no_namespace_gets_all_the_workers() -> None:
    """One whose writes hang leaves a quarter of them to the others."""
    bench = Bench(workers=4)
    never = asyncio.Event()

    async def hang(ref: Ref) -> None:
        if ref.namespace == "hanging":
            await never.wait()

    bench.act = hang
    for number in range(10):
        bench.queue.add(Ref("hanging", f"key-{number}"))
    async with bench.running():
        for ref in (A, B, C):
            bench.queue.add(ref)
        await _breathe()
        assert len([each for each in bench.refs if each.namespace == "hanging"]) == 3
        assert bench.refs[3:] == [A, B, C]
        never.set()
        await _breathe()
        assert len(bench.queue) == 0


async def test_the_lag_of_a_due_time_counts_until_it_was_looked_at() -> None:
    """Waiting in the queue is part of it, and shows while it lasts."""
    bench = Bench()
    gate = asyncio.Event()

    async def wait(ref: Ref) -> None:
        await gate.wait()

    bench.act = wait
    async with bench.running():
        bench.queue.schedule.set(A, bench.clock() - timedelta(seconds=2))
        await _breathe()
        bench.clock.step(3)
        assert bench.queue.overdue() == 5
        gate.set()
        await _breathe()
        assert bench.queue.overdue() == 0
    samples = {
        name: values
        for name, _, _, values in bench.metrics.samples(
            roster=Roster(lambda _: None), queue_depth=0, overdue=0, watch_age=lambda: 0, leads=True
        )
    }
    assert samples["keywright_operator_due_lag_seconds"]["_sum"] == 5
    assert samples["keywright_operator_reconciles_total"] == {'{result="done",reason="KeyIssued"}': 1}


async def test_who_waits_already_is_not_queued_twice() -> None:
    """However many events come in."""
    bench = Bench()
    for ref in (A, B, A, A):
        bench.queue.add(ref)
    async with bench.running():
        pass
    assert bench.refs == [A, B]


NEWER: Manifest = {"metadata": {"name": "newer"}}


@pytest.mark.parametrize(
    ("adds", "expected"),
    [
        ([SEEN], SEEN),
        ([SEEN, NEWER], NEWER),
        ([SEEN, None], None),
        ([None, SEEN], None),
        ([None], None),
        ([SEEN, None, NEWER], None),
    ],
    ids=["seen", "the newest seen", "then asked to read", "asked to read first", "asked to read", "read in between"],
)
async def test_what_was_seen_spares_a_read_only_if_nobody_asks_for_one(
    adds: list[Manifest | None], expected: Manifest | None
) -> None:
    """A change of a class or a Secret, or a due time, asks for a live look; an event alone does not."""
    bench = Bench()
    for seen in adds:
        bench.queue.add(A, seen)
    async with bench.running():
        pass
    assert bench.done == [(A, expected)]


async def test_what_comes_in_while_working_is_not_lost() -> None:
    """It is worked on again afterwards, once, with what was seen last."""
    bench = Bench()
    gate = asyncio.Event()

    async def wait(ref: Ref) -> None:
        await gate.wait()

    bench.act = wait
    async with bench.running():
        bench.queue.add(A)
        await _breathe()
        bench.queue.add(A, SEEN)
        bench.queue.add(A, NEWER)
        await _breathe()
        assert bench.refs == [A]
        gate.set()
        await _breathe()
    assert bench.done == [(A, None), (A, NEWER)]


async def test_one_apikey_is_never_at_two_workers() -> None:
    """With many workers and many events, each ref is worked on by one; different refs at once."""
    bench = Bench(workers=4)
    at_work: list[Ref] = []
    most = 0

    async def slow(ref: Ref) -> None:
        nonlocal most
        assert ref not in at_work
        at_work.append(ref)
        most = max(most, len(at_work))
        await _breathe(3)
        at_work.remove(ref)

    bench.act = slow
    rng = Random(7)
    async with bench.running():
        for _ in range(200):
            bench.queue.add(rng.choice([A, B, C]))
            await asyncio.sleep(0)
        while len(bench.queue):
            await asyncio.sleep(0)
    assert most == 3


async def test_what_the_work_returns_is_its_next_due_time() -> None:
    """The queue's own schedule adds it again then, asking for a live look."""
    bench = Bench()

    async def tomorrow(ref: Ref) -> datetime:
        return START + timedelta(days=1)

    bench.act = tomorrow
    async with bench.running():
        bench.queue.add(A, SEEN)
        await _breathe()
        assert bench.due_in(A) == 86400
        bench.clock.step(86400)
        bench.queue.schedule.set(B, bench.clock() - timedelta(seconds=1))  # makes it look now
        await _breathe()
    assert (A, None) in bench.done


async def test_trouble_is_tried_again_ever_more_slowly() -> None:
    """Doubling from a second to five minutes, with jitter downwards; success starts anew."""
    bench = Bench()

    async def fail(ref: Ref) -> None:
        raise ApiUnavailableError(503, "ServiceUnavailable", "get apikeys")

    bench.act = fail
    waits = []
    async with bench.running():
        for _ in range(12):
            bench.queue.add(A)
            await _breathe()
            waits.append(bench.due_in(A))
        bench.act = bench._nothing
        bench.queue.add(A)
        await _breathe()
        assert len(bench.queue.schedule) == 0
        bench.act = fail
        bench.queue.add(A)
        await _breathe()
        again = bench.due_in(A)
    for number, wait in enumerate(waits):
        full = min(FIRST_RETRY * 2**number, LAST_RETRY)
        assert full / 2 <= wait <= full
    assert again <= FIRST_RETRY


async def test_a_conflict_is_looked_at_again_at_once() -> None:
    """Somebody else wrote: no backoff and no line in the log."""
    bench = Bench()

    async def conflict(ref: Ref) -> None:
        raise ConflictError(409, "Conflict", "update apikeys")

    bench.act = conflict
    async with bench.running():
        for _ in range(5):
            bench.queue.add(A)
            await _breathe()
            assert bench.due_in(A) <= CONFLICT_RETRY


async def test_an_api_error_is_logged_with_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """They hold verb, path, status and reason, and nothing that was sent."""
    bench = Bench()

    async def refuse(ref: Ref) -> None:
        raise ApiError(422, "Invalid", "update apikeys")

    bench.act = refuse
    async with bench.running():
        bench.queue.add(A)
        await _breathe()
    assert "payments/a: update apikeys: the API server answered 422 Invalid; trying again" in caplog.text


async def test_an_unknown_exception_harms_nobody_else_and_its_text_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its type and place are; the worker lives on."""
    caplog.set_level(logging.DEBUG)
    bench = Bench()

    async def burst(ref: Ref) -> None:
        if ref == A:
            raise ValueError("s3cr3t")

    bench.act = burst
    async with bench.running():
        bench.queue.add(A)
        bench.queue.add(B)
        await _breathe()
        assert bench.due_in(A) <= FIRST_RETRY
    assert bench.refs == [A, B]
    assert "ValueError at " in caplog.text
    assert "burst" in caplog.text
    assert "s3cr3t" not in caplog.text + repr([each.__dict__ for each in caplog.records])


async def test_draining_lets_work_in_hand_end_and_takes_nothing_new() -> None:
    """Whatever waits is dropped: the next process finds it again."""
    bench = Bench()
    gate = asyncio.Event()

    async def wait(ref: Ref) -> None:
        await gate.wait()

    bench.act = wait
    async with bench.running():
        bench.queue.add(A)
        bench.queue.add(B)
        await _breathe()
        draining = asyncio.create_task(bench.queue.drain(5))
        await _breathe()
        assert not draining.done()
        bench.queue.add(C)
        gate.set()
        await draining
        await _breathe()
    assert bench.refs == [A]
    assert len(bench.queue) == 0


async def test_draining_gives_up_after_its_time() -> None:
    """Work that hangs does not hold up the end of the process."""
    bench = Bench()

    async def hang(ref: Ref) -> None:
        await asyncio.Event().wait()

    bench.act = hang
    async with bench.running():
        bench.queue.add(A)
        await _breathe()
        async with asyncio.timeout(5):
            await bench.queue.drain(0.01)
        assert len(bench.queue) == 1


async def test_draining_an_idle_queue_returns_at_once() -> None:
    """Nothing is in hand."""
    bench = Bench()
    async with asyncio.timeout(1):
        await bench.queue.drain(60)
