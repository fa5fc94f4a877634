"""1,000 ApiKeys of the default class at once, then an operator that starts again and has nothing to do."""

import asyncio
import time
from collections.abc import Iterator

from keywright.kube.client import ApiClient
from tests.bench import budgets
from tests.bench.bench import Bench
from tests.bench.cluster import create_all, make_namespace, operator_requests, ready, running_operator, with_client
from tests.bench.machine import resident_mib
from tests.bench.measures import Measure

__all__ = ["to_ready"]

NAMESPACE = "bench-onboarding"
LONGEST = 120.0  # seconds, twice what the floor allows
SHORTEST_POLL, LONGEST_POLL = 0.1, 2.0
# After /readyz the framework still has to bring every object once; then silence has to last.
QUIET = 4.0


def to_ready(bench: Bench) -> Iterator[Measure]:
    """From the first create to the last Ready; then writes, time and memory of a restart."""
    plane, count = bench.plane(), bench.choose(1000, 100)
    kube = make_namespace(bench, NAMESPACE)
    with running_operator(bench):
        done, seconds = with_client(plane.kubeconfig, lambda client: _issue(client, count))
    yield budgets.READY_RATE.measured(done / seconds)
    yield budgets.READY_SECONDS.measured(seconds)
    assert done == count, f"only {done} of {count} were Ready after {seconds:.0f} s"

    before = operator_requests(bench, writes=True)
    begun = time.monotonic()
    with running_operator(bench) as process:
        ready_after = time.monotonic() - begun
        time.sleep(QUIET)
        memory = resident_mib(process.popen.pid)
        yield budgets.RESTART_WRITES.measured(operator_requests(bench, writes=True) - before)
    yield budgets.RESTART_READY.measured(ready_after)
    yield budgets.OPERATOR_MEMORY.measured(memory)

    # Its name makes it the last of the list, so everybody else has been looked at when it is Ready.
    kube.apikey(NAMESPACE, "zzz-made-meanwhile")
    begun = time.monotonic()
    with running_operator(bench):
        kube.wait(NAMESPACE, "zzz-made-meanwhile", within=60, Ready="True")
        yield budgets.RESTART_NEW_KEY.measured(time.monotonic() - begun)
    kube.close()


async def _issue(client: ApiClient, count: int) -> tuple[int, float]:
    begun = time.monotonic()
    names = [f"key-{number:04}" for number in range(count)]
    creating = asyncio.create_task(create_all(client, NAMESPACE, names, {"ttl": "90d"}))
    done = 0
    while done < count and time.monotonic() - begun < LONGEST:
        # A list of 1,000 costs the API server what an issue does, so they are rare until the end is near.
        await asyncio.sleep(min(LONGEST_POLL, max(SHORTEST_POLL, (count - done) / 100)))
        done = await ready(client, NAMESPACE)
        if creating.done():
            # A create that was refused is the end of it.
            await creating
    seconds = time.monotonic() - begun
    await creating
    return done, seconds
