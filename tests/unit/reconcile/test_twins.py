"""Two ApiKeys with the same key id: the older keeps working, the younger is told (invariant 11)."""

from keywright.kube.client import Manifest
from keywright.kube.resources import APIKEYS
from keywright.reconcile.ports import Ref
from tests.unit.reconcile.world import NAMESPACE, World

YOUNGER = Ref(NAMESPACE, "copy")


async def test_a_copied_status_is_refused_and_reported_on_the_younger() -> None:
    """As after ``kubectl get -o yaml | kubectl create`` by somebody who may write status."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    status = world.apikey()["status"]
    world.clock.step(5)
    world.apply("copy")
    world.cluster.edit(APIKEYS, NAMESPACE, "copy", lambda each: each.update(status=status))
    await operator.reconcile(YOUNGER)
    assert world.said("Active", YOUNGER) == ("False", "StatusTampered")
    assert world.said("Stalled", YOUNGER) == ("True", "StatusTampered")
    await operator.reconcile()
    assert operator.api.writes == []
    assert world.said("Active") == ("True", "KeyIssued")
    assert len(world.minted) == 1


async def test_a_restarted_operator_knows_the_elder_too() -> None:
    """Age is in the objects, not in the memory of the process that saw them first."""
    world = World()
    world.apply()
    first = world.operator()
    await first.reconcile()
    status = world.apikey()["status"]
    world.clock.step(5)
    world.apply("copy")
    world.cluster.edit(APIKEYS, NAMESPACE, "copy", lambda each: each.update(status=status))
    restarted = world.operator()
    await restarted.reconcile(YOUNGER)
    assert world.said("Stalled", YOUNGER) == ("True", "StatusTampered")


async def test_the_younger_is_looked_at_again_when_the_elder_goes() -> None:
    """Its trouble is over then; its owner learns of it without touching anything."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    manifest: Manifest = world.apikey()
    world.clock.step(5)
    world.apply("copy")
    world.cluster.edit(APIKEYS, NAMESPACE, "copy", lambda each: each.update(status=manifest["status"]))
    operator.told.clear()
    world.delete(collect=False)
    assert YOUNGER in operator.told
    await operator.reconcile(YOUNGER)
    assert world.said("Active", YOUNGER)[1] != "StatusTampered"
