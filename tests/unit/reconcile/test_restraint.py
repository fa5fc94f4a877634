"""A Secret that others keep changing is put right a few times a minute, and no more."""

from keywright.kube.resources import SECRETS
from keywright.reconcile.restraint import BURST, Restraint
from tests.unit.reconcile.world import REF, ManualClock, World


def test_a_few_times_a_minute() -> None:
    """Then not before the first of them is a minute old; what has rested is forgotten."""
    clock = ManualClock()
    restraint = Restraint(clock)
    for _ in range(BURST):
        assert restraint.rests_until("a", 1) is None
        restraint.note("a", 1)
        clock.step(1)
    until = restraint.rests_until("a", 1)
    assert until is not None
    assert (until - clock()).total_seconds() == 60 - BURST
    assert restraint.rests_until("a", 2) is None
    assert restraint.rests_until("b", 1) is None
    clock.step(60 - BURST)
    assert restraint.rests_until("a", 1) is None
    clock.step(60)
    restraint.note("b", 1)
    assert restraint.rests_until("a", 1) is None


def test_a_clock_that_steps_back_leaves_no_secret_as_it_is() -> None:
    """What lies in the future was not a moment ago."""
    clock = ManualClock()
    restraint = Restraint(clock)
    for _ in range(BURST):
        restraint.note("a", 1)
    clock.step(-3600)
    assert restraint.rests_until("a", 1) is None
    restraint.note("a", 1)


async def test_it_is_put_right_when_the_time_has_come() -> None:
    """The pass says when, and the key is judged on meanwhile."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.work()

    def spoil() -> None:
        secret = world.secret()
        assert secret is not None
        secret["data"]["extra"] = "eA=="
        world.cluster.update(SECRETS, REF.namespace, REF.name, secret)

    for _ in range(BURST):
        spoil()
        await operator.work()
        assert "extra" not in (world.secret() or {})["data"]
    spoil()
    wake_at = await operator.work()
    assert "extra" in (world.secret() or {})["data"]
    assert wake_at is not None
    world.edit(suspended=True)
    await operator.work()
    assert world.said("Active") == ("False", "KeySuspended")
    assert "extra" not in (world.secret() or {})["data"]
    spoil()
    world.edit(revoked=True)
    await operator.work()
    assert world.secret() is None
