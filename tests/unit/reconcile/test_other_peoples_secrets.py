"""A Secret that is not ours is never adopted, overwritten, removed or believed (invariant 3)."""

from typing import Any

import pytest

from keywright.domain.delivery import FENCE_ANNOTATION, labels_for
from keywright.kube.client import Manifest
from keywright.kube.resources import SECRETS
from tests.unit.domain.examples import key
from tests.unit.reconcile.world import REF, START, World

ATTACKERS = key(99)


def _owner(world: World, **changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "name": REF.name,
        "uid": world.apikey()["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    } | changes


def _forged(world: World, **changes: Any) -> dict[str, Any]:
    """The metadata that we write ourselves, to the letter, with these changes."""
    return {"labels": labels_for(REF.name), "ownerReferences": [_owner(world)]} | changes


PLANTED: dict[str, Any] = {
    "a Secret of an application": lambda world: {},
    "one with our labels": lambda world: {"labels": labels_for(REF.name)},
    "one with our labels and owner and a key of the attacker": _forged,
    "one with our fence too": lambda world: _forged(world, annotations={FENCE_ANNOTATION: "0"}),
}


@pytest.mark.parametrize("metadata", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("age", ["before the ApiKey is seen", "while its key is delivered", "after the proposal"])
async def test_a_planted_secret_is_never_touched_nor_believed(metadata: Any, age: str) -> None:
    """Whenever it appears: byte for byte as it was, a conflict for people, and its key is accepted nowhere."""
    world = World()
    world.apply()
    operator = world.operator()
    planted: list[Manifest] = []

    async def plant() -> None:
        planted.append(world.plant(text=ATTACKERS.text, **metadata(world)))

    if age == "before the ApiKey is seen":
        await plant()
    elif age == "while its key is delivered":
        operator.api.before(2, plant)
    else:
        operator.api.before(3, plant)
    await operator.work()
    world.clock.step(20)
    await operator.work()
    assert world.secret() == planted[0]
    assert world.said("Stalled") == ("True", "SecretConflict")
    assert world.status().keys == ()
    assert not any(world.accepts(each) for each in [ATTACKERS.text, *world.minted])
    assert world.delivered == [ATTACKERS.text]
    before = world.events()
    await operator.work()
    assert world.events() == before


async def test_an_empty_secret_that_is_exactly_ours_is_used() -> None:
    """There is nothing in it to believe; a crash after the fence leaves such a one."""
    world = World()
    world.apply()
    planted = world.plant(text=None, **_forged(world))
    await world.operator().reconcile()
    world.check_issued()
    secret = world.secret()
    assert secret is not None
    assert secret["metadata"]["uid"] == planted["metadata"]["uid"]


ALMOST = {
    "immutable": ({}, {"immutable": True}),
    "of another type": ({}, {"type": "example.com/own"}),
    "with one label more": ({"labels": labels_for(REF.name) | {"a": "b"}}, {}),
    "with an annotation": ({"annotations": {"a": "b"}}, {}),
}


@pytest.mark.parametrize(("metadata", "fields"), ALMOST.values(), ids=ALMOST)
async def test_an_empty_secret_that_is_almost_ours_is_foreign(metadata: dict[str, Any], fields: dict[str, Any]) -> None:
    """Exactly means exactly."""
    world = World()
    world.apply()
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": REF.name, **_forged(world, **metadata)},
        **fields,
    }
    planted = world.cluster.create(SECRETS, REF.namespace, manifest)
    await world.operator().work()
    assert world.secret() == planted
    assert world.said("Stalled") == ("True", "SecretConflict")


@pytest.mark.parametrize(
    "changes",
    [
        lambda world: {
            "ownerReferences": [_owner(world), {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]
        },
        lambda world: {"finalizers": ["example.com/hold"]},
    ],
    ids=["a second owner of another group", "a finalizer"],
)
async def test_an_empty_secret_with_somebody_elses_metadata_is_foreign(changes: Any) -> None:
    """A second owner can have it collected, a finalizer can hold it: neither is what we write."""
    world = World()
    world.apply()
    planted = world.plant(text=None, **_forged(world, **changes(world)))
    await world.operator().work()
    assert world.secret() == planted


async def test_a_conflict_is_resolved_by_removing_the_secret() -> None:
    """The remedy that the condition names works."""
    world = World()
    world.apply()
    world.plant()
    operator = world.operator()
    await operator.reconcile()
    world.lose_secret()
    await operator.reconcile()
    world.check_issued()
    assert world.events() == ["SecretConflict", "KeyIssued"]


async def test_a_predecessors_secret_is_waited_for() -> None:
    """Deleted and created anew before the garbage collector came: no conflict, the old key is never believed."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    old = world.check_issued()
    world.delete(collect=False)
    world.apply()
    left = world.secret()
    wake_at = await operator.reconcile()
    assert wake_at is not None
    assert wake_at > START
    assert world.said("Ready") == ("Unknown", "Pending")
    assert world.secret() == left
    assert not world.accepts(old.text)
    assert world.cluster.collect_garbage() == [REF.name]
    world.clock.now = wake_at
    await operator.reconcile()
    new = world.check_issued()
    assert new.key_id != old.key_id
    assert world.events() == ["KeyIssued", "KeyIssued"]


async def test_a_lost_secret_is_reported_and_not_written_again() -> None:
    """The key in it cannot be had again; whoever holds it may go on using it."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    held = world.check_issued()
    world.lose_secret()
    await operator.reconcile()
    assert world.said("SecretDelivered") == ("False", "SecretMissing")
    assert world.secret() is None
    assert world.accepts(held.text)
    assert len(world.minted) == 1


async def test_a_secret_that_replaced_ours_is_neither_touched_nor_withdrawn() -> None:
    """Not even when the key is revoked."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    world.lose_secret()
    planted = world.plant(text=ATTACKERS.text, **_forged(world))
    await operator.reconcile()
    assert world.said("Stalled") == ("True", "SecretConflict")
    world.edit(revoked=True)
    await operator.reconcile()
    assert world.secret() == planted
    assert not world.accepts(ATTACKERS.text)


async def test_a_secret_replaced_between_look_and_withdrawal_is_not_removed() -> None:
    """The UID is a precondition of the deletion."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    world.edit(revoked=True)
    planted: list[Manifest] = []

    async def swap() -> None:
        world.lose_secret()
        planted.append(world.plant())

    operator.api.before(4, swap)
    await operator.work()
    assert world.secret() == planted[0]
    assert world.status().revoked_at == START


async def test_a_secret_gone_between_look_and_withdrawal_is_no_trouble() -> None:
    """Somebody else removed it: the end is the same."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    world.edit(revoked=True)

    async def lose() -> None:
        world.lose_secret()

    operator.api.before(4, lose)
    await operator.reconcile()
    assert str(operator.api.recent[-1]) == "delete secrets"


async def test_our_secret_stays_ours_whatever_others_write_on_it() -> None:
    """Once its UID is recorded, a GitOps tool's labels stay, and what was ours is put back: one write, and no more."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    world.cluster.edit(
        SECRETS, REF.namespace, REF.name, lambda each: each["metadata"].update(labels={"a": "b"}, ownerReferences=[])
    )
    await operator.reconcile()
    assert [str(each) for each in operator.api.writes] == ["update secrets"]
    secret = world.secret()
    assert secret is not None
    assert secret["metadata"]["labels"] == labels_for(REF.name) | {"a": "b"}
    assert secret["metadata"]["ownerReferences"] == [_owner(world)]
    world.check_issued()
    await operator.reconcile()
    assert operator.api.writes == []
