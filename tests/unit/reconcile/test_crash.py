"""The process dies before or after any API call, and the next one finishes the job."""

import base64

import pytest

from keywright.domain import plainkey
from keywright.domain.plan import WRITER_PATIENCE
from keywright.kube.resources import APIKEYS, SECRETS
from tests.support.fake_api import SimulatedDeathError
from tests.unit.reconcile.world import REF, World

CALLS = 6
AFTERWARDS = WRITER_PATIENCE.total_seconds() + 1


async def _die(world: World, moment: str, call: int) -> None:
    victim = world.operator()
    getattr(victim.api, f"die_{moment}")(call)
    with pytest.raises(SimulatedDeathError):
        await victim.reconcile()
    victim.die()


@pytest.mark.parametrize("call", range(CALLS))
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_issue_survives_death_at_every_call(moment: str, call: int) -> None:
    """Exactly one Current key, in the Secret; no key was ever accepted and delivered besides it."""
    world = World()
    world.apply()
    await _die(world, moment, call)
    world.check()
    world.clock.step(AFTERWARDS)
    await world.operator().work()
    held = world.check_issued()
    assert set(world.delivered) == {held.text}
    assert world.events().count("KeyIssued") <= 1


@pytest.mark.parametrize("call", range(CALLS))
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_restart_at_once_neither_waits_for_ever_nor_mints_twice(moment: str, call: int) -> None:
    """Before the patience ends the next process promotes what was delivered, or says when to look again."""
    world = World()
    world.apply()
    await _die(world, moment, call)
    operator = world.operator()
    wake_at = await operator.work()
    if wake_at is not None:
        world.clock.now = wake_at
        await operator.work()
    held = world.check_issued()
    assert set(world.delivered) == {held.text}


@pytest.mark.parametrize("second", range(12))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("first", [3, 4])
async def test_the_takeover_survives_death_too(first: int, moment: str, second: int) -> None:
    """Death between the proposal and the delivery, and then at every call of whoever takes over."""
    world = World()
    world.apply()
    await _die(world, "before", first)
    world.clock.step(AFTERWARDS)
    victim = world.operator()
    getattr(victim.api, f"die_{moment}")(second)
    try:
        await victim.reconcile()
    except SimulatedDeathError:
        victim.die()
    world.check()
    world.clock.step(AFTERWARDS)
    await world.operator().work()
    world.check_issued()
    assert len(set(world.delivered)) == 1


@pytest.mark.parametrize("call", range(5))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("end", ["revoked", "expired"])
async def test_a_withdrawal_survives_death_at_every_call(end: str, moment: str, call: int) -> None:
    """The key is refused from the first write on; whoever comes next takes the Secret away."""
    world = World()
    world.apply(ttl="1h")
    await world.operator().work()
    held = world.check_issued()
    if end == "revoked":
        world.edit(revoked=True)
    else:
        world.clock.step(3600)
    assert not world.accepts(held.text)
    await _die(world, moment, call)
    assert not world.accepts(held.text)
    restarted = world.operator()
    await restarted.reconcile(seen=world.apikey())
    assert world.secret() is None
    assert world.said("Active")[0] == "False"
    assert len(world.minted) == 1


async def test_a_secret_that_holds_the_pending_key_is_believed_after_proof_only() -> None:
    """After a crash between (b) and (c) the hash is checked once; a wrong fingerprint saves even that."""
    world = World()
    world.apply()
    await _die(world, "before", 4)
    operator = world.operator()
    await operator.work()
    assert operator.hasher.verified == 1
    world.check_issued()


@pytest.mark.parametrize("damage", ["ZGFtYWdlZA==", "not base64 at all", "/////w==", ""])
async def test_a_secret_with_anything_else_in_it_is_not_believed(damage: str) -> None:
    """A crash between (b) and (c), and somebody changed the entry: it proves nothing, so it is not ours."""
    world = World()
    world.apply()
    await _die(world, "before", 4)
    world.cluster.edit(SECRETS, REF.namespace, REF.name, lambda each: each["data"].update({"api-key": damage}))
    world.clock.step(AFTERWARDS)
    operator = world.operator()
    await operator.work()
    assert world.said("Stalled") == ("True", "SecretConflict")
    assert operator.hasher.verified == 0


@pytest.mark.parametrize("has_fingerprint", [True, False], ids=["with fingerprint", "without"])
async def test_a_forged_key_with_the_right_id_is_not_believed(has_fingerprint: bool) -> None:
    """Key ids are public, and so is the checksum; only the hash proves a key."""
    world = World()
    world.apply()
    await _die(world, "before", 4)
    body = "_".join(world.minted[0].split("_")[:3]) + "_" + "A" * 43
    forged = base64.b64encode((body + plainkey.checksum(body)).encode()).decode()
    world.cluster.edit(SECRETS, REF.namespace, REF.name, lambda each: each["data"].update({"api-key": forged}))
    if not has_fingerprint:
        world.cluster.edit(APIKEYS, REF.namespace, REF.name, lambda each: each["status"]["keys"][0].pop("fingerprint"))
    world.clock.step(AFTERWARDS)
    operator = world.operator()
    await operator.work()
    assert world.said("Stalled") == ("True", "SecretConflict")
    assert world.status().keys == ()
    assert operator.hasher.verified == (0 if has_fingerprint else 1)
