"""No plain key is in a log line, an exception, a ``repr``, a status or an event (invariant 1)."""

import asyncio
import contextlib
import gc
import logging
import traceback
from random import Random

import pytest

from keywright.kube.errors import ApiError
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.workqueue import WorkQueue
from tests.support.fake_api import SimulatedDeathError
from tests.unit.reconcile.world import CHEAP, REF, World, leaks_in


def _assert_clean(text: str, world: World) -> None:
    assert world.minted
    assert list(leaks_in(text, world.minted)) == []


@pytest.mark.parametrize("call", range(7))
@pytest.mark.parametrize("trouble", ["death", "refusal", "outage", "conflict", "none"])
async def test_whatever_goes_wrong_says_nothing_secret(
    trouble: str,
    call: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every log line at every level, everything printed, and every exception with its whole chain."""
    caplog.set_level(logging.DEBUG)
    world = World(hashing_of_class=CHEAP)
    world.apply()
    operator = world.operator()
    said: list[str] = []

    async def interfere() -> None:
        if trouble == "refusal":
            raise ApiError(422, "Invalid", "a request")
        if trouble == "outage":
            operator.api.be_unavailable(3)
        if trouble == "conflict":
            world.edit(description="changed meanwhile")
            world.plant("another", text=None)

    if trouble == "death":
        operator.api.die_after(call)
    operator.api.before(call, interfere)
    for _ in range(3):
        try:
            await operator.reconcile()
        except (ApiError, SimulatedDeathError) as error:
            said += [repr(error), str(error), "".join(traceback.format_exception(error))]
            if isinstance(error, SimulatedDeathError):
                operator = world.operator()
    world.clock.step(20)
    await operator.work()
    world.edit(revoked=True)
    await operator.work()
    captured = capsys.readouterr()
    said += [repr(operator.__dict__), repr(operator.reconciler.__dict__), repr(operator.roster.__dict__)]
    said += [repr(record.__dict__) for record in caplog.records]
    _assert_clean("\n".join([*said, caplog.text, captured.out, captured.err]), world)
    world.check_nothing_leaked()


async def test_an_unknown_exception_with_a_key_in_its_text_is_logged_without_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A library may put anything into an exception; the queue logs its type and place."""
    caplog.set_level(logging.DEBUG)
    world = World()
    world.apply()
    operator = world.operator()

    async def burst() -> None:
        raise RuntimeError(f"could not send {world.minted[-1]}")

    operator.api.before(3, burst)
    queue = WorkQueue(
        operator.reconciler.reconcile,
        clock=world.clock,
        rng=Random(1),
        workers=1,
        metrics=Metrics(per_key=False),
        reason_of=operator.roster.reason_of,
    )
    queue.add(REF)
    running = asyncio.create_task(queue.run())
    while len(queue):
        await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert "RuntimeError at " in caplog.text
    _assert_clean(caplog.text + "".join(repr(each.__dict__) for each in caplog.records), world)


async def test_nothing_of_the_key_outlives_its_pass() -> None:
    """The held key dies with the pass; no reconciler, roster or picture keeps it."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    held = world.check_issued()
    owners = [operator.reconciler, operator.roster, operator.secrets, operator.classes]
    seen: set[int] = set()
    while owners:
        each = owners.pop()
        if id(each) in seen or each is operator.api or each is operator.hasher or each is world:
            continue
        seen.add(id(each))
        assert each != held
        assert not (isinstance(each, str) and held.text in each)
        if isinstance(each, dict | list | set | tuple) or type(each).__module__.startswith("keywright."):
            owners.extend(gc.get_referents(each))
