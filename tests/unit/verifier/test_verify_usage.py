"""What a verifier tells of uses: only what changed, in objects that stay small, and nothing is lost at a stop."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from keywright.domain.usage import MAX_USES
from keywright.kube.client import connect
from keywright.kube.credentials import load
from keywright.verifier.keys.records import Entry, read_api_key
from keywright.verifier.keys.rights import RightsPool
from keywright.verifier.metrics import Metrics
from keywright.verifier.usage import FORGET_AFTER, Publisher, Used, name_instance
from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.cluster import Cluster, running_cluster
from tests.unit.verifier.test_verify_process import KEY, running
from tests.unit.verifier.wire import Served, serving

NOW = 1_780_000_000.0
AT = "2026-05-28T20:26:40Z"


@dataclass
class Publishing:
    cluster: Cluster
    publisher: Publisher
    used: Used
    metrics: Metrics
    now: float = NOW

    @property
    def published(self) -> dict[str, str]:
        """All that the cluster was told, over all objects."""
        return {key: at for each in self.cluster.usages.values() for key, at in each["uses"].items()}


@pytest.fixture
async def publishing(tmp_path: Path) -> AsyncIterator[Publishing]:
    used: Used = {}
    metrics = Metrics()
    async with running_cluster(tmp_path) as (cluster, kubeconfig):
        credentials = load({"KUBECONFIG": str(kubeconfig)})
        async with connect(credentials) as client:
            publisher = Publisher(
                client,
                credentials.namespace,
                instance="v",
                used=used,
                interval=0.02,
                metrics=metrics,
                rng=Random(1),
                wall_clock=lambda: made.now,
            )
            made = Publishing(cluster, publisher, used, metrics)
            yield made


def entry(number: int = 1) -> Entry:
    (read,) = read_api_key(api_key(record(mint(number)), name=f"key-{number}", uid=f"uid-{number}"), RightsPool())
    return read


def path(each: Entry) -> str:
    return f"{each.path.decode()}/{each.key_id.decode()}"


async def test_only_what_changed_is_written(publishing: Publishing) -> None:
    """A first use creates the object, later ones patch it with no more than themselves, and silence costs nothing."""
    one, other = entry(1), entry(2)
    publishing.used.update({one: NOW, other: NOW})
    await publishing.publisher.flush(5)
    assert publishing.published == {path(one): AT, path(other): AT}
    publishing.used[one] = NOW + 60.9
    await publishing.publisher.flush(5)
    assert publishing.published == {path(one): "2026-05-28T20:27:40Z", path(other): AT}
    await publishing.publisher.flush(5)
    assert [(verb, len(body["spec"]["uses"])) for verb, body in publishing.cluster.writes] == [
        ("POST", 2),
        ("PATCH", 1),
    ]
    assert publishing.metrics.usage_writes == 2


async def test_an_object_holds_a_thousand_keys(publishing: Publishing) -> None:
    """And the next thousand are in the next one."""
    publishing.used.update({entry(number): NOW for number in range(2 * MAX_USES + 1)})
    await publishing.publisher.flush(10)
    assert [len(each["uses"]) for each in publishing.cluster.usages.values()] == [MAX_USES, MAX_USES, 1]


async def test_an_object_is_written_once_an_interval_and_not_with_the_others(publishing: Publishing) -> None:
    """The task goes round: each object has its turn, whatever is used meanwhile."""
    entries = [entry(number) for number in range(2 * MAX_USES)]
    running = asyncio.get_running_loop().create_task(publishing.publisher.run())
    try:
        async with asyncio.timeout(20):
            while len(publishing.cluster.writes) < 12:
                publishing.now += 1
                publishing.used.update(dict.fromkeys(entries, publishing.now))
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
    names = [body["metadata"]["name"] for verb, body in publishing.cluster.writes if verb == "POST"]
    assert sorted(names) == ["v-0", "v-1"]
    written = [body.get("metadata", {}).get("name", "patched") for _, body in publishing.cluster.writes]
    assert written.count("patched") == len(written) - 2
    assert [verb for verb, _ in publishing.cluster.writes].count("POST") == 2


async def test_a_record_that_the_watch_brought_anew_is_one_key(publishing: Publishing) -> None:
    """The later use counts, in whatever order they are collected."""
    publishing.used.update({entry(): NOW, entry(): NOW - 30})
    await publishing.publisher.flush(5)
    publishing.used.update({entry(): NOW - 10})
    await publishing.publisher.flush(5)
    assert list(publishing.published.values()) == [AT]


async def test_a_key_that_rests_makes_room(publishing: Publishing) -> None:
    """After a day its use is in status; the object that is written takes it out, and the next key in."""
    publishing.used.update({entry(number): NOW for number in range(MAX_USES)})
    await publishing.publisher.flush(5)
    publishing.now += FORGET_AFTER + 1
    publishing.used[entry(0)] = publishing.now
    await publishing.publisher.flush(5)
    assert publishing.published == {path(entry(0)): "2026-05-29T20:26:41Z"}
    publishing.used[entry(5000)] = publishing.now
    publishing.used[entry(1)] = publishing.now
    await publishing.publisher.flush(5)
    assert list(publishing.cluster.usages) == ["v-0"]
    assert publishing.published.keys() == {path(entry(0)), path(entry(1)), path(entry(5000))}


async def test_an_object_that_the_operator_removed_is_made_anew_whole(publishing: Publishing) -> None:
    """Its verifier only rested."""
    publishing.used.update({entry(1): NOW, entry(2): NOW})
    await publishing.publisher.flush(5)
    publishing.cluster.usages.clear()
    publishing.used[entry(1)] = NOW + 1
    await publishing.publisher.flush(5)
    assert publishing.published == {path(entry(1)): "2026-05-28T20:26:41Z", path(entry(2)): AT}
    assert publishing.metrics.usage_failures == 0


@pytest.mark.parametrize("status", [500, 503, 429, 409])
async def test_what_was_not_written_is_written_the_next_time(
    publishing: Publishing, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when it arrived and only the answer was lost; told once, and once more when it is over."""
    caplog.set_level(logging.INFO, "keywright")
    publishing.cluster.refusals += [status, status]
    publishing.used[entry()] = NOW
    await publishing.publisher.flush(5)
    assert publishing.published == {path(entry()): AT}
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "it is tried again" in warnings[0].getMessage() or status == 409
    assert "usage is published again" in caplog.text


async def test_without_the_right_it_says_so_once_and_goes_on(
    publishing: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    """Which role, where, and how to do without; it starts by itself once the role is bound."""
    publishing.cluster.refusals += [403] * 3
    publishing.used[entry()] = NOW
    running = asyncio.get_running_loop().create_task(publishing.publisher.run())
    try:
        async with asyncio.timeout(5):
            while not publishing.cluster.usages:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
    (warning,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    for part in ("namespace payments", "keywright-usage-publisher", "--usage off", "requests are judged as before"):
        assert part in warning
    assert publishing.metrics.usage_failures == 3


async def test_a_stop_does_not_wait_for_ever(publishing: Publishing, caplog: pytest.LogCaptureFixture) -> None:
    """What could not be published by then is told."""
    publishing.cluster.refusals += [403] * 100
    publishing.used[entry()] = NOW
    await publishing.publisher.flush(0.7)
    assert "the last use of 1 keys was not published" in caplog.text


def test_each_process_has_a_name_of_its_own() -> None:
    """Fit for an object's name."""
    one, other = name_instance(), name_instance()
    assert one != other
    assert one.replace("-", "").isalnum()
    assert one == one.lower()


async def test_an_allowed_request_is_a_use_and_a_refused_one_is_none() -> None:
    """By key, with the time of the verdict."""
    async with serving() as served:
        assert await uses_after(served) == [KEY.key_id]


async def test_switched_off_nothing_is_kept() -> None:
    """Or memory would fill with what nobody collects."""
    from keywright.verifier.settings import VerifierSettings

    async with serving(VerifierSettings(argon2_workers=2, usage=False)) as served:
        assert await uses_after(served) == []
        assert served.verifier.used is None


async def uses_after(served: Served) -> list[str]:
    served.verifier.index.put(api_key(record(KEY)))
    served.verifier.index.put(api_key(record(mint(2)), uid="uid-2", spec={"suspended": True}))
    assert (await served.present(KEY.text)).status == 200
    assert (await served.present(KEY.text)).status == 200
    assert (await served.present(mint(2).text)).status == 401
    return [each.key_id.decode() for each in served.verifier.used or ()]


async def test_a_graceful_stop_loses_nothing(tmp_path: Path) -> None:
    """A use a moment before SIGTERM is published, long before its interval."""
    async with running(tmp_path, "--usage-interval", "1h") as verifier:
        await verifier.until_logged("in sync")
        await verifier.until(KEY.text, 200)
        assert verifier.cluster.usages == {}
        assert await verifier.stop() == 0
        (published,) = verifier.cluster.usages.values()
        assert list(published["uses"]) == [f"payments/ci-deploy/{KEY.key_id}"]


async def test_a_verifier_that_may_not_publish_judges_all_the_same(tmp_path: Path) -> None:
    """One line in the log."""
    async with running(tmp_path, "--usage-interval", "1s") as verifier:
        verifier.cluster.refusals += [403] * 1000
        await verifier.until_logged("in sync")
        await verifier.until(KEY.text, 200)
        await verifier.until_logged("may not write apikeyusages in namespace payments")
        assert (await verifier.present(KEY.text)).status == 200
        verifier.cluster.refusals.clear()
        assert await verifier.stop() == 0
        assert verifier.log.count("may not write apikeyusages") == 1


async def test_switched_off_nothing_is_written(tmp_path: Path) -> None:
    """Not even at the stop."""
    async with running(tmp_path, "--usage", "off", "--usage-interval", "1s") as verifier:
        await verifier.until_logged("in sync")
        await verifier.until(KEY.text, 200)
        assert await verifier.stop() == 0
        assert verifier.cluster.writes == []
