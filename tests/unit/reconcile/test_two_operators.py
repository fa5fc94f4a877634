"""Two operators over the same ApiKey, interleaved at every call boundary (invariant 8)."""

import contextlib
from collections.abc import Awaitable, Callable

import pytest

from keywright.kube.errors import ApiError, ConflictError
from keywright.kube.resources import SECRETS
from tests.unit.reconcile.world import REF, Operator, World

CALLS = 6
PATIENT, IMPATIENT = 0.0, 20.0


async def _finish(*operators: Operator) -> None:
    """Both look until neither has anything to do."""
    for _ in range(3):
        for each in operators:
            await each.work()
    for each in operators:
        await each.reconcile()
        assert each.api.writes == []


async def _attempt(operator: Operator) -> None:
    try:
        await operator.reconcile()
    except ConflictError:
        return


def _full_run_of(operator: Operator) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await operator.work()
        operator.world.check()

    return run


@pytest.mark.parametrize("ahead", [PATIENT, IMPATIENT], ids=["same clock", "20 s ahead"])
@pytest.mark.parametrize("call", range(CALLS))
async def test_a_whole_run_between_any_two_calls_of_another(call: int, ahead: float) -> None:
    """At each call of A, B runs to its end; with its clock ahead it takes A's proposal over. Never two keys
    delivered and accepted, and in the end exactly one.
    """
    world = World()
    world.apply()
    a, b = world.operator(), world.operator(ahead=ahead)
    a.api.before(call, _full_run_of(b))
    await _attempt(a)
    world.check()
    await _finish(a, b)
    world.clock.step(30)
    await _finish(a, b)
    held = world.check_issued()
    assert [each for each in set(world.delivered) if world.accepts(each)] == [held.text]


@pytest.mark.parametrize("ahead", [PATIENT, IMPATIENT], ids=["same clock", "20 s ahead"])
@pytest.mark.parametrize("first", range(CALLS))
@pytest.mark.parametrize("second", range(CALLS))
async def test_a_run_that_is_itself_interrupted(first: int, second: int, ahead: float) -> None:
    """At one call of A, B runs; at one call of B, a third runs to its end."""
    world = World()
    world.apply()
    a, b, c = world.operator(), world.operator(ahead=ahead), world.operator(ahead=2 * ahead)
    a.api.before(first, lambda: _attempt(b))
    b.api.before(second, _full_run_of(c))
    await _attempt(a)
    world.check()
    world.clock.step(60)
    await _finish(a, b, c)
    held = world.check_issued()
    assert [each for each in set(world.delivered) if world.accepts(each)] == [held.text]


@pytest.mark.parametrize("call", range(CALLS))
async def test_the_clock_is_stepped_past_the_patience_of_both(call: int) -> None:
    """A stalls for longer than B waits, at any call; what A sends afterwards conflicts or is the one key."""
    world = World()
    world.apply()
    a, b = world.operator(), world.operator()

    async def stall() -> None:
        world.clock.step(16)
        await b.work()

    a.api.before(call, stall)
    await _attempt(a)
    world.check()
    await _finish(a, b)
    held = world.check_issued()
    assert set(world.delivered) == {held.text}


@pytest.mark.parametrize("call", range(CALLS))
async def test_revoked_while_another_delivers(call: int) -> None:
    """At any call of A the key is revoked and B enacts it: no Secret stays, nothing is accepted."""
    world = World()
    world.apply()
    a, b = world.operator(), world.operator()

    async def revoke() -> None:
        world.edit(revoked=True)
        await b.work()

    a.api.before(call, revoke)
    await _attempt(a)
    assert not any(world.accepts(each) for each in world.minted)
    await _finish(a, b)
    assert world.secret() is None
    assert world.said("Active") == ("False", "KeyRevoked")


@pytest.mark.parametrize("ahead", [PATIENT, IMPATIENT], ids=["same clock", "20 s ahead"])
@pytest.mark.parametrize("call", range(CALLS))
async def test_deleted_and_made_anew_while_another_delivers(call: int, ahead: float) -> None:
    """At any call of A its ApiKey is replaced by another of the same name: A's key is never accepted there."""
    world = World()
    world.apply()
    a, b = world.operator(), world.operator(ahead=ahead)

    async def replace() -> None:
        world.delete(collect=False)
        world.apply()
        await b.work()

    a.api.before(call, replace)
    with contextlib.suppress(ApiError):
        await a.reconcile()
    world.check()
    world.cluster.collect_garbage()
    world.clock.step(30)
    await _finish(a, b)
    world.check_issued()


async def test_a_slow_delivery_conflicts_with_the_fence() -> None:
    """The one write that could bring a second key: refused, because the Secret exists by then."""
    world = World()
    world.apply()
    a, b = world.operator(), world.operator(ahead=20)
    a.api.before(3, _full_run_of(b))
    with pytest.raises(ConflictError):
        await a.reconcile()
    assert str(a.api.recent[-1]) == "create secrets"
    assert len(world.minted) == 2
    assert len(set(world.delivered)) == 1
    world.check_issued()


async def test_a_slow_delivery_after_the_end_is_withdrawn() -> None:
    """A stalls until the key has ended and B has said so; what A then delivers is recorded, and taken away."""
    world = World()
    world.apply(expiresAt="2026-06-01T12:00:10Z")
    a, b = world.operator(), world.operator()

    async def stall() -> None:
        world.clock.step(16)
        await b.work()

    a.api.before(3, stall)
    await _attempt(a)
    world.check()
    await _finish(a, b)
    assert world.secret() is None
    assert world.said("Active") == ("False", "KeyExpired")


async def test_a_slow_withdrawal_spares_what_was_delivered_since() -> None:
    """A is about to remove a Secret that was acknowledged, as B delivers another key into it: nobody has that one yet."""
    world = World()
    world.apply(secret={"delivery": "Once"})
    a, b = world.operator(), world.operator()
    await a.work()
    first = world.check_issued()
    secret = world.secret()
    assert secret is not None
    secret["metadata"]["annotations"]["keywright.dev/acknowledged"] = first.key_id
    world.cluster.update(SECRETS, REF.namespace, REF.name, secret)

    async def rotate() -> None:
        world.edit(secret={"delivery": "Once"}, rotation={"trigger": "now"})
        await b.work()

    a.api.before(2, rotate)
    await _attempt(a)
    await _finish(a, b)
    second = world.key_in_secret()
    assert second is not None
    assert second.key_id == world.status().current_key_id != first.key_id
    assert world.accepts(second.text)
