"""A key is proven once and remembered for exactly as long as its uid, id and hash stay (invariant 12)."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from keywright.domain import hashing
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import CHEAP, SHA256, api_key, at, mint, record, with_other_secret
from tests.unit.verifier.wire import Served, serving

KEY = mint()


def argon2(**overrides: Any) -> dict[str, Any]:
    return record(KEY, hashed=CHEAP, **overrides)


def runs(served: Served) -> int:
    return served.verifier.metrics.argon2_runs


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Argon2 runs wait until the gate is opened."""
    opened = threading.Event()
    verify: Callable[[str, str], bool] = hashing.verify

    def held(stored: str, plain: str) -> bool:
        assert opened.wait(5)
        return verify(stored, plain)

    monkeypatch.setattr(hashing, "verify", held)
    return opened


async def test_first_uses_share_one_run(served: Served) -> None:
    """200 concurrent first uses of one key cost one argon2 run; later ones none, and all are counted as hits."""
    served.verifier.index.put(api_key(argon2()))
    replies = await asyncio.gather(*(served.present(KEY.text) for _ in range(200)))
    assert {each.status for each in replies} == {200}
    assert runs(served) == 1
    for _ in range(50):
        assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 1
    assert served.verifier.metrics.proof_hits == 250


async def test_writes_that_leave_the_key_alone_cost_nothing(served: Served) -> None:
    """Labels, last use, suspension, a new end, another record: the proof stays."""
    put = served.verifier.index.put
    put(api_key(argon2()))
    assert (await served.present(KEY.text)).status == 200
    put(api_key(argon2(lastUsedAt=at(0)), metadata={"labels": {"a": "b"}}))
    put(api_key(argon2(), spec={"suspended": True}))
    assert (await served.present(KEY.text)).code == "suspended_key"
    put(api_key(record(mint(2)), argon2(expiresAt=at(3600)), spec={"ttl": "90d"}))
    assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 1


@pytest.mark.parametrize("change", ["hash", "uid", "record"])
async def test_any_change_of_the_key_drops_the_proof(served: Served, change: str) -> None:
    """Another hash, another object or a record that was away: what was proven before says nothing."""
    index = served.verifier.index
    index.put(api_key(argon2()))
    assert (await served.present(KEY.text)).status == 200
    match change:
        case "hash":
            other = hashing.hash_key(mint(2).text, CHEAP, b"another salt 123")
            index.put(api_key(argon2(hash=other, fingerprint=None)))
            assert (await served.present(KEY.text)).code == "invalid_key"
        case "uid":
            index.remove("uid-1")
            index.put(api_key(argon2(), uid="uid-2"))
            assert (await served.present(KEY.text)).status == 200
        case "record":
            index.put(api_key())
            index.put(api_key(argon2()))
            assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 2


@pytest.mark.parametrize(("spec", "code"), [({"revoked": True}, "revoked_key"), ({"suspended": True}, "suspended_key")])
async def test_a_key_that_is_barred_while_it_is_proven_stays_barred(
    served: Served, gate: threading.Event, spec: dict[str, Any], code: str
) -> None:
    """An argon2 run under way cannot bring back what the watch has taken away meanwhile."""
    served.verifier.index.put(api_key(argon2()))
    asking = asyncio.create_task(served.present(KEY.text))
    await until(lambda: runs(served) == 1)
    served.verifier.index.put(api_key(argon2(), spec=spec))
    gate.set()
    assert (await asking).code == code
    assert (await served.present(KEY.text)).code == code
    assert runs(served) == 1


async def test_a_key_that_is_deleted_while_it_is_proven_is_gone(served: Served, gate: threading.Event) -> None:
    """Neither the waiting request nor a new object of the same id profits from the run."""
    index = served.verifier.index
    index.put(api_key(argon2()))
    asking = asyncio.create_task(served.present(KEY.text))
    await until(lambda: runs(served) == 1)
    index.remove("uid-1")
    gate.set()
    assert (await asking).code == "invalid_key"
    index.put(api_key(argon2(), uid="uid-2"))
    assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 2


async def test_unknown_ids_and_wrong_secrets_cost_no_argon2(served: Served) -> None:
    """Neither guessing ids nor guessing secrets makes the verifier work."""
    served.verifier.index.put(api_key(argon2()))
    for text in (mint(2).text, with_other_secret(KEY), KEY.text[:-1], mint(1, "other").text):
        assert (await served.present(text)).status == 401
    assert runs(served) == 0
    assert served.verifier.metrics.fingerprint_refusals == 1


async def test_without_a_fingerprint_a_wrong_secret_costs_one_run_and_is_not_remembered(served: Served) -> None:
    """Right and wrong are told apart by the hash alone."""
    served.verifier.index.put(api_key(argon2(fingerprint=None)))
    assert (await served.present(with_other_secret(KEY))).code == "invalid_key"
    assert (await served.present(KEY.text)).status == 200
    assert (await served.present(with_other_secret(KEY))).code == "invalid_key"
    assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 3


async def test_sha256_is_checked_on_the_spot(served: Served) -> None:
    """A cheap hash needs no pool; right and wrong are told apart, also without a fingerprint."""
    served.verifier.index.put(api_key(record(KEY, hashed=SHA256, fingerprint=None)))
    assert (await served.present(with_other_secret(KEY))).code == "invalid_key"
    assert (await served.present(KEY.text)).status == 200
    assert (await served.present(with_other_secret(KEY))).code == "invalid_key"
    assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 0
    assert served.verifier.metrics.proof_hits == 1


async def test_a_full_queue_is_told(gate: threading.Event) -> None:
    """One runs, one waits, the third is told to come back; nobody is refused who can be served."""
    keys = [mint(seed) for seed in (1, 2, 3)]
    settings = VerifierSettings(argon2_workers=1, argon2_queue=1)
    async with serving(settings) as served:
        served.verifier.index.put(api_key(*(record(each, hashed=CHEAP) for each in keys)))
        asking = []
        for count, key in enumerate(keys[:2]):
            asking.append(asyncio.create_task(served.present(key.text)))
            await until(lambda count=count: served.verifier.prover.waiting == count and runs(served) == 1)  # type: ignore[misc]
        refused = await served.present(keys[2].text)
        assert (refused.status, refused.code, refused.one("Retry-After")) == (503, "unavailable", "1")
        gate.set()
        assert [(await each).status for each in asking] == [200, 200]
        assert (await served.present(keys[2].text)).status == 200
        assert served.verifier.metrics.argon2_refused == 1


async def test_a_run_whose_client_went_away_still_counts(served: Served, gate: threading.Event) -> None:
    """A proxy that timed out comes back, and finds its key proven."""
    served.verifier.index.put(api_key(argon2()))
    _, writer = await served.connect()
    writer.write(b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode())
    await until(lambda: runs(served) == 1)
    writer.transport.abort()
    gate.set()
    await until(lambda: served.verifier.index.entries[KEY.key_id.encode()].proof is not None)
    assert (await served.present(KEY.text)).status == 200
    assert runs(served) == 1


async def test_memory_holds_no_presented_key(served: Served) -> None:
    """What is remembered of a proven key is a digest under a key of this process, also while its client stays."""
    served.verifier.index.put(api_key(argon2()))
    for _ in range(2):
        await served.present(KEY.text)
    for connection in served.hub.connections:
        assert connection._request.credentials == []
        assert connection._rest == b""
    assert len(served.hub.connections) == 2
    proof = served.verifier.index.entries[KEY.key_id.encode()].proof
    assert proof is not None
    assert len(proof) == 16
    async with serving() as other:
        assert other.verifier.prover.digest(KEY.text.encode()) != proof


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)
