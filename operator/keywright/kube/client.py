"""Requests to the API server: get, list, create, update, patch, delete, watch. JSON in, JSON out."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from keywright.kube.credentials import Credentials
from keywright.kube.errors import (
    ApiUnavailableError,
    ImpersonationError,
    QuietError,
    from_response,
    is_about_impersonation,
)
from keywright.kube.resources import Resource

__all__ = ["METADATA_ONLY", "PAGE", "ApiClient", "Manifest", "connect", "open_session"]

Manifest = dict[str, Any]

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
# A bookmark comes about once a minute, so a watch that is silent for longer is dead.
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=90)
# What a page takes while it is read never goes back to the system: at 500 a picture of 10,000 keys took 62 MiB, at 100
# it takes 51, and is no slower to get.
PAGE = 100
MAX_EVENT_BYTES = 16 * 1024 * 1024
# What is said of them may quote them, which is for nobody.
_OF_SECRETS = re.compile(r"/api/v1/(?:namespaces/[^/]+/)?secrets(?:/|\Z)")


class ApiClient:
    """One identity at one API server. Every method raises :class:`keywright.kube.errors.ApiError`."""

    def __init__(
        self, credentials: Credentials, session: aiohttp.ClientSession, impersonation: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.credentials = credentials
        self._session = session
        self._impersonation = tuple(impersonation)

    def acting_as(self, user: str, groups: Sequence[str] = ()) -> "ApiClient":
        """The same connections for somebody else, by impersonation: his rights decide, and the audit log names him.

        Raises:
            ValueError: for a name that a header cannot carry unchanged, or that is empty.

        """
        fields = [("Impersonate-User", user), *(("Impersonate-Group", each) for each in groups)]
        for _, value in fields:
            if not value or not value.isprintable() or value != value.strip():
                raise ValueError("a name that cannot be impersonated")
        return ApiClient(self.credentials, self._session, fields)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return await self._json("GET", resource.path(namespace, name))

    async def list_page(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        limit: int,
        after: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Manifest:
        """One page of a list; ``after`` is the ``continue`` of the one before (:class:`GoneError` if it is old)."""
        query = {"limit": str(limit)} | _selectors(label_selector, field_selector)
        query |= {"continue": after} if after is not None else {}
        return await self._json("GET", resource.path(namespace), params=query)

    async def list_pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        metadata_only: bool = False,
        page: int = PAGE,
    ) -> AsyncIterator[Manifest]:
        """Yield the pages of a consistent list, at most ``page`` objects each.

        A page is a list manifest with ``metadata`` and ``items``, which may be null.
        """
        query = {"limit": str(page)} | _selectors(label_selector, field_selector)
        accept = METADATA_LIST_ONLY if metadata_only else "application/json"
        while True:
            found = await self._json("GET", resource.path(namespace), params=query, accept=accept)
            yield found
            token = found["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest:
        return await self._json("POST", resource.path(namespace), body=manifest)

    async def update(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        manifest: Manifest,
        subresource: str | None = None,
    ) -> Manifest:
        """Replace an object (or a subresource); the manifest carries the resourceVersion it was decided on."""
        return await self._json("PUT", resource.path(namespace, name, subresource), body=manifest)

    async def patch(self, resource: Resource, namespace: str | None, name: str, changes: Manifest) -> Manifest:
        """Set the fields that ``changes`` holds and remove those it holds as null (RFC 7396)."""
        path = resource.path(namespace, name)
        return await self._json("PATCH", path, body=changes, content_type="application/merge-patch+json")

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, resource_version: str | None = None
    ) -> None:
        """Delete exactly the object with this UID, and if asked for, only as it was in that version."""
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version is not None else {})
        await self._json("DELETE", resource.path(namespace, name), body={"preconditions": preconditions})

    async def watch(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        metadata_only: bool = False,
    ) -> AsyncIterator[Manifest]:
        """Yield watch events from ``resource_version`` on; first of all an empty dict once connected.

        Ends when the API server ends it. Bookmarks are asked for.

        Raises:
            QuietError: if not even a bookmark came for longer than they take.

        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": "290",
        } | _selectors(label_selector, field_selector)
        accept = METADATA_ONLY if metadata_only else "application/json"
        what, is_answered = f"watch {resource.path(namespace)}", False
        try:
            async with self._session.get(
                self.credentials.server + resource.path(namespace),
                params=query,
                headers=[("Accept", accept), *self._impersonation],
                timeout=WATCH_TIMEOUT,
            ) as response:
                if response.status != 200:
                    raise from_response(response.status, (await _refusal(response))[0], what)
                is_answered = True
                yield {}
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
                    if len(rest) > MAX_EVENT_BYTES:
                        raise ApiUnavailableError(0, "EventTooLarge", what)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if is_answered and isinstance(error, aiohttp.SocketTimeoutError):
                raise QuietError(what) from None
            raise ApiUnavailableError(0, type(error).__name__, what) from None

    async def _json(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: Manifest | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Manifest:
        # The exception is built outside of the handler: chained, it would carry the request with it.
        try:
            async with self._session.request(
                method,
                self.credentials.server + path,
                params=params,
                data=json.dumps(body) if body is not None else None,
                headers=[("Accept", accept), ("Content-Type", content_type), *self._impersonation],
                timeout=REQUEST_TIMEOUT,
            ) as response:
                if response.status < 300:
                    answer: Manifest = await response.json()
                    return answer
                status, (reason, refusal) = response.status, await _refusal(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            status, reason, refusal = 0, type(error).__name__, None
        what = f"{method} {path}"
        if status == 0:
            raise ApiUnavailableError(status, reason, what)
        if not self._impersonation:
            raise from_response(status, reason, what)
        if is_about_impersonation(status, refusal):
            raise ImpersonationError(status, reason, what)
        raise from_response(status, reason, what, None if _OF_SECRETS.match(path) else refusal)


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    wanted = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in wanted.items() if value is not None}


async def _refusal(response: aiohttp.ClientResponse) -> tuple[str, Manifest | None]:
    """Kubernetes' own word for the refusal, and all that it said, which may quote what was sent."""
    try:
        answer = await response.json()
        reason = answer.get("reason")
    except (aiohttp.ClientError, ValueError, AttributeError):
        answer = reason = None
    return reason if isinstance(reason, str) and reason.isalpha() else str(response.reason), answer


def open_session(credentials: Credentials, *, connections: int = 32) -> aiohttp.ClientSession:
    """A session that proves our identity in every request. ``connections`` bounds its sockets, watches included."""

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if token := credentials.token():
            request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=credentials.ssl_context(), limit=connections, keepalive_timeout=60),
        headers={"User-Agent": "keywright", "Content-Type": "application/json"},
        middlewares=[authorize],
        trust_env=False,
    )


@asynccontextmanager
async def connect(credentials: Credentials, *, connections: int = 32) -> AsyncIterator[ApiClient]:
    """Open a client and close it in the end."""
    async with open_session(credentials, connections=connections) as session:
        yield ApiClient(credentials, session)
