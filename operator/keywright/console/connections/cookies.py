"""The one cookie that the app is shown: what else a browser keeps for this host is for others.

What reads quotes and escapes in values, as http.cookies does, takes seconds for some of them in every Python before
3.11.10 and 3.12.6, and anybody may send them. FastAPI has it read all cookies of every request.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["OwnCookie"]

_PLAIN = re.compile(rb"[\w.-]+", re.ASCII)


class OwnCookie:
    """Leaves of all cookies the one of this name, if its value is one that we could have given out."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            scope = {**scope, "headers": self._without_others(scope["headers"])}
        await self._app(scope, receive, send)

    def _without_others(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        pairs = [pair for name, value in headers if name == b"cookie" for pair in value.split(b";")]
        kept = [each for each in headers if each[0] != b"cookie"]
        for name, _, value in (pair.strip().partition(b"=") for pair in pairs):
            if name == self._name and _PLAIN.fullmatch(value):
                return [*kept, (b"cookie", name + b"=" + value)]
        return kept
