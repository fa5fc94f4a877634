"""Proves presented keys against stored hashes, at most once per key and process.

A proven key is remembered as a keyed digest on its entry: BLAKE2b under a random key of this process, so that
memory holds nothing a thief could search, and a look-up costs under a microsecond. The argon2 run before that
is shared by everybody who presents the same key meanwhile (single flight), and runs in a small pool behind a
bounded, fair queue.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from keywright.domain import hashing
from keywright.verifier.keys.fair_queue import FairQueue
from keywright.verifier.keys.records import Entry
from keywright.verifier.metrics import Metrics

__all__ = ["Prover"]

DIGEST_BYTES = 16

_FlightId = tuple[str, bytes, str, bytes]


@dataclass(slots=True, eq=False)
class _Flight:
    """One argon2 run, waiting or under way. ``outcome`` is ``None`` when it was displaced from the queue."""

    id: _FlightId
    entry: Entry
    text: str
    digest: bytes
    outcome: asyncio.Future[bool | None]

    def __repr__(self) -> str:
        return "_Flight(…)"


class Prover:
    """``workers`` argon2 runs at a time, ``capacity`` more may wait. ``entries`` are those that stand now."""

    def __init__(self, entries: Mapping[bytes, Entry], *, workers: int, capacity: int, metrics: Metrics) -> None:
        self._entries = entries
        self._keyed = hashlib.blake2b(key=os.urandom(32), digest_size=DIGEST_BYTES)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._free = workers
        self._queue: FairQueue[_Flight] = FairQueue(capacity)
        self._flights: dict[_FlightId, _Flight] = {}
        self._metrics = metrics

    @property
    def waiting(self) -> int:
        """How many argon2 runs wait for their turn."""
        return len(self._queue)

    def digest(self, text: bytes) -> bytes:
        """What a proven key is remembered by. Compared with ``==``: without the process's key nobody can
        choose a digest, so the time of the comparison tells nothing.
        """
        keyed = self._keyed.copy()
        keyed.update(text)
        return keyed.digest()

    def prove_now(self, entry: Entry, text: str) -> bool:
        """Check against a hash that costs nothing (sha256)."""
        is_right = hashing.verify(entry.hash, text)
        if is_right:
            entry.proof = self.digest(text.encode())
        return is_right

    async def prove(self, entry: Entry, text: str) -> bool | None:
        """Whether ``text`` is the key behind ``entry.hash``; ``None`` when there was no room to find out.

        Says nothing about the entry that stands by then: it is the caller who has to look again.
        """
        digest = self.digest(text.encode())
        # Somebody else's run may have ended between the verdict that asked for this one and now.
        standing = self._standing(entry)
        if standing is not None and standing.proof == digest:
            return True
        flight_id = (entry.uid, entry.key_id, entry.hash, digest)
        flight = self._flights.get(flight_id)
        if flight is None:
            outcome: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
            flight = _Flight(flight_id, entry, text, digest, outcome)
            self._flights[flight_id] = flight
            displaced = self._queue.push(entry.namespace, entry.key_id, flight) if self._free == 0 else None
            if displaced is not None:
                self._metrics.argon2_refused += 1
                self._land(displaced, None)
            elif self._free:
                self._start(flight)
        # Shielded, because a client that goes away must not take the others' outcome with it.
        return await asyncio.shield(flight.outcome)

    def close(self) -> None:
        """Let go of the threads; runs under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, flight: _Flight) -> None:
        self._free -= 1
        self._metrics.argon2_runs += 1
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(self._pool, hashing.verify, flight.entry.hash, flight.text)
        run.add_done_callback(lambda done: self._finish(flight, done))

    def _finish(self, flight: _Flight, done: asyncio.Future[bool]) -> None:
        self._free += 1
        # A run that broke off (out of memory, shutting down) found out nothing about the key.
        is_known = not done.cancelled() and done.exception() is None
        outcome = done.result() if is_known else None
        if outcome:
            self._remember(flight)
        self._land(flight, outcome)
        following = self._queue.pop()
        if following is not None:
            self._start(following)

    def _remember(self, flight: _Flight) -> None:
        """Keep the proof in the same breath as the flight ends: whoever asks next finds one or the other."""
        standing = self._standing(flight.entry)
        if standing is not None:
            standing.proof = flight.digest

    def _standing(self, entry: Entry) -> Entry | None:
        """The entry that stands now for the key of ``entry``; the watch may have replaced it, or taken it."""
        standing = self._entries.get(entry.key_id)
        return standing if standing is not None and standing.is_same_key_as(entry) else None

    def _land(self, flight: _Flight, outcome: bool | None) -> None:  # noqa: FBT001 - it is the value itself
        del self._flights[flight.id]
        flight.outcome.set_result(outcome)
