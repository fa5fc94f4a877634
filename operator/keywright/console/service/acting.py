"""The API server as the caller may use it. What it refuses becomes a problem that says what to do."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from keywright.console.problems import ProblemError
from keywright.console.service.refusals import problem_of
from keywright.kube.client import ApiClient
from keywright.kube.errors import ApiError
from keywright.kube.resources import Resource

__all__ = ["Acting", "Manifest"]

Manifest = dict[str, Any]
T = TypeVar("T")


class Acting:
    """One caller at the API server. Every method raises :class:`ProblemError`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return await _translated(self._client.get(resource, namespace, name), "get", resource)

    async def find(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """The object, or ``None`` if there is none of that name."""
        try:
            return await self.get(resource, namespace, name)
        except ProblemError as problem:
            if problem.status != 404:
                raise
            return None

    async def page(
        self, resource: Resource, namespace: str | None, *, selector: str | None = None, limit: int, after: str = ""
    ) -> Manifest:
        """One page of a list; ``after`` is the ``continue`` of the one before."""
        found = self._client.list_page(resource, namespace, limit=limit, after=after or None, field_selector=selector)
        return await _translated(found, "list", resource)

    async def all(
        self, resource: Resource, namespace: str | None, *, selector: str | None = None
    ) -> AsyncIterator[Manifest]:
        """Every object of a list."""
        pages = self._client.list_pages(resource, namespace, field_selector=selector)
        while (page := await _translated(anext(pages, None), "list", resource)) is not None:
            for each in page["items"] or ():
                yield each

    async def create(self, resource: Resource, namespace: str, manifest: Manifest) -> Manifest:
        return await _translated(self._client.create(resource, namespace, manifest), "create", resource)

    async def patch(
        self, resource: Resource, found: Manifest, changes: Manifest, *, version: str | None = None
    ) -> Manifest:
        """Merge changes into exactly this object, and if asked for, only as it was in that version."""
        metadata = found["metadata"]
        exactly = {"uid": metadata["uid"]} | ({"resourceVersion": version} if version is not None else {})
        body = changes | {"metadata": changes.get("metadata", {}) | exactly}
        patched = self._client.patch(resource, metadata["namespace"], metadata["name"], body)
        return await _translated(patched, "patch", resource)

    async def delete(self, resource: Resource, found: Manifest, *, version: str | None = None) -> None:
        """Delete exactly this object, and if asked for, only as it was in that version."""
        metadata = found["metadata"]
        deleted = self._client.delete(
            resource, metadata["namespace"], metadata["name"], uid=metadata["uid"], resource_version=version
        )
        await _translated(deleted, "delete", resource)


async def _translated(request: Awaitable[T], verb: str, resource: Resource) -> T:
    # The problem is built outside of the handler: chained, it would carry the request with it.
    try:
        return await request
    except ApiError as error:
        refused = error
    raise problem_of(refused, verb, resource)
