"""Hashes for many keys at once."""

import asyncio
import os
import threading

import pytest

from keywright.domain import hashing
from keywright.reconcile.hasher import PooledHasher
from keywright.reconcile.metrics import Metrics


async def test_every_core_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many hashes run at a time as there are cores: each waits for the others before it goes on."""
    cores = os.cpu_count() or 1
    together = threading.Barrier(cores)

    def hash_key(*arguments: object) -> str:
        together.wait(timeout=20)
        return f"{arguments[0]} is hashed"

    monkeypatch.setattr(hashing, "hash_key", hash_key)
    hasher = PooledHasher(Metrics(per_key=False))
    try:
        hashed = await asyncio.gather(*(hasher.hash(str(number), hashing.Hashing()) for number in range(cores)))
    finally:
        hasher.close()
    assert hashed == [f"{number} is hashed" for number in range(cores)]
