"""The admin listener tells whether the verifier is alive and ready and what it has done, and no more."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keywright.addresses import Tcp
from keywright.verifier.http.listener import listen
from tests.unit.verifier.builders import CHEAP, api_key, at, mint, record, with_other_secret
from tests.unit.verifier.wire import Reply, Served, read_reply

KEY = mint()


@pytest.fixture
async def admin(served: Served) -> AsyncIterator[Served]:
    """The admin listener of the verifier that ``served`` serves."""
    hub = served.verifier.admin_hub
    listener = await listen(Tcp("127.0.0.1", 0), hub.open)
    assert isinstance(listener.address, Tcp)
    running = Served(served.verifier, served.watch, listener.address.port, hub)
    yield running
    listener.close()
    await running.close()
    await hub.stop(0)


async def test_alive_and_ready(admin: Served) -> None:
    """Alive as soon as it answers; ready when in sync, with a word why not."""
    assert (await admin.ask(target="/healthz")).body == b"ok\n"
    assert (await admin.ask(target="/readyz")).body == b"ok\n"
    admin.watch.synced.clear()
    unready = await admin.ask(target="/readyz")
    assert (unready.status, unready.body) == (503, b"not yet in sync with the API server\n")
    assert (await admin.ask(target="/healthz")).status == 200


async def test_unready_when_stale_or_stopping(admin: Served, served: Served) -> None:
    """A rolling update needs to see that no more requests are wanted."""
    admin.watch.silent_since = time.monotonic() - 301
    assert (await admin.ask(target="/readyz")).body == b"nothing heard from the API server for too long\n"
    admin.watch.silent_since = None
    served.hub.is_stopping = True
    assert (await admin.ask(target="/readyz")).body == b"stopping\n"


async def test_metrics_count_what_happened(admin: Served, served: Served) -> None:
    """Decisions by verdict and reason, proofs, argon2 runs, keys, connections and the age of the watch."""
    served.verifier.index.put(api_key(record(KEY, hashed=CHEAP)))
    for text in (KEY.text, KEY.text, with_other_secret(KEY), "x", mint(2, "other").text, "x"):
        await served.present(text)
    await served.send(b"NONSENSE\r\n\r\n")
    values = samples(await admin.ask(target="/metrics"))
    expected = {
        'decisions_total{code="allowed"}': 2,
        'decisions_total{code="invalid_key",reason="invalid"}': 1,
        'decisions_total{code="malformed_key",reason="malformed_mistyped"}': 2,
        'decisions_total{code="malformed_key",reason="malformed_prefix"}': 1,
        'decisions_total{code="revoked_key",reason="revoked"}': 0,
        "argon2_runs_total": 1,
        "argon2_refused_total": 0,
        "argon2_waiting": 0,
        "fingerprint_refusals_total": 1,
        "proof_hits_total": 2,
        "http_errors_total": 1,
        "connections_total": 7,
        "keys": 1,
        "ready": 1,
    }
    assert {name: values[f"keywright_verifier_{name}"] for name in expected} == expected
    assert values["keywright_verifier_watch_age_seconds"] < 5


async def test_keys_are_counted_by_what_became_of_them(admin: Served, served: Served) -> None:
    """At the moment of the question, in the order in which a verdict looks: revoked, past its end, suspended."""
    states: dict[str, dict[str, Any]] = {
        "live": {},
        "retiring": {"record": {"state": "Retiring", "expiresAt": at(86400)}},
        "suspended": {"spec": {"suspended": True}},
        "expired": {"spec": {"suspended": True}, "record": {"expiresAt": at(-1)}},
        "revoked": {"spec": {"revoked": True}, "record": {"expiresAt": at(-1)}},
    }
    for number, (state, how) in enumerate(states.items()):
        manifest = api_key(record(mint(number), **how.get("record", {})), uid=state, spec=how.get("spec"))
        served.verifier.index.put(manifest)
    values = samples(await admin.ask(target="/metrics"))
    assert {state: values[f'keywright_verifier_keys_by_state{{state="{state}"}}'] for state in states} == dict.fromkeys(
        states, 1
    )


async def test_keys_that_come_while_they_are_counted_do_no_harm(admin: Served, served: Served) -> None:
    """Several turns of the loop are taken for a scrape, and the watch goes on meanwhile."""
    index, coming = served.verifier.index, api_key(record(mint(5000)), uid="comes")
    for number in range(1200):
        index.put(api_key(record(mint(number)), uid=f"uid-{number}", name=f"key-{number}"))
    reader, writer = await admin.connect()
    for _ in range(20):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: v\r\n\r\n")
        reply = asyncio.create_task(read_reply(reader))
        while not reply.done():
            await asyncio.sleep(0)
            index.remove("comes") if "comes" in index.uids() else index.put(coming)
        assert samples(reply.result())['keywright_verifier_keys_by_state{state="live"}'] in (1200, 1201)


async def test_answers_are_timed(admin: Served, served: Served) -> None:
    """One in 16 of those given at once stands for the others, and each of those that had to be waited for is there."""
    served.verifier.index.put(api_key(record(KEY, hashed=CHEAP)))
    await served.present(KEY.text)
    assert samples(await admin.ask(target="/metrics"))["keywright_verifier_answer_duration_seconds_count"] == 1
    for _ in range(31):
        await served.present(KEY.text)
    values = samples(await admin.ask(target="/metrics"))
    assert values["keywright_verifier_answer_duration_seconds_count"] == 1 + 16
    assert 0 < values["keywright_verifier_answer_duration_seconds_sum"] < 5
    assert values['keywright_verifier_answer_duration_seconds_bucket{le="+Inf"}'] == 1 + 16


async def test_metrics_hold_nothing_of_requests(admin: Served, served: Served) -> None:
    """Neither a key nor a header nor a path becomes a label."""
    served.verifier.index.put(api_key(record(KEY)))
    await served.present(KEY.text, target="/verify/canary", method="CANARY")
    before = set(samples(await admin.ask(target="/metrics")))
    for number in range(20):
        await served.present(mint(number).text, target=f"/verify/{number}")
    body = (await admin.ask(target="/metrics")).body.decode()
    assert KEY.key_id not in body
    assert "canary" not in body.lower()
    assert set(samples(await admin.ask(target="/metrics"))) == before


async def test_watch_age_is_absent_before_the_first_word(admin: Served) -> None:
    """An age that does not exist is not a number."""
    admin.watch.silent_since = 0.0
    assert "watch_age" not in (await admin.ask(target="/metrics")).body.decode()


@pytest.mark.parametrize("target", ["/verify", "/", "/healthz/", "/debug", "/metrics/../verify"])
async def test_nothing_else(admin: Served, target: str) -> None:
    """No verdict is given here, and nothing else is served."""
    assert (await admin.present(KEY.text, target=target)).status == 404


async def test_only_reading(admin: Served) -> None:
    """GET and HEAD; a query does not matter."""
    refused = await admin.ask(target="/metrics", method="POST")
    assert (refused.status, refused.one("Allow")) == (405, "GET, HEAD")
    assert (await admin.ask(target="/readyz?verbose", method="HEAD")).status == 200


def samples(reply: Reply) -> dict[str, float]:
    """Read the exposition format strictly: HELP and TYPE before each family, one value a line."""
    assert reply.one("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    values: dict[str, float] = {}
    family = ""
    for line in reply.body.decode("ascii").splitlines():
        if line.startswith("# "):
            family = line.split(" ")[2]
            continue
        match = re.fullmatch(
            r'([a-z_]+[a-z0-9_]*)(\{(?:code|by|outcome|state|le)="[A-Za-z0-9_.+-]+"(?:,reason="[a-z_]+")?\})? ([0-9.e+-]+)',
            line,
        )
        assert match is not None, line
        assert match[1] in (family, f"{family}_bucket", f"{family}_sum", f"{family}_count")
        values[match[1] + (match[2] or "")] = float(match[3])
    return values
