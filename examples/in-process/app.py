"""A service that judges the API keys of its clients itself: any ASGI server runs it, as in ``uvicorn app:app``."""

import json
from typing import Any

from keywright.asgi import KeywrightMiddleware, require


async def service(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - the form of every ASGI application
    """Tells who asks. Posting takes the scope agents:write; the health of the service is nobody's secret."""
    if scope["type"] != "http":
        raise ValueError("only HTTP is served here")
    if scope["path"] == "/healthz":
        answer: Any = "ok"
    elif scope["method"] == "POST":
        answer = f"written by {require(scope, 'agents:write').subject}"
    else:
        asks = require(scope)
        answer = {"subject": asks.subject, "key": asks.key, "role": asks.role, "scopes": asks.scopes}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


app = KeywrightMiddleware(service, classes=["agents"], anonymous=["/healthz"], scopes=["agents:read"])
