"""What verifiers report gets into status: by the hour, at an even pace, and never at the cost of anything else."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from keywright.domain.times import format_instant
from keywright.kube.client import Manifest
from keywright.kube.resources import APIKEYS, APIKEYUSAGES
from keywright.reconcile.ports import Ref
from keywright.reconcile.usage import BURST, PER_MINUTE, SWEEP
from tests.unit.reconcile.world import NAMESPACE, REF, START, Operator, World

GATEWAY = "gateway"


@pytest.fixture
def world() -> World:
    return World()


def publish(world: World, uses: Mapping[str, datetime | str], name: str = "verifier-0", *, renewed: float = 0) -> None:
    """What a verifier writes: uses by ``apikey``, of its current key; ``renewed`` seconds from now."""
    told = {path_of(world, Ref(NAMESPACE, apikey)): text_of(at) for apikey, at in uses.items()}
    spec = {"verifier": "v", "renewedAt": format_instant(world.clock() + timedelta(seconds=renewed)), "uses": told}
    found = world.cluster.find(APIKEYUSAGES, GATEWAY, name)
    if found is None:
        manifest = {"apiVersion": APIKEYUSAGES.api_version, "kind": "ApiKeyUsage", "metadata": {"name": name}}
        world.cluster.create(APIKEYUSAGES, GATEWAY, manifest | {"spec": spec})
    else:
        world.cluster.update(APIKEYUSAGES, GATEWAY, name, found | {"spec": spec})


def path_of(world: World, ref: Ref) -> str:
    return f"{ref}/{world.status(ref).current_key_id}" if world.cluster.find(APIKEYS, *ref) else f"{ref}/{'0' * 12}"


def text_of(at: datetime | str) -> str:
    return at if isinstance(at, str) else format_instant(at)


async def issue(world: World, operator: Operator, *names: str) -> None:
    for name in names:
        await operator.work(world.apply(name))


async def sweep(operator: Operator) -> list[Ref]:
    """Hand out turns, and take them; whose they were."""
    operator.told.clear()
    operator.usage.sweep()
    taken = list(operator.told)
    for ref in taken:
        await operator.work(ref)
    return taken


async def test_a_use_gets_into_status_and_not_again_within_the_hour(world: World) -> None:
    """The first use at once; then nothing, whatever is reported, until the record is an hour old."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock()})
    assert await sweep(operator) == [REF]
    assert world.status().last_used_at == START
    assert [each.last_used_at for each in world.status().keys] == [START]
    version = world.apikey()["metadata"]["resourceVersion"]
    for _ in range(59):
        world.clock.step(60)
        publish(world, {REF.name: world.clock()})
        assert await sweep(operator) == []
    assert world.apikey()["metadata"]["resourceVersion"] == version
    world.clock.step(660)
    publish(world, {REF.name: world.clock()})
    assert await sweep(operator) == [REF]
    assert world.status().last_used_at == world.clock()


async def test_the_last_use_of_a_key_that_rests_is_not_lost(world: World) -> None:
    """Used once more a minute after the record was made: in status when its hour is over, although nobody says more."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock()})
    await sweep(operator)
    world.clock.step(60)
    publish(world, {REF.name: world.clock()})
    await sweep(operator)
    world.clock.step(4200)
    assert await sweep(operator) == [REF]
    assert world.status().last_used_at == START + timedelta(seconds=60)
    world.clock.step(10_000)
    assert await sweep(operator) == []


async def test_a_pass_without_a_turn_writes_nothing(world: World) -> None:
    """A restart, a resync, a pass for another reason: news of uses alone is no reason to write."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock()})
    await operator.work()
    assert operator.api.writes == []
    restarted = world.operator()
    await restarted.reconcile(REF, world.apikey())
    assert restarted.api.calls == []


async def test_a_restart_writes_nothing_that_is_on_record(world: World) -> None:
    """Invariant 7."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock()})
    await sweep(operator)
    world.clock.step(10_000)
    operator.die()
    assert await sweep(world.operator()) == []


async def test_turns_come_at_an_even_pace(world: World) -> None:
    """Fifty keys used for the first time in the same second: a few at once, the others below 20 a minute; and the
    hours after that are as even.
    """
    operator = world.operator()
    names = [f"key-{number}" for number in range(50)]
    await issue(world, operator, *names)
    minutes = []
    for _ in range(150):
        publish(world, dict.fromkeys(names, world.clock()))
        taken = 0
        for _ in range(int(60 / SWEEP)):
            world.clock.step(SWEEP)
            taken += len(await sweep(operator))
        minutes.append(taken)
    assert minutes[0] > BURST
    assert max(minutes) <= BURST + PER_MINUTE < 20
    assert sum(minutes[:10]) == 50
    assert 50 <= sum(minutes[10:90]) <= 70


async def test_a_thousand_busy_keys_cost_less_than_twenty_writes_a_minute(world: World) -> None:
    """In any minute from the first on, computed by the sweep itself, without the writes."""
    operator = world.operator()
    picture, roster, clock = operator.usage, operator.roster, world.clock
    names = [f"key-{number}" for number in range(1000)]
    shown = {name: apikey(name) for name in names}
    for name, manifest in shown.items():
        roster.observe(Ref(NAMESPACE, name), manifest)
    version, minutes = 1, []
    for _ in range(4 * 60):
        at = format_instant(clock())
        uses = {f"{NAMESPACE}/{name}/{'0' * 12}": at for name in names}
        version += 1
        picture.put(
            {
                "metadata": {"namespace": GATEWAY, "name": "v-0", "uid": "v-0", "resourceVersion": str(version)},
                "spec": {"verifier": "v", "renewedAt": at, "uses": uses},
            }
        )
        taken = 0
        for _ in range(4):
            clock.step(15)
            operator.told.clear()
            picture.sweep()
            taken += len(operator.told)
            for ref in operator.told:
                written = shown[ref.name]
                version += 1
                written["metadata"]["resourceVersion"] = str(version)
                for each in (written["status"], written["status"]["keys"][0]):
                    each["lastUsedAt"] = at
                roster.observe(ref, written)
        minutes.append(taken)
    assert max(minutes) < 20
    # Everybody has had his turn, and again each hour and a bit.
    assert all("lastUsedAt" in each["status"] for each in shown.values())
    assert sum(minutes[65:]) > 2 * 1000


def apikey(name: str) -> Manifest:
    record: dict[str, Any] = {"id": "0" * 12, "state": "Current", "issuedAt": format_instant(START)}
    metadata = {
        "namespace": NAMESPACE,
        "name": name,
        "uid": name,
        "resourceVersion": "1",
        "creationTimestamp": format_instant(START),
    }
    return {"metadata": metadata, "status": {"keys": [record]}}


async def test_a_replaced_key_that_is_used_does_not_wait(world: World) -> None:
    """Within the hour of the last record, past every queue, and once."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    old = path_of(world, REF)
    publish(world, {REF.name: world.clock()})
    await sweep(operator)
    world.clock.step(10)
    world.edit(rotation={"trigger": "now", "gracePeriod": "3h"})
    await operator.work()
    world.clock.step(10)
    use(world, old)
    assert await sweep(operator) == [REF]
    assert "OldKeyStillUsed" in world.events()
    assert "still used at 2026-06-01T12:00:20Z" in str(world.apikey()["status"]["conditions"])
    for _ in range(5):
        world.clock.step(10)
        use(world, old)
        assert await sweep(operator) == []
    world.clock.step(4200)
    use(world, old)
    assert await sweep(operator) == [REF]
    assert world.events().count("OldKeyStillUsed") == 1


def use(world: World, path: str) -> None:
    def change(manifest: Manifest) -> None:
        manifest["spec"]["uses"][path] = format_instant(world.clock())

    world.cluster.edit(APIKEYUSAGES, GATEWAY, "verifier-0", change)


async def test_several_verifiers_are_taken_together(world: World) -> None:
    """The latest of them counts, in whatever order they come."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock() - timedelta(seconds=5)}, "a")
    publish(world, {REF.name: world.clock() - timedelta(seconds=7)}, "b")
    await sweep(operator)
    assert world.status().last_used_at == START - timedelta(seconds=5)


async def test_what_cannot_be_read_or_is_nobodys_is_passed_over(world: World) -> None:
    """Odd times, unknown ApiKeys and key ids, a clock that is ahead: no harm, and nothing kept of them for long."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: "2026-13-01T00:00:00Z", "nobody": world.clock()}, "odd")
    publish(world, {REF.name: START + timedelta(days=9)}, "ahead", renewed=9999)
    assert await sweep(operator) == [REF]
    assert world.status().last_used_at == START
    assert await sweep(operator) == []
    world.clock.step(130)
    await sweep(operator)
    assert operator.usage._news == {}


async def test_a_report_that_is_here_before_the_list_of_apikeys_is_kept(world: World) -> None:
    """As at a start."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock()})
    late = world.operator()
    late.roster.forget(REF)
    assert await sweep(late) == []
    late.roster.observe(REF, world.apikey())
    assert await sweep(late) == [REF]


@pytest.fixture
async def reported(world: World) -> tuple[World, Operator]:
    """A verifier that told of one use and then died."""
    operator = world.operator()
    await issue(world, operator, REF.name)
    publish(world, {REF.name: world.clock()})
    return world, operator


def objects(world: World) -> Iterator[str]:
    yield from (each["metadata"]["name"] for each in world.cluster.list_all(APIKEYUSAGES))


async def test_objects_of_dead_verifiers_go_once_all_is_in_status(reported: tuple[World, Operator]) -> None:
    """Not before two hours, and not before the last use has been written."""
    world, operator = reported
    world.clock.step(7199)
    await operator.usage._remove_stale(operator.api)
    assert list(objects(world)) == ["verifier-0"]
    world.clock.step(2)
    await operator.usage._remove_stale(operator.api)
    assert list(objects(world)) == ["verifier-0"]
    await sweep(operator)
    await sweep(operator)
    assert world.status().last_used_at == START
    await operator.usage._remove_stale(operator.api)
    assert list(objects(world)) == []
    operator.api.rewind()
    await operator.usage._remove_stale(operator.api)
    assert operator.api.writes == []


async def test_an_object_that_is_renewed_meanwhile_stays(reported: tuple[World, Operator]) -> None:
    """A delete is for the version that was judged; a refused one is tried again later and disturbs nothing."""
    world, operator = reported
    await sweep(operator)
    await sweep(operator)
    world.clock.step(8000)
    operator.die()  # it hears nothing more
    publish(world, {REF.name: world.clock()})
    await operator.usage._remove_stale(operator.api)
    assert list(objects(world)) == ["verifier-0"]
    operator.api.rewind()
    await operator.usage._remove_stale(operator.api)
    assert operator.api.writes == []


async def test_a_clock_that_is_ahead_does_not_keep_an_object(world: World) -> None:
    """It counts from when it was seen."""
    operator = world.operator()
    publish(world, {}, renewed=10**8)
    world.clock.step(7300)
    await operator.usage._remove_stale(operator.api)
    assert list(objects(world)) == []
