"""How late does the status say that a key has ended? The verifier needs no status for that; people do."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from keywright.domain.times import format_instant
from keywright.kube.client import ApiClient
from keywright.kube.resources import APIKEYS
from tests.bench import budgets
from tests.bench.bench import Bench
from tests.bench.cluster import CHEAP_CLASS, create_all, make_namespace, ready, running_operator, with_client
from tests.bench.measures import Measure, percentile
from tests.support.kube import status_of

__all__ = ["lag"]

NAMESPACE = "bench-expiry"
LONGEST = 30.0  # seconds of waiting after the end


def lag(bench: Bench) -> Iterator[Measure]:
    """Keys that all end in the same second: from then until a watch shows ``Active=False``, for each."""
    plane, count = bench.plane(), bench.choose(200, 40)
    make_namespace(bench, NAMESPACE).close()
    ends_at = (datetime.now(UTC) + timedelta(seconds=bench.choose(20, 8))).replace(microsecond=0)
    with running_operator(bench):
        lags = with_client(plane.kubeconfig, lambda client: _watch_the_end(client, count, ends_at))
    yield budgets.EXPIRY_LAG.measured(percentile(lags, 99), lags)


async def _watch_the_end(client: ApiClient, count: int, ends_at: datetime) -> list[float]:
    names = [f"key-{number:03}" for number in range(count)]
    spec = {"className": CHEAP_CLASS, "expiresAt": format_instant(ends_at)}
    await create_all(client, NAMESPACE, names, spec)
    while (done := await ready(client, NAMESPACE)) < count:
        assert datetime.now(UTC) < ends_at, f"only {done} of {count} were issued before their end"
        await asyncio.sleep(0.2)
    version = ""
    async for page in client.list_pages(APIKEYS, NAMESPACE):
        version = page["metadata"]["resourceVersion"]
    ended: dict[str, float] = {}
    async with asyncio.timeout((ends_at - datetime.now(UTC)).total_seconds() + LONGEST):
        async for event in client.watch(APIKEYS, NAMESPACE, resource_version=version):
            if event.get("type") != "MODIFIED":
                continue
            found = event["object"]
            if status_of(found).get("Active", "").startswith("False"):
                ended.setdefault(found["metadata"]["name"], time.time() - ends_at.timestamp())
            if len(ended) == count:
                break
    assert min(ended.values()) >= 0, "a key ended before its time"
    return list(ended.values())
