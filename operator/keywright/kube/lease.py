"""Which of several replicas may work: a ``coordination.k8s.io/v1`` Lease, taken and renewed as client-go does it.

Clocks of two replicas are never compared. Whoever waits measures on its own monotonic clock for how long the record
has not changed; whoever holds measures on its own for how long it has not renewed, from before the request was sent.
A holder stops :data:`MARGIN` earlier than anybody else may begin, by asking :attr:`Lease.is_held` before each write,
so a process that was paused sends nothing after it wakes up.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ConflictError, NotFoundError
from keywright.kube.resources import LEASES, Resource

__all__ = ["DURATION", "MARGIN", "Alone", "Lease", "LeaseApi"]

DURATION = 10.0  # seconds without a renewal after which others may take it: a kill -9 costs this and one turn
MARGIN = 3.0  # seconds by which the holder stops before that
TURN = 2.0  # seconds from one look or renewal to the next
LONGEST = 60.0  # seconds; a record that says more was written by somebody else
MOST_TRANSITIONS = 2**31 - 1
SOON = 0.1  # seconds
PATIENCE = 3.0  # seconds that one turn may take

logger = logging.getLogger(__name__)


class LeaseApi(Protocol):
    """The API server, as far as leases go. Every method raises :class:`keywright.kube.errors.ApiError`."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest: ...

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest: ...

    async def update(self, resource: Resource, namespace: str | None, name: str, manifest: Manifest) -> Manifest: ...


class Alone:
    """What a replica holds that shares its work with nobody."""

    is_held = True
    is_known = True

    async def run(self) -> None:
        """Nothing has to be taken."""


class Lease:
    """One replica's part in a lease. ``acquired`` is called each time when it has been taken."""

    def __init__(
        self,
        api: LeaseApi,
        namespace: str,
        name: str,
        *,
        identity: str,
        acquired: Callable[[], None],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._acquired = acquired
        self._clock = clock
        self._monotonic = monotonic
        self._mine: Manifest | None = None
        self._held_until = float("-inf")
        self._observed: Manifest = {}
        self._observed_at = float("-inf")
        self._said: str | None = None
        self.is_known = False
        """Whether the lease has ever been read or taken: without that, nobody can tell whether anybody works."""

    @property
    def is_held(self) -> bool:
        """Whether this replica may write at this very moment."""
        return self._monotonic() < self._held_until

    async def run(self) -> None:
        """Take the lease when it is free and renew it while it is ours; release it when cancelled."""
        try:
            wait = 0.0
            while True:
                await asyncio.sleep(wait)
                wait = await self.take_turn()
        finally:
            await self.release()

    async def take_turn(self) -> float:
        """Look at the lease or renew it, once; return after how many seconds to do so again."""
        was_held = self.is_held
        wait = TURN
        try:
            async with asyncio.timeout(PATIENCE):
                wait = await (self._take(self._mine) if self._mine is not None else self._look())
        except ConflictError:
            # Somebody else took or made it in between: look again.
            self._mine, wait = None, SOON
        except (ApiError, TimeoutError) as error:
            # It may have been deleted, or renewed without our learning of it: the next turn begins with a look.
            self._mine = None
            self._say(f"the lease {self} cannot be had: {str(error) or 'no answer in time'}", logging.WARNING)
        if self.is_held and not was_held:
            self._say(f"leading: the lease {self} is held by this replica, {self._identity}")
            self._acquired()
        elif was_held and not self.is_held:
            self._say(f"the lease {self} is not held any more: standing by", logging.WARNING)
        return wait

    async def release(self) -> None:
        """Let another replica take over at once. What goes wrong here costs the next one some seconds only."""
        self._held_until = float("-inf")
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._api.get(LEASES, self._namespace, self._name)
                if (found.get("spec") or {}).get("holderIdentity") == self._identity:
                    await self._write(found, holder=None)
        except (ApiError, TimeoutError) as error:
            logger.warning("the lease %s was not released: %s", self, str(error) or "no answer in time")

    async def _look(self) -> float:
        try:
            found = await self._api.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            return await self._take(None)
        self.is_known = True
        spec = found.get("spec") or {}
        now = self._monotonic()
        if spec != self._observed:
            self._observed, self._observed_at = spec, now
        holder = spec.get("holderIdentity")
        left: float = self._observed_at + min(spec.get("leaseDurationSeconds", DURATION), LONGEST) - now
        if holder and holder != self._identity and left > 0:
            self._say(f"standing by: the lease {self} is held by {holder}")
            return min(TURN, left)
        return await self._take(found)

    async def _take(self, found: Manifest | None) -> float:
        began = self._monotonic()
        self._mine = await self._write(found, holder=self._identity)
        self._held_until = began + DURATION - MARGIN
        self.is_known = True
        return TURN

    async def _write(self, found: Manifest | None, *, holder: str | None) -> Manifest:
        now = self._clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = ((found or {}).get("spec") or {}).copy()
        spec = before | {"leaseDurationSeconds": int(DURATION), "renewTime": now}
        if holder is None:
            spec.pop("holderIdentity")
        elif before.get("holderIdentity") != holder:
            transitions = min(before.get("leaseTransitions", -1) + 1, MOST_TRANSITIONS)
            spec |= {"holderIdentity": holder, "acquireTime": now, "leaseTransitions": transitions}
        if found is None:
            made = {
                "apiVersion": LEASES.api_version,
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": spec,
            }
            return await self._api.create(LEASES, self._namespace, made)
        return await self._api.update(LEASES, self._namespace, self._name, found | {"spec": spec})

    def _say(self, line: str, level: int = logging.INFO) -> None:
        if line != self._said:
            logger.log(level, "%s", line)
        self._said = line

    def __str__(self) -> str:
        return f"{self._namespace}/{self._name}"
