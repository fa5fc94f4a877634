"""Keep a local picture of a resource: list, then watch, for ever.

What sets this apart from a bare watch: a re-list removes what is gone (an event for it may have been missed),
bookmarks prove that a quiet watch is alive, and ``heard_at`` says how old the picture can be.
"""

import asyncio
import logging
import random
import time
from collections.abc import Collection
from typing import Protocol

from keywright.kube.client import ApiClient, Manifest
from keywright.kube.errors import ApiError, ForbiddenError, GoneError, QuietError, from_response
from keywright.kube.resources import Resource

__all__ = ["Reflector", "Sink"]

FIRST_BACKOFF = 0.1  # seconds
LAST_BACKOFF = 1.0  # a revocation waits for no longer than this once the API server is back

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Where the picture goes. All three are called from the event loop and must not raise."""

    def put(self, manifest: Manifest) -> None:
        """An object is there, new or changed."""

    def remove(self, uid: str) -> None:
        """An object is gone; also called for one that was never put."""

    def uids(self) -> Collection[str]:
        """What is held, so that a re-list can find what has gone unnoticed."""


class Reflector:
    """Feeds one sink with one resource of one namespace (``None``: of all)."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        sink: Sink,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        metadata_only: bool = False,
    ) -> None:
        self._client = client
        self._resource = resource
        self._sink = sink
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._metadata_only = metadata_only
        self._version: str | None = None
        self.synced = asyncio.Event()
        self.heard_at = 0.0
        """``time.monotonic()`` of the last sign of life from the API server; 0 before the first."""

    async def run(self) -> None:
        """List and watch until cancelled. Trouble is logged once per outage and retried with backoff."""
        delay = FIRST_BACKOFF
        was_failing = False
        while True:
            began = time.monotonic()
            try:
                if self._version is None:
                    self._version = await self._list()
                    self.synced.set()
                await self._watch(self._version)
                delay, was_failing = FIRST_BACKOFF, False
                # Watches end every few minutes; one that ends at once must not become a hot loop.
                await asyncio.sleep(FIRST_BACKOFF)
            except QuietError as error:
                # It had answered, so this is no outage; if the API server is gone, the next request says so.
                logger.info("%s; asking anew", error)
                delay, was_failing = FIRST_BACKOFF, False
            except GoneError:
                self._version = None
                delay = await _pause(delay)
            except ApiError as error:
                if self.heard_at > began and time.monotonic() - began > LAST_BACKOFF:
                    # It worked for a while before it broke: a new outage, not more of the last one.
                    delay, was_failing = FIRST_BACKOFF, False
                if not was_failing:
                    remedy = (
                        " (bind the roles in deploy/rbac to this account)" if isinstance(error, ForbiddenError) else ""
                    )
                    logger.warning("%s%s; trying again until it answers", error, remedy)
                was_failing = True
                # A watch that broke resumes where it was; the API server says 410 if it cannot.
                delay = await _pause(delay)

    async def _list(self) -> str:
        # Only what was held before can have vanished: a sink that others feed too may learn of newer objects meanwhile.
        held = list(self._sink.uids())
        seen: set[str] = set()
        version = ""
        pages = self._client.list_pages(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            metadata_only=self._metadata_only,
        )
        async for page in pages:
            self.heard_at = time.monotonic()
            version = page["metadata"]["resourceVersion"]
            for manifest in page["items"] or ():
                seen.add(manifest["metadata"]["uid"])
                self._sink.put(manifest)
            # A large picture must not stop requests from being answered.
            await asyncio.sleep(0)
        for uid in [uid for uid in held if uid not in seen]:
            self._sink.remove(uid)
        return version

    async def _watch(self, version: str) -> None:
        events = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            metadata_only=self._metadata_only,
        )
        async for event in events:
            self.heard_at = time.monotonic()
            if event:
                self._handle(event)

    def _handle(self, event: Manifest) -> None:
        manifest = event["object"]
        match event["type"]:
            case "ADDED" | "MODIFIED":
                self._sink.put(manifest)
            case "DELETED":
                self._sink.remove(manifest["metadata"]["uid"])
            case "ERROR":
                raise from_response(manifest.get("code", 500), str(manifest.get("reason")), "watch")
        self._version = manifest["metadata"]["resourceVersion"]


async def _pause(delay: float) -> float:
    """Wait for about ``delay`` seconds; the next delay is twice as long, up to a bound."""
    await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
    return min(delay * 2, LAST_BACKOFF)
