"""A replica that stands by: it writes nothing, knows what is undone, and begins with that when its turn comes."""

import pytest

from keywright.kube.client import Manifest
from keywright.kube.errors import ApiUnavailableError
from keywright.kube.resources import APIKEYS, SECRETS
from keywright.reconcile.echoes import Echoes
from keywright.reconcile.ports import Ref
from keywright.reconcile.standby import GuardedApi, Standby
from tests.support.fake_api import FakeApi
from tests.unit.reconcile.world import REF, Operator, World


class Replica:
    """An operator behind a standby; whether it leads is set by the test."""

    def __init__(self, world: World) -> None:
        self.leads = False
        self.operator: Operator = world.operator()
        self.standby = Standby(
            leads=lambda: self.leads,
            foresee=self.operator.reconciler.foresee,
            work=self.operator.reconciler.reconcile,
        )
        self.added: list[Ref] = []

    def undone(self) -> list[Ref]:
        self.standby.take_over(self.added.append)
        return self.added


async def test_it_sends_nothing_and_knows_what_is_undone() -> None:
    """An ApiKey without a key is left to the leader, and looked at first after a takeover."""
    world = World()
    world.apply()
    replica = Replica(world)
    assert await replica.standby.look(REF, world.apikey()) is None
    assert replica.operator.api.calls == []
    assert replica.undone() == [REF]
    replica.leads = True
    await replica.standby.look(REF, None)
    world.check_issued()


async def test_what_the_leader_has_done_is_not_undone() -> None:
    """The event that shows it leaves its due time, and a takeover has nothing to look at."""
    world = World()
    world.apply(ttl="90d")
    replica, leader = Replica(world), world.operator()
    await replica.standby.look(REF, world.apikey())
    await replica.standby.look(REF, None)
    await leader.work()
    assert await replica.standby.look(REF, world.apikey()) is not None
    assert replica.undone() == []


async def test_a_secret_may_be_shown_after_its_apikey() -> None:
    """Two watches, in any order: the key is in order once both have been seen."""
    world = World()
    world.apply()
    leader, replica = world.operator(), Replica(world)
    await leader.work()
    secret = world.secret()
    assert secret is not None
    replica.operator.secrets.remove(secret["metadata"]["uid"])
    await replica.standby.look(REF, world.apikey())
    replica.operator.secrets.put(secret)
    await replica.standby.look(REF, None)
    assert replica.undone() == []


async def test_what_is_gone_is_forgotten() -> None:
    """Nobody has to look for it after a takeover."""
    world = World()
    world.apply()
    replica = Replica(world)
    await replica.standby.look(REF, world.apikey())
    replica.standby.forget(REF)
    assert replica.undone() == []


async def test_every_write_asks_whether_it_may() -> None:
    """Reads pass; a pass that is in hand when the lead is lost stops at its next write."""
    world = World()
    world.apply()
    leads = True
    api = FakeApi(world.cluster)
    guarded = GuardedApi(api, lambda: leads, Echoes(world.operator().secrets))
    secret: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}
    made = await guarded.create(SECRETS, REF.namespace, secret)
    await guarded.update(SECRETS, REF.namespace, "one", made)
    leads = False
    await guarded.get(APIKEYS, REF.namespace, REF.name)
    for write in (
        guarded.create(SECRETS, REF.namespace, {**secret, "metadata": {"name": "two"}}),
        guarded.update(SECRETS, REF.namespace, "one", made),
        guarded.delete(SECRETS, REF.namespace, "one", uid=made["metadata"]["uid"]),
    ):
        with pytest.raises(ApiUnavailableError, match="NotLeading"):
            await write
    assert [str(each) for each in api.calls] == ["create secrets", "update secrets", "get apikeys"]
    leads = True
    await guarded.delete(SECRETS, REF.namespace, "one", uid=made["metadata"]["uid"])
    assert world.cluster.find(SECRETS, REF.namespace, "one") is None
