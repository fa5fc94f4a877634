"""The lease: one holder at a time, whatever the clocks say, and nobody writes who may have lost it."""

from datetime import UTC, datetime, timedelta

from keywright.kube.lease import DURATION, MARGIN, Lease
from keywright.kube.resources import LEASES
from tests.support.fake_api import FakeApi, FakeCluster

NAMESPACE, NAME = "keywright-system", "keywright-operator"
START = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Replica:
    """One process: its own wall clock, a monotonic clock that starts anywhere, and how often it took over."""

    def __init__(self, cluster: FakeCluster, identity: str, *, skew: float = 0, started_at: float = 0) -> None:
        self.now = started_at
        self.takeovers = 0
        self.api = FakeApi(cluster)
        self.lease = Lease(
            self.api,
            NAMESPACE,
            NAME,
            identity=identity,
            acquired=self._take_note,
            clock=lambda: START + timedelta(seconds=self.now + skew),
            monotonic=lambda: self.now,
        )

    def _take_note(self) -> None:
        self.takeovers += 1

    @property
    def leads(self) -> bool:
        return self.lease.is_held

    async def until(self, seconds: float) -> None:
        """Let this process run alone for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + await self.lease.take_turn())


async def together(seconds: float, *replicas: Replica) -> None:
    """Let processes run side by side; nobody ever sees two that lead."""
    due = dict.fromkeys(replicas, 0.0)
    now = 0.0
    while now < seconds:
        turn = min(replicas, key=due.__getitem__)
        passed = due[turn] - now
        for each in replicas:
            each.now += passed
        now = due[turn]
        assert sum(each.leads for each in replicas) <= 1
        due[turn] = now + await turn.lease.take_turn()
        assert sum(each.leads for each in replicas) <= 1


def world() -> FakeCluster:
    return FakeCluster(lambda: START)


async def test_the_first_takes_it_and_keeps_it() -> None:
    """The second stands by for as long as the first renews, and says whom it waits for."""
    cluster = world()
    a, b = Replica(cluster, "a"), Replica(cluster, "b")
    await together(60, a, b)
    assert (a.leads, b.leads) == (True, False)
    assert (a.takeovers, b.takeovers) == (1, 0)
    spec = cluster.get(LEASES, NAMESPACE, NAME)["spec"]
    assert spec["holderIdentity"] == "a"
    assert spec["leaseDurationSeconds"] == DURATION
    assert spec["leaseTransitions"] == 0
    assert spec["renewTime"].endswith("Z")
    assert len(spec["renewTime"]) == len("2026-06-01T12:00:00.000000Z")


async def test_a_dead_holder_is_replaced_within_fifteen_seconds() -> None:
    """However the clocks of the two differ: only the standby's own counts, from when it last saw a renewal."""
    for skew in (-3600.0, 0.0, 3600.0):
        cluster = world()
        a, b = Replica(cluster, "a", skew=skew), Replica(cluster, "b", started_at=1e6)
        await together(30, a, b)
        a.api.die_before(0)
        waited = 0.0
        while not b.leads:
            await b.until(0.5)
            waited += 0.5
        assert DURATION - 2.5 <= waited <= 13
        assert cluster.get(LEASES, NAMESPACE, NAME)["spec"]["leaseTransitions"] == 1


async def test_a_released_lease_is_taken_at_the_next_look() -> None:
    """A rolling update waits for nothing."""
    cluster = world()
    a, b = Replica(cluster, "a"), Replica(cluster, "b")
    await together(10, a, b)
    await a.lease.release()
    assert not a.leads
    assert "holderIdentity" not in cluster.get(LEASES, NAMESPACE, NAME)["spec"]
    await b.until(2.1)
    assert b.leads
    await a.lease.release()
    assert cluster.get(LEASES, NAMESPACE, NAME)["spec"]["holderIdentity"] == "b"


async def test_a_holder_that_cannot_renew_stops_before_others_may_begin() -> None:
    """By its own clock, without any answer; and goes on by itself when the API server is back and nobody took it."""
    a = Replica(world(), "a")
    await a.until(10)
    assert a.leads
    a.api.be_unavailable(1000)
    await a.until(DURATION - MARGIN + 0.1)
    assert [a.leads] == [False]
    a.api.heal()
    await a.until(2.1)
    assert [a.leads] == [True]
    assert a.takeovers == 2


async def test_a_paused_holder_does_not_lead_when_it_wakes_up() -> None:
    """Asked before its first turn, and after it."""
    cluster = world()
    a, b = Replica(cluster, "a"), Replica(cluster, "b")
    await together(10, a, b)
    a.now += 60
    await b.until(60)
    assert b.leads
    assert not a.leads
    await a.until(10)
    assert not a.leads
    assert a.takeovers == 1


async def test_a_renewal_whose_answer_is_lost_is_recognised() -> None:
    """The record names us, so it is renewed; it is not waited for."""
    a = Replica(world(), "a")
    await a.until(4)
    a.api.lose_answers(1)
    await a.until(6)
    assert a.leads
    assert a.takeovers == 1


async def test_two_that_find_no_lease_make_one() -> None:
    """The create of one of them conflicts."""
    cluster = world()
    a, b = Replica(cluster, "a"), Replica(cluster, "b")

    async def come_first() -> None:
        await b.lease.take_turn()

    a.api.before(1, come_first)
    await a.lease.take_turn()
    assert (a.leads, b.leads) == (False, True)


async def test_a_lease_that_somebody_deletes_is_made_again() -> None:
    """As soon as the holder notices."""
    cluster = world()
    a = Replica(cluster, "a")
    await a.until(4)
    cluster.delete(LEASES, NAMESPACE, NAME)
    await a.until(5)
    assert a.leads
    assert cluster.get(LEASES, NAMESPACE, NAME)["spec"]["holderIdentity"] == "a"


async def test_a_lease_without_a_spec_is_free() -> None:
    """Somebody made it beforehand, for the rights to name it."""
    cluster = world()
    made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
    cluster.create(LEASES, NAMESPACE, made)
    a = Replica(cluster, "a")
    assert not a.lease.is_known
    await a.lease.take_turn()
    assert a.leads
    assert a.lease.is_known


async def test_a_lease_that_somebody_made_absurd_is_taken_within_a_minute() -> None:
    """Nobody who can edit it stops the work for ever: neither by a duration of decades nor by the last transition."""
    cluster = world()
    spec = {"holderIdentity": "nobody", "leaseDurationSeconds": 2**31 - 1, "leaseTransitions": 2**31 - 1}
    cluster.create(
        LEASES,
        NAMESPACE,
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME},
            "spec": spec | {"renewTime": "9999-12-31T23:59:59.000000Z"},
        },
    )
    a = Replica(cluster, "a")
    await a.until(50)
    assert a.takeovers == 0
    await a.until(20)
    assert a.takeovers == 1
    # The API server keeps it in 32 bits.
    assert cluster.get(LEASES, NAMESPACE, NAME)["spec"]["leaseTransitions"] == 2**31 - 1
