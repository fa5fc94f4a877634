"""A verifier that is not in sync, or has heard nothing for too long, does not guess (invariant 9)."""

import asyncio
import time

from keywright.verifier.freshness import Freshness
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import Watch, serving

KEY = mint()


async def test_before_the_first_sync_everything_is_503() -> None:
    """Even an unknown or a missing key: the verifier does not know yet what it does not know."""
    async with serving() as served:
        served.watch.synced.clear()
        served.verifier.index.put(api_key(record(KEY)))
        for reply in (await served.present(KEY.text), await served.present("x"), await served.ask()):
            assert (reply.status, reply.code) == (503, "unavailable")
            assert reply.one("Retry-After") == "5"
            assert reply.one("Cache-Control") == "no-store"
        served.watch.synced.set()
        assert (await served.present(KEY.text)).status == 200


async def test_memory_serves_for_max_staleness_and_no_longer() -> None:
    """An outage of the API server is bridged, then refused, and over as soon as it is heard of again."""
    async with serving(VerifierSettings(max_staleness=2.0)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        served.watch.silent_since = time.monotonic()
        assert (await served.present(KEY.text)).status == 200
        await asyncio.sleep(2.05)
        assert (await served.present(KEY.text)).code == "unavailable"
        served.watch.silent_since = None
        assert (await served.present(KEY.text)).status == 200


async def test_every_watch_counts() -> None:
    """The least lively watch decides, and no watch at all is no picture."""
    now = 1000.0
    lively, quiet = Watch(), Watch()
    lively.silent_since, quiet.silent_since = 999.0, 800.0
    assert not Freshness([lively, quiet], 100.0, lambda: now).is_fresh()
    assert Freshness([lively, quiet], 201.0, lambda: now).is_fresh()
    assert Freshness([lively, quiet], 201.0, lambda: now).age() == 200.0
    assert not Freshness([], 100.0, lambda: now).is_fresh()
    quiet.synced.clear()
    assert not Freshness([lively, quiet], 201.0, lambda: now).is_fresh()
    quiet.silent_since = 0.0
    assert Freshness([lively, quiet], 201.0, lambda: now).age() == float("inf")


async def test_a_held_connection_is_judged_by_now() -> None:
    """What was fresh when a key went to be proven need not be when the answer is due."""
    freshness = Freshness([Watch()], 50.0)
    assert freshness.is_fresh()
    assert freshness.until > time.monotonic() + 40
