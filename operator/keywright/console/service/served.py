"""What every request is served from: the connection to the API server, and what the service was told at its start."""

import asyncio
from dataclasses import dataclass, field

from keywright.console.settings import ConsoleSettings
from keywright.kube.client import ApiClient

__all__ = ["Served"]

SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """``client`` is the service's own identity: what concerns keys goes through ``client.acting_as(…)`` of the caller.
    ``namespaces`` are those that are served, ``None`` for all of the cluster.
    """

    client: ApiClient
    settings: ConsoleSettings
    undoing: set[asyncio.Task[None]] = field(default_factory=set, repr=False)
    """What is being taken back, for requests that may be gone by now."""

    @property
    def namespaces(self) -> tuple[str, ...] | None:
        if self.settings.all_namespaces:
            return None
        return self.settings.namespaces or (self.client.credentials.namespace,)

    def serves(self, namespace: str) -> bool:
        """Whether keys of this namespace are anybody's business here."""
        return self.namespaces is None or namespace in self.namespaces

    async def settle(self) -> None:
        """Wait, for as long as a process that was told to stop has, until everything is taken back that is to be."""
        if self.undoing:
            await asyncio.wait(self.undoing, timeout=SETTLE_SECONDS)
