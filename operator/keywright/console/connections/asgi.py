"""The words of the ASGI specification (https://asgi.readthedocs.io, version 3) that the layers round the app use."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from keywright.console.problems import CONTENT_TYPE, ProblemError, render

__all__ = ["App", "Message", "Receive", "Send", "answer"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


async def answer(problem: ProblemError, send: Send) -> None:
    """Send a problem document."""
    body = render(problem)
    headers = [
        (b"content-type", CONTENT_TYPE.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        *((name.encode("ascii"), value.encode("ascii")) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
