"""Argon2 off the event loop: one thread a core, because argon2 holds a core and releases the interpreter lock."""

import asyncio
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from keywright.domain import hashing
from keywright.domain.hashing import Hashing
from keywright.reconcile.metrics import Metrics

__all__ = ["PooledHasher"]


class PooledHasher:
    """Hashes in a bounded pool. Waiting work queues up in order."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="argon2")

    async def hash(self, plain: str, parameters: Hashing) -> str:
        salt = secrets.token_bytes(hashing.SALT_BYTES)
        loop = asyncio.get_running_loop()
        with self._metrics.argon2():
            return await loop.run_in_executor(self._pool, hashing.hash_key, plain, parameters, salt)

    async def verify(self, stored: str, plain: str) -> bool:
        with self._metrics.argon2():
            return await asyncio.get_running_loop().run_in_executor(self._pool, hashing.verify, stored, plain)

    def close(self) -> None:
        """Let running hashes end and drop the waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)
