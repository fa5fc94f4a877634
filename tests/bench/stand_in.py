"""A stand-in for the API server: lists a given number of ApiKeys, then keeps quiet watches open.

``python -m tests.bench.stand_in HOST:PORT KEYS CERTIFICATE KEY [limited]``. It speaks what a verifier asks for and as a real
one does (TLS, pages with a continue token, gzip for large answers, bookmarks), from pages of the client's usual size
that were rendered before it listens, so that what is timed is the verifier. A hundred thousand objects in a real API server would take
longer to create than everything else here together.
"""

import asyncio
import gzip
import json
import ssl
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from keywright.kube.client import PAGE
from tests.bench import objects

__all__ = ["RESOURCE_VERSION", "main"]

RESOURCE_VERSION = "200000"
BOOKMARK_SECONDS = 30.0
# The API server compresses answers from this size on, at this level (k8s.io/apiserver, responsewriters).
GZIP_FROM, GZIP_LEVEL = 128 * 1024, 1


class Lists:
    """The list of ApiKeys. A continue token is the number of the first object that is still to come."""

    def __init__(self, keys: int, classes: list[dict[str, Any]]) -> None:
        self._keys = keys
        self._classes = classes
        self._pages = {first: _page(first, PAGE, keys) for first in range(0, max(keys, 1), PAGE)}

    async def apikeys(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await _watch(request, "ApiKey")
        first, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", self._keys))
        body = self._pages[first] if limit == PAGE else _page(first, limit, self._keys)
        headers = {"Content-Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def classes(self, request: web.Request) -> web.StreamResponse:
        """Where there is none, the built-in class applies."""
        if "watch" in request.query:
            return await _watch(request, "ApiKeyClass")
        return web.json_response({"metadata": {"resourceVersion": RESOURCE_VERSION}, "items": self._classes})


def _page(first: int, limit: int, keys: int) -> bytes:
    last = min(first + limit, keys)
    metadata = {"resourceVersion": RESOURCE_VERSION} | ({"continue": str(last)} if last < keys else {})
    items = ",".join(objects.manifest_text(number) for number in range(first, last))
    head = '{"apiVersion":"keywright.dev/v1alpha1","kind":"ApiKeyList"'
    body = f'{head},"metadata":{json.dumps(metadata)},"items":[{items}]}}'.encode()
    return gzip.compress(body, GZIP_LEVEL) if len(body) >= GZIP_FROM else body


async def _watch(request: web.Request, kind: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    metadata = {"resourceVersion": RESOURCE_VERSION}
    bookmark = {"type": "BOOKMARK", "object": {"kind": kind, "metadata": metadata}}
    while True:
        await asyncio.sleep(BOOKMARK_SECONDS)
        await response.write(json.dumps(bookmark).encode() + b"\n")


def main(address: str, keys: str, certificate: str, private_key: str, limited: str = "") -> None:
    """Serve until SIGTERM."""
    host, _, port = address.rpartition(":")
    lists = Lists(int(keys), [objects.limited_class()] if limited else [])
    app = web.Application()
    app.router.add_get("/apis/keywright.dev/v1alpha1/apikeys", lists.apikeys)
    app.router.add_get("/apis/keywright.dev/v1alpha1/apikeyclasses", lists.classes)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(certificate), Path(private_key))
    web.run_app(app, host=host, port=int(port), ssl_context=context, print=None, access_log=None, shutdown_timeout=0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
