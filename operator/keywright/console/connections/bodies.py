"""The body of a request: of a type that is understood, small, and whole in ten seconds, or it is not looked at."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keywright.console.problems import CONTENT_TYPE, ProblemError, render

__all__ = ["BoundedBodies"]

MOST_BYTES = 64 * 1024
SECONDS = 10.0

_REST = "/v1/"
_JSON = b"application/json"
_FORM = b"application/x-www-form-urlencoded"


class BoundedBodies:
    """Reads each body before the app is asked, so that nothing is begun for a request that never comes whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(scope, receive)
        except ProblemError as problem:
            # What is left of the body is not read, so the connection cannot be used again.
            problem.headers["Connection"] = "close"
            await _answer(problem, send)
            return
        except _GoneError:
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def hear() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, hear, send)


class _GoneError(Exception):
    """The client went away before it had said what it wants."""


async def _read(scope: Scope, receive: Receive) -> bytes:
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise _too_large()
    if b"content-length" in headers and b"transfer-encoding" in headers:
        # A proxy in front may see the end elsewhere, and a second request in what is left (RFC 9112, section 6.1).
        raise ProblemError(400, "invalid_request", "Content-Length and Transfer-Encoding exclude each other. Send one.")
    is_announced = length not in (b"", b"0") or b"transfer-encoding" in headers
    wanted = _JSON if scope["path"].startswith(_REST) else _FORM
    if is_announced and headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != wanted:
        raise ProblemError(415, "invalid_request", f"The body has to be {wanted.decode()}, and Content-Type to say so.")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _GoneError
                body += message.get("body", b"")
                if len(body) > MOST_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise ProblemError(
            408, "timeout", f"The body was not whole after {SECONDS:.0f} seconds. Send it again."
        ) from None


async def _answer(problem: ProblemError, send: Send) -> None:
    """Send a problem document."""
    body = render(problem)
    headers = [
        (b"content-type", CONTENT_TYPE.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        *((name.encode("ascii"), value.encode("ascii")) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _too_large() -> ProblemError:
    return ProblemError(413, "too_large", f"The body is larger than {MOST_BYTES // 1024} KiB.")
