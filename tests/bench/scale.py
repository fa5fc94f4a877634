"""10,000 ApiKeys on the real API server: until they are Ready, after a restart, at rest, and when many of them end at once."""

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from keywright.domain.times import format_instant
from keywright.kube.client import ApiClient, Manifest
from keywright.kube.reflector import Reflector
from keywright.kube.resources import APIKEYS
from tests.bench import budgets
from tests.bench.bench import Bench
from tests.bench.cluster import create_all, make_namespace, operator_requests, running_operator, with_client
from tests.bench.machine import cpu_seconds, resident_mib
from tests.bench.measures import Measure, percentile
from tests.support.kube import eventually, status_of
from tests.support.processes import Process, free_address, get

__all__ = ["of_operator"]

NAMESPACES = 10
LONGEST = 1200.0  # seconds, twice what the floor allows
EVERY = 15.0  # seconds from one line of progress to the next
FAR_AHEAD = "2099-01-01T00:00:00Z"
SPREAD = 60  # seconds in which the keys of the last measure end
CONCURRENCY = 8

Facts = dict[tuple[str, str], float]


def of_operator(bench: Bench) -> Iterator[Measure]:
    """Ready, restart, rest, and the lag of 1,000 ends in a minute."""
    plane, count, ending = bench.plane(), bench.choose(10_000, 200), bench.choose(1000, 50)
    namespaces = [f"bench-scale-{number}" for number in range(NAMESPACES)]
    for namespace in namespaces:
        make_namespace(bench, namespace).close()
    names = [f"key-{number:05}" for number in range(count // NAMESPACES)]

    with running_operator(bench) as process:
        spent = cpu_seconds(process.popen.pid)
        took = with_client(plane.kubeconfig, lambda client: _issue(client, namespaces, names))
        spent = cpu_seconds(process.popen.pid) - spent
        memory = resident_mib(process.popen.pid)
    yield budgets.SCALE_RATE.measured(count / took)
    yield budgets.SCALE_SECONDS.measured(took)
    yield budgets.SCALE_CPU.measured(1000 * spent / count)
    yield budgets.SCALE_MEMORY.measured(memory)

    before, probes, begun = operator_requests(bench, writes=True), free_address(), time.monotonic()
    with running_operator(bench, "--health-listen", probes, ready=False) as process:
        ready_after = _until_quiet(process, probes, count) - begun
        yield budgets.SCALE_RESTART_WRITES.measured(operator_requests(bench, writes=True) - before)
        yield budgets.SCALE_RESTART.measured(ready_after)
        yield budgets.SCALE_RESTART_MEMORY.measured(resident_mib(process.popen.pid))
        yield from _at_rest(bench, process)
        lags = with_client(plane.kubeconfig, lambda client: _ends(client, namespaces, names, ending))
        yield budgets.SCALE_LAG.measured(percentile(lags, 99), lags)


def _at_rest(bench: Bench, process: Process) -> Iterator[Measure]:
    seconds = bench.choose(60, 10)
    writes, requests = (operator_requests(bench, writes=only) for only in (True, False))
    spent = cpu_seconds(process.popen.pid)
    time.sleep(seconds)
    yield budgets.SCALE_REST_CPU.measured(100 * (cpu_seconds(process.popen.pid) - spent) / seconds)
    yield budgets.SCALE_REST_WRITES.measured(operator_requests(bench, writes=True) - writes)
    # A watch that ends after its five minutes and begins anew is one.
    yield budgets.SCALE_REST_REQUESTS.measured(operator_requests(bench, writes=False) - requests)


def _until_quiet(process: Process, probes: str, count: int) -> float:
    """When the operator had looked at every key, by its own figures."""

    def is_quiet() -> bool:
        assert process.popen.poll() is None, process.log
        shown = dict(re.findall(r"^(keywright_operator_\w+) (\S+)$", get(probes, "/metrics")[2], re.MULTILINE))
        known, waiting = shown.get("keywright_operator_apikeys", 0), shown.get("keywright_operator_queue_depth", 1)
        return get(probes, "/readyz")[0] == 200 and float(known) >= count and float(waiting) == 0

    eventually(is_quiet, within=300, what="all keys looked at")
    return time.monotonic()


class _Seen:
    """A sink that notes when each ApiKey was first shown as the test waits for it."""

    def __init__(self, is_met: Callable[[Manifest], bool]) -> None:
        self._is_met = is_met
        self.at: Facts = {}

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        if self._is_met(manifest):
            self.at.setdefault((metadata["namespace"], metadata["name"]), time.time())

    def remove(self, uid: str) -> None:
        """Nothing is deleted here."""

    def uids(self) -> list[str]:
        return []


async def _wait_for(seen: _Seen, client: ApiClient, namespaces: list[str], wanted: int, what: str) -> None:
    """Watch until so many have been seen."""
    watches = [asyncio.create_task(Reflector(client, APIKEYS, seen, each).run()) for each in namespaces]
    begun = said_at = time.monotonic()
    try:
        while len(seen.at) < wanted:
            assert time.monotonic() - begun < LONGEST, f"only {len(seen.at)} of {wanted} {what}"
            await asyncio.sleep(0.1)
            if time.monotonic() - said_at > EVERY:
                said_at = time.monotonic()
                sys.stdout.write(f"    {len(seen.at):,} of {wanted:,} {what} after {said_at - begun:.0f} s\n")
                sys.stdout.flush()
    finally:
        for each in watches:
            each.cancel()


async def _issue(client: ApiClient, namespaces: list[str], names: list[str]) -> float:
    seen = _Seen(lambda manifest: status_of(manifest).get("Ready", "").startswith("True"))
    begun = time.time()
    creating = asyncio.create_task(_create(client, namespaces, names))
    await _wait_for(seen, client, namespaces, len(namespaces) * len(names), "are Ready")
    await creating
    return max(seen.at.values()) - begun


async def _create(client: ApiClient, namespaces: list[str], names: list[str]) -> None:
    for each in namespaces:
        await create_all(client, each, names, {"expiresAt": FAR_AHEAD})


async def _ends(client: ApiClient, namespaces: list[str], names: list[str], count: int) -> list[float]:
    """Set the ends of so many keys, spread over a minute; how late the status of each told of it."""
    chosen = [(namespace, name) for name in names for namespace in namespaces][:count]
    # Setting them takes 20 ms each on an idle machine; the first one has to lie behind that.
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=15 + count // 8)
    ends = {each: first + timedelta(seconds=number * SPREAD // count) for number, each in enumerate(chosen)}
    turns = asyncio.Semaphore(CONCURRENCY)

    async def end(namespace: str, name: str) -> None:
        async with turns:
            manifest = await client.get(APIKEYS, namespace, name)
            manifest["spec"]["expiresAt"] = format_instant(ends[namespace, name])
            await client.update(APIKEYS, namespace, name, manifest)

    await asyncio.gather(*(end(*each) for each in chosen))
    assert datetime.now(UTC) < first, "setting the ends took longer than expected"
    seen = _Seen(lambda manifest: status_of(manifest).get("Active", "").startswith("False"))
    await _wait_for(seen, client, namespaces, count, "have ended")
    lags = [seen.at[each] - ends[each].timestamp() for each in chosen]
    assert min(lags) >= 0, "a key ended before its time"
    return lags
