"""The handlers. kopf's low-level event handlers keep no annotations and write nothing to the objects."""

from collections.abc import Callable
from typing import Any

import kopf

from keywright.api import GROUP, VERSION
from keywright.kube.client import open_session
from keywright.kube.credentials import Credentials
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster
from keywright.reconcile.workqueue import WorkQueue

__all__ = ["build_registry", "build_settings"]


def build_registry(
    credentials: Credentials, roster: Roster, queue: WorkQueue, forget: Callable[[Ref], None]
) -> kopf.OperatorRegistry:
    """Register the handlers of one operator. ``forget`` is told of each ApiKey that is gone."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        # The framework closes what it is given, so it gets a session of its own.
        return kopf.AiohttpSession(
            server=credentials.server,
            default_namespace=credentials.namespace,
            aiohttp_session=open_session(credentials),
        )

    @kopf.on.event(GROUP, VERSION, "apikeys", registry=registry)  # type: ignore[arg-type]
    async def see_apikey(event: dict[str, Any], namespace: str, name: str, **_: Any) -> None:
        ref = Ref(namespace, name)
        manifest = dict(event["object"])
        if event["type"] == "DELETED":
            roster.forget_uid(manifest["metadata"]["uid"])
            if ref not in roster:
                queue.forget(ref)
                forget(ref)
            return
        if roster.observe(ref, manifest):
            queue.add(ref, manifest)

    return registry


def build_settings() -> kopf.OperatorSettings:
    """Kopf's own settings: no writes of its own, no peering, no look at other resources."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # A worker per object lives on for this long after its last event; with many keys at start-up that is memory.
    settings.queueing.idle_timeout = 0.5
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 60
    return settings
