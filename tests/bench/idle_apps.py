"""The least that an application on uvicorn or Granian can be: no key is read, nothing is judged."""

from typing import Any

__all__ = ["asgi", "rsgi"]

_START = {"type": "http.response.start", "status": 204, "headers": []}
_BODY = {"type": "http.response.body", "body": b""}


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send(_START)
        await send(_BODY)


async def rsgi(scope: Any, protocol: Any) -> None:
    protocol.response_empty(204, [])
