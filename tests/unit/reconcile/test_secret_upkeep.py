"""The Secret of a key in use: how often it is read and written, and what a crash or a refusal leaves behind."""

from typing import Any

import pytest

from keywright.domain.delivery import labels_for
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError
from keywright.kube.resources import APIKEYS, SECRETS
from tests.support.fake_api import SimulatedDeathError
from tests.unit.domain.examples import key
from tests.unit.reconcile.world import NAMESPACE, REF, Operator, World

HELD = key(7)
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


def touch(world: World, **annotations: str) -> None:
    def change(manifest: Manifest) -> None:
        manifest["metadata"].setdefault("annotations", {}).update(annotations)

    world.cluster.edit(SECRETS, REF.namespace, REF.name, change)


async def die(world: World, moment: str, call: int) -> None:
    victim = world.operator()
    getattr(victim.api, f"die_{moment}")(call)
    with pytest.raises(SimulatedDeathError):
        await victim.reconcile()
    victim.die()


async def issued(**spec: Any) -> tuple[World, Operator]:
    world = World()
    world.apply(**spec)
    operator = world.operator()
    await operator.work()
    world.check_issued()
    return world, operator


def restored() -> World:
    """A Secret with a key in it, beside an ApiKey that knows of none and is to adopt it."""
    world = World()
    planted = world.plant(text=HELD.text, labels=labels_for(REF.name))
    world.minted.append(HELD.text)
    world.apply()

    def annotate(manifest: Manifest) -> None:
        manifest["metadata"]["annotations"] = {"keywright.dev/adopt-secret": planted["metadata"]["uid"]}

    world.cluster.edit(APIKEYS, REF.namespace, REF.name, annotate)
    return world


async def test_a_secret_that_others_touch_costs_reads_and_no_writes() -> None:
    """However often; after one look its version is remembered, and a restart looks once more."""
    world, operator = await issued()
    for number in range(20):
        touch(world, note=str(number))
        assert operator.told[-1] == REF
        await operator.reconcile(seen=world.apikey())
        assert operator.api.writes == []
        assert len(operator.api.recent) == 2
        await operator.reconcile(seen=world.apikey())
        assert operator.api.recent == []
    operator.die()
    restarted = world.operator()
    await restarted.reconcile(seen=world.apikey())
    assert [str(each) for each in restarted.api.recent] == ["get apikeys", "get secrets"]
    await restarted.reconcile(seen=world.apikey())
    assert restarted.api.recent == []


async def test_a_restart_reads_no_untouched_secret() -> None:
    """Not even one; but where the class decides what the Secret carries, it may have changed meanwhile."""
    world, operator = await issued()
    operator.die()
    restarted = world.operator()
    await restarted.reconcile(seen=world.apikey())
    assert restarted.api.recent == []
    world.edit(secret={"template": {"labels": {"reloader.stakater.com/a": "b"}}})
    await restarted.work()
    restarted.die()
    world.edit_class(secretMetadata=[])
    again = world.operator()
    await again.reconcile(seen=world.apikey())
    secret = world.secret()
    assert secret is not None
    assert secret["metadata"]["labels"] == labels_for(REF.name)
    assert world.said("Stalled") == ("True", "InvalidSpec")
    assert world.said("Active")[0] == "True"


async def test_a_refused_rendering_is_told_and_all_else_is_done() -> None:
    """The suspension that came with it is recorded; the pass ends with the refusal, so that it is tried again."""
    world, operator = await issued()
    world.edit(suspended=True, secret={"template": {"data": {"id": "$(keyId)"}}})

    async def refuse() -> None:
        raise ApiError(403, "Forbidden", "update secrets")

    operator.api.before(2, refuse)
    with pytest.raises(ApiError):
        await operator.reconcile()
    assert world.said("Active") == ("False", "KeySuspended")
    assert world.said("Stalled") == ("True", "SecretRefused")
    await operator.work()
    assert world.said("Stalled")[0] == "False"
    secret = world.secret()
    assert secret is not None
    assert set(secret["data"]) == {"api-key", "id"}


@pytest.mark.parametrize("call", range(4))
@MOMENTS
async def test_a_rendering_survives_death_at_every_call(moment: str, call: int) -> None:
    """Another process ends where the first would have, and mints nothing."""
    world, _ = await issued()
    world.edit(secret={"template": {"data": {"id": "$(keyId)"}}})
    await die(world, moment, call)
    restarted = world.operator()
    await restarted.reconcile(seen=world.apikey())
    secret = world.secret()
    assert secret is not None
    assert set(secret["data"]) == {"api-key", "id"}
    world.check_issued()
    assert world.status().observed_generation == 2
    assert world.status().secret_resource_version == secret["metadata"]["resourceVersion"]


@pytest.mark.parametrize("call", range(5))
@MOMENTS
async def test_a_received_delivery_survives_death_at_every_call(moment: str, call: int) -> None:
    """The Secret is gone, the key works, and it is told once at most."""
    world, _ = await issued(secret={"delivery": "Once"})
    held = world.check_issued()
    touch(world, **{"keywright.dev/acknowledged": held.key_id})
    await die(world, moment, call)
    await world.operator().reconcile(seen=world.apikey())
    assert world.secret() is None
    assert world.said("SecretDelivered") == ("False", "SecretWithdrawn")
    assert world.accepts(held.text)
    assert world.events().count("SecretWithdrawn") <= 1
    assert len(world.minted) == 1


@pytest.mark.parametrize("call", range(7))
@MOMENTS
async def test_an_adoption_survives_death_at_every_call(moment: str, call: int) -> None:
    """One key, that of the Secret; nothing is minted, whoever goes on."""
    world = restored()
    await die(world, moment, call)
    await world.operator().work()
    assert world.check_issued().text == HELD.text
    assert world.minted == [HELD.text]
    assert "KeyIssued" not in world.events()
    operator = world.operator()
    await operator.work()
    assert operator.api.writes == []


@pytest.mark.parametrize("call", range(7))
async def test_two_operators_adopt_once(call: int) -> None:
    """The second comes in at any call of the first."""
    world = restored()
    first, second = world.operator(), world.operator()

    async def interfere() -> None:
        await second.work()

    first.api.before(call, interfere)
    await first.work()
    await second.work()
    assert world.check_issued().text == HELD.text
    assert world.events() == ["SecretAdopted"]


async def test_a_secret_that_was_taken_in_between_is_not_adopted() -> None:
    """Replaced between the look and the mark: the mark carries the version that was read."""
    world = restored()
    operator = world.operator()

    async def swap() -> None:
        world.lose_secret()
        world.plant(text=key(99).text, labels=labels_for(REF.name))

    operator.api.before(2, swap)
    await operator.work()
    assert world.said("Stalled") == ("True", "SecretConflict")
    assert not world.accepts(key(99).text)


async def test_the_copy_of_a_status_harms_nobody() -> None:
    """Of two ApiKeys with one status, the younger neither writes nor removes what is the elder's."""
    world, operator = await issued()
    status, before = world.apikey()["status"], world.secret()
    world.clock.step(5)
    world.apply("copy", secret={"name": REF.name, "delivery": "Once"})
    world.cluster.edit(APIKEYS, NAMESPACE, "copy", lambda each: each.update(status=status))
    younger = REF._replace(name="copy")
    await operator.work(younger)
    world.edit(younger, revoked=True)
    await operator.work(younger)
    assert world.secret() == before
    world.check_issued()
