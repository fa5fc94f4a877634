"""What every request is served from: the connection to the API server, and what the service was told at its start."""

from dataclasses import dataclass

from keywright.console.settings import ConsoleSettings
from keywright.kube.client import ApiClient

__all__ = ["Served"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """``client`` is the service's own identity: what concerns keys goes through ``client.acting_as(…)`` of the caller.
    ``namespaces`` are those that are served, ``None`` for all of the cluster.
    """

    client: ApiClient
    settings: ConsoleSettings

    @property
    def namespaces(self) -> tuple[str, ...] | None:
        if self.settings.all_namespaces:
            return None
        return self.settings.namespaces or (self.client.credentials.namespace,)

    def serves(self, namespace: str) -> bool:
        """Whether keys of this namespace are anybody's business here."""
        return self.namespaces is None or namespace in self.namespaces
