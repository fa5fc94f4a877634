"""Due times: in order, one for each ApiKey, the last word counts, and a step of the clock is noticed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from keywright.reconcile import schedule as schedule_module
from keywright.reconcile.ports import Ref
from keywright.reconcile.schedule import Schedule
from tests.unit.reconcile.world import START, ManualClock

A, B, C = (Ref("payments", name) for name in "abc")


class Fixture:
    """A schedule on a clock that stands, and whom it has called."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.fired: list[Ref] = []
        self.lags: list[float] = []
        self.schedule = Schedule(self.clock, self._due)

    def _due(self, ref: Ref, at: datetime) -> None:
        self.fired.append(ref)
        self.lags.append((self.clock() - at).total_seconds())

    def set(self, ref: Ref, seconds: float) -> None:
        self.schedule.set(ref, START + timedelta(seconds=seconds))

    def step(self, seconds: float) -> list[Ref]:
        """Move the clock, let the schedule look, and say whom it called."""
        self.clock.step(seconds)
        self.fired.clear()
        self.schedule._release()
        return list(self.fired)


@asynccontextmanager
async def running(schedule: Schedule) -> AsyncIterator[None]:
    task = asyncio.create_task(schedule.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_they_fire_in_the_order_of_their_times() -> None:
    """Not in the order in which they were set."""
    given = Fixture()
    given.set(B, 20)
    given.set(C, 30)
    given.set(A, 10)
    assert given.step(9) == []
    assert given.step(1) == [A]
    assert given.step(100) == [B, C]
    assert len(given.schedule) == 0


@pytest.mark.parametrize("second", [5, 50], ids=["earlier", "later"])
def test_the_newest_due_time_replaces_the_one_before(second: float) -> None:
    """The old entry is skipped when it comes up; nobody is called twice."""
    given = Fixture()
    given.set(A, 10)
    given.set(A, second)
    assert len(given.schedule) == 1
    assert given.step(second - 1) == []
    assert given.step(1) == [A]
    assert given.step(100) == []


def test_the_same_time_twice_is_one_entry() -> None:
    """Setting what is set costs nothing, also by way of another time."""
    given = Fixture()
    for seconds in (10, 10, 20, 10):
        given.set(A, seconds)
    assert given.step(10) == [A]
    assert given.step(100) == []


def test_none_takes_the_due_time_back() -> None:
    """Only an event wakes it then; taking back nothing is no mistake."""
    given = Fixture()
    given.set(A, 10)
    given.schedule.set(A, None)
    given.schedule.set(B, None)
    assert len(given.schedule) == 0
    assert given.step(100) == []


def test_a_time_in_the_past_fires_at_the_next_look() -> None:
    """As after a restart."""
    given = Fixture()
    given.set(A, -10)
    assert given.step(0) == [A]


def test_a_clock_that_steps_back_delays_and_loses_nothing() -> None:
    """Wall clocks do that."""
    given = Fixture()
    given.set(A, 10)
    assert given.step(-3600) == []
    assert given.step(3610) == [A]


def test_the_wait_is_bounded_so_that_a_step_of_the_clock_is_noticed() -> None:
    """Half a minute at most, whatever is due next; less if that is sooner."""
    given = Fixture()
    assert given.schedule._release() == schedule_module.LONGEST_WAIT
    given.set(A, 86400)
    assert given.schedule._release() == schedule_module.LONGEST_WAIT
    given.set(B, 10)
    assert given.schedule._release() == 10


async def test_a_due_time_is_kept_in_real_time() -> None:
    """Within milliseconds."""
    fired = asyncio.Event()
    clock = ManualClock()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    schedule = Schedule(lambda: clock.now + timedelta(seconds=loop.time() - begun), lambda *_: fired.set())
    schedule.set(A, START + timedelta(seconds=0.05))
    async with running(schedule), asyncio.timeout(5):
        await fired.wait()
    assert loop.time() - begun >= 0.05


async def test_an_earlier_time_wakes_the_one_who_waits() -> None:
    """Who sleeps until a later one is told at once."""
    given = Fixture()
    given.set(A, 20)
    async with running(given.schedule):
        await asyncio.sleep(0)
        given.set(B, 0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert given.fired == [B]


async def test_a_step_of_the_clock_is_noticed_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything being set."""
    monkeypatch.setattr(schedule_module, "LONGEST_WAIT", 0.01)
    given = Fixture()
    given.set(A, 3600)
    async with running(given.schedule), asyncio.timeout(5):
        await asyncio.sleep(0)
        given.clock.step(3600)
        while not given.fired:
            await asyncio.sleep(0.005)
    assert given.fired == [A]


def test_lateness_is_told() -> None:
    """By how much each due time was met late, for the metric."""
    fixture = Fixture()
    fixture.set(A, 5)
    fixture.step(7)
    assert fixture.lags == [2.0]


def test_replaced_due_times_do_not_pile_up() -> None:
    """However often one that lies far ahead is replaced."""
    fixture = Fixture()
    for number in range(10_000):
        fixture.set(A, 10_000 + number)
    assert len(fixture.schedule._heap) < 200
    assert fixture.step(30_000) == [A]
