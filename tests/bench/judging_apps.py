"""Applications on Starlette that judge keys, for ``uvicorn --factory``: what one would write without Keywright, what it
would cost to hash on every request, and Keywright's own middleware. ``BENCH_KEYS`` says how many keys there are.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keywright.asgi import KeywrightMiddleware
from keywright.domain import hashing, plainkey
from tests.bench import objects
from tests.bench.contender import TARGET

__all__ = ["by_argon2", "by_sha256", "with_middleware"]

Endpoint = Callable[[Request], Awaitable[Response]]


def by_sha256() -> Starlette:
    """SHA-256 of the presented key, looked up in a dict of all keys' hashes; the same identity headers as the
    verifier's. No expiry, no revocation, no rules, no metrics, no checksum: the least that judges at all.
    """
    known = {
        sha256(key.text.encode()).digest(): _identity(key.key_id) for key in map(objects.plain_key, range(_keys()))
    }

    async def check(request: Request) -> Response:
        headers = known.get(sha256(_presented(request).encode()).digest())
        return _refusal() if headers is None else Response(headers=headers)

    return _app(check)


def by_argon2() -> Starlette:
    """The stored hash looked up by key id, and one argon2id run at the OWASP minimum for every request."""
    key = objects.plain_key(objects.ARGON2_KEY)
    stored = {key.key_id: objects.manifest(objects.ARGON2_KEY)["status"]["keys"][0]["hash"]}

    async def check(request: Request) -> Response:
        presented = _presented(request)
        parsed = plainkey.parse(presented)
        known = stored.get(parsed.key_id) if isinstance(parsed, plainkey.PlainKey) else None
        if known is None or not hashing.verify(known, presented):
            return _refusal()
        return Response(headers=_identity(key.key_id))

    return _app(check)


def with_middleware() -> KeywrightMiddleware:
    """Keywright's middleware with a rules file, before an application that says who asks."""

    async def serve(request: Request) -> Response:
        return Response(headers={"X-Auth-Key-Id": request.scope["keywright"].key_id})

    return KeywrightMiddleware(_app(serve), all_namespaces=True, rules=os.environ["BENCH_RULES"])


def _app(endpoint: Endpoint) -> Starlette:
    return Starlette(routes=[Route(TARGET, endpoint)])


def _keys() -> int:
    return int(os.environ["BENCH_KEYS"])


def _presented(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else ""


def _identity(key_id: str) -> Mapping[str, str]:
    said = {"Subject": f"apikey:bench/{key_id}", "Key": f"bench/{key_id}", "Key-Id": key_id, "Class": "standard"}
    return {f"X-Auth-{name}": value for name, value in (said | {"Role": "-", "Scopes": objects.SCOPE}).items()}


def _refusal() -> Response:
    return Response(status_code=401, headers={"WWW-Authenticate": 'Bearer realm="bench", error="invalid_token"'})
