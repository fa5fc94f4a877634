"""Telling the cluster when keys were last used: ApiKeyUsage objects of this process, one for each thousand keys.

On the way of a request there is one store into a dict. Everything else happens in a task of its own, which writes each
object once an interval, only what changed in it, and one object at a time spread over the interval. Trouble is told
once and never reaches a request: what could not be written is written the next time.
"""

import asyncio
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

from keywright.domain.times import format_instant
from keywright.domain.usage import MAX_USES
from keywright.kube.client import ApiClient
from keywright.kube.errors import ApiError, ConflictError, ForbiddenError, NotFoundError
from keywright.kube.resources import APIKEYUSAGES
from keywright.verifier.keys.records import Entry
from keywright.verifier.metrics import Metrics

__all__ = ["Publisher", "Used", "name_instance"]

Used = dict[Entry, float]
"""Keys allowed since they were last collected, with the time (seconds since the epoch). Entries go by identity."""

# A key that has rested for so long has its last use in status, and makes room.
FORGET_AFTER = 24 * 3600
# Collecting a hundred thousand uses at a stretch would stop requests for a tenth of a second.
AT_A_STRETCH = 1000
LAST_RETRY = 0.5  # seconds between attempts once the process is stopping

logger = logging.getLogger(__name__)


class _Shard:
    """One object: all it holds, and what of that the API server has not got. A ``None`` takes a key out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.exists = False
        self.uses: dict[str, int] = {}
        self.unsent: dict[str, int | None] = {}
        self._leaving = 0

    @property
    def is_full(self) -> bool:
        """What is taken out counts until the API server knows: no patch may bring an object above its limit."""
        return len(self.uses) + self._leaving >= MAX_USES

    def forget_before(self, oldest: float) -> list[str]:
        """Take out what has rested since then."""
        rested = [key for key, at in self.uses.items() if at < oldest]
        for key in rested:
            del self.uses[key]
            self.unsent[key] = None
        self._leaving += len(rested)
        return rested

    def settle(self, sent: dict[str, int | None]) -> None:
        """The API server has got this. A use that came in meanwhile is yet to be sent."""
        self.exists = True
        self._leaving = 0
        for key, at in sent.items():
            if self.unsent.get(key, at) == at:
                self.unsent.pop(key, None)


class Publisher:
    """Publishes for one process, into its own namespace. ``used`` is filled by whoever allows a request."""

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        *,
        instance: str,
        used: Used,
        interval: float,
        metrics: Metrics,
        rng: Random,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._instance = instance
        self._used = used
        self._interval = interval
        self._metrics = metrics
        self._rng = rng
        self._wall_clock = wall_clock
        self._shards: list[_Shard] = []
        self._shard_of: dict[str, _Shard] = {}
        self._trouble: str | None = None

    async def run(self) -> None:
        """Publish until cancelled."""
        turn = 0
        while True:
            # After trouble one attempt an interval is enough.
            objects = max(1, len(self._shards)) if self._trouble is None else 1
            await asyncio.sleep(self._interval / objects * self._rng.uniform(0.9, 1.0))
            await self._collect()
            if self._shards:
                turn = (turn + 1) % len(self._shards)
                await self._publish(self._shards[turn])

    async def flush(self, seconds: float) -> None:
        """Publish all there is, for so long at the most: the last thing a process does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._collect()
                while unsent := [each for each in self._shards if each.unsent]:
                    for shard in unsent:
                        await self._publish(shard)
                    if self._trouble is not None:
                        await asyncio.sleep(LAST_RETRY)
        if lost := sum(len(each.unsent) for each in self._shards):
            logger.warning("the last use of %d keys was not published", lost)

    async def _collect(self) -> None:
        """Move what requests have left into the objects it belongs to."""
        while self._used:
            for _ in range(min(AT_A_STRETCH, len(self._used))):
                entry, used_at = self._used.popitem()
                key, at = f"{entry.path.decode()}/{entry.key_id.decode()}", int(used_at)
                shard = self._shard_of.get(key) or self._place(key)
                # A key that the watch has brought anew is there twice, in any order.
                if at > shard.uses.get(key, 0):
                    shard.uses[key] = shard.unsent[key] = at
            await asyncio.sleep(0)

    def _place(self, key: str) -> _Shard:
        shard = next((each for each in self._shards if not each.is_full), None)
        if shard is None:
            shard = _Shard(f"{self._instance}-{len(self._shards)}")
            self._shards.append(shard)
        self._shard_of[key] = shard
        return shard

    async def _publish(self, shard: _Shard) -> None:
        if not shard.unsent:
            return
        for key in shard.forget_before(self._wall_clock() - FORGET_AFTER):
            del self._shard_of[key]
        try:
            await self._write(shard)
        except ApiError as error:
            self._metrics.usage_failures += 1
            self._complain(error)
        else:
            self._metrics.usage_writes += 1
            if self._trouble is not None:
                logger.info("usage is published again")
            self._trouble = None

    async def _write(self, shard: _Shard) -> None:
        """Send what changed, or everything if the object is not there: the operator removes what is not renewed."""
        sent = dict(shard.unsent)
        if shard.exists:
            try:
                await self._client.patch(APIKEYUSAGES, self._namespace, shard.name, {"spec": self._spec(sent)})
            except NotFoundError:
                shard.exists = False
        if not shard.exists:
            sent = dict(shard.unsent)
            manifest = {
                "apiVersion": APIKEYUSAGES.api_version,
                "kind": "ApiKeyUsage",
                "metadata": {"name": shard.name, "namespace": self._namespace},
                "spec": {"verifier": self._instance, **self._spec(shard.uses)},
            }
            try:
                await self._client.create(APIKEYUSAGES, self._namespace, manifest)
            except ConflictError:
                # An earlier attempt arrived and its answer did not. The name is random: nobody else has it.
                everything = {"spec": self._spec(sent | shard.uses)}
                await self._client.patch(APIKEYUSAGES, self._namespace, shard.name, everything)
        shard.settle(sent)

    def _spec(self, uses: dict[str, int] | dict[str, int | None]) -> dict[str, Any]:
        return {
            "renewedAt": _instant(self._wall_clock()),
            "uses": {key: _instant(at) if at is not None else None for key, at in uses.items()},
        }

    def _complain(self, error: ApiError) -> None:
        problem = f"{error}; requests are judged as before, and it is tried again"
        if isinstance(error, ForbiddenError | NotFoundError):
            problem = (
                f"this account may not write apikeyusages in namespace {self._namespace}, so nobody learns when keys "
                "were last used: apply crds/, bind the role keywright-usage-publisher there, or set --usage off; "
                "requests are judged as before"
            )
        if self._trouble is None:
            logger.warning("%s", problem)
        self._trouble = problem


def name_instance() -> str:
    """A name for this process: its host, which is the pod's name in a pod, and something random."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower())[:63].strip("-") or "verifier"
    return f"{host}-{secrets.token_hex(4)}"


def _instant(at: float) -> str:
    return format_instant(datetime.fromtimestamp(at, UTC))
