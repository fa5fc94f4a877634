"""200 clients present the same key for the first time at once: how often is it hashed?"""

import asyncio
from collections.abc import Iterator

from tests.bench import budgets, objects
from tests.bench.bench import Bench
from tests.bench.measures import Measure
from tests.bench.open_loop import get_verify
from tests.bench.verifiers import verifier_with

__all__ = ["at_once"]

CLIENTS = 200
SECONDS = 20.0


def at_once(bench: Bench) -> Iterator[Measure]:
    """Argon2 runs by the verifier's own count, with a key stored at the OWASP minimum."""
    with verifier_with(bench, 100) as ours:
        answers = asyncio.run(_present(ours.address, get_verify(objects.plain_key(objects.ARGON2_KEY).text)))
        runs = ours.count("argon2_runs_total")
    allowed = sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert allowed == CLIENTS, f"{allowed} of {CLIENTS} were let in"
    yield budgets.FIRST_USE.measured(runs)


async def _present(address: str, request: bytes) -> list[bytes]:
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(SECONDS):
        opened = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(CLIENTS)))
        # All connections stand before the first request goes out.
        for _, writer in opened:
            writer.write(request)
        answers = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in opened))
        for _, writer in opened:
            writer.close()
    return answers
