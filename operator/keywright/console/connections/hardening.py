"""Headers that every answer has: what a browser may do with it, and that nobody keeps it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Hardened"]

STATIC = "/static/"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_ALWAYS = {
    b"content-security-policy": _POLICY.encode("ascii"),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
_NO_STORE = {b"cache-control": b"no-store"}
# A year. Where a proxy terminates TLS, it is for the proxy to say.
_TLS_ALONE = {b"strict-transport-security": b"max-age=31536000"}


class Hardened:
    """Sets these headers, whatever the app says about them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ours = _ALWAYS if scope["path"].startswith(STATIC) else _ALWAYS | _NO_STORE
        if scope.get("scheme") == "https":
            ours = ours | _TLS_ALONE

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [each for each in message.get("headers", ()) if each[0].lower() not in ours]
                message = {**message, "headers": [*kept, *ours.items()]}
            await send(message)

        await self._app(scope, receive, tell)
