"""Which request is this about? One source per listener, and never a second guess.

Each proxy describes the original request in its own way, and a client can send the headers that another proxy would
set. So the listener is told which way is its proxy's, and nothing else is looked at.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from keywright.verifier.keys.credentials import Field

__all__ = ["HEADERS", "Head", "Original", "Source", "find_original"]

_BELOW = b"/verify/"
_PREFIX = len(b"/verify")


class Source(StrEnum):
    """Where the original request is described."""

    PATH = "path"
    """The path after /verify, the method and the Host as they are (Envoy, Gateway API)."""
    ORIGINAL = "original"
    """X-Original-URI and X-Original-Method, and the Host as it is (nginx)."""
    FORWARDED = "forwarded"
    """X-Forwarded-Uri, X-Forwarded-Method and X-Forwarded-Host (Traefik, Caddy)."""


HEADERS = {
    Source.PATH: (),
    Source.ORIGINAL: (b"x-original-uri", b"x-original-method"),
    Source.FORWARDED: (b"x-forwarded-uri", b"x-forwarded-method", b"x-forwarded-host"),
}
"""The headers that a source reads, in lower case: target, method and, if it has one, host."""


Original = tuple[bytes, bytes, bytes]
"""Method, target and host of the original request, as raw as they came. The host may be empty."""


class Head(Protocol):
    """A request to the verifier itself."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def host(self) -> bytes: ...


def find_original(source: Source, request: Head, fields: Sequence[Field]) -> Original | None:
    """The original request; ``None`` if the proxy did not describe it exactly once."""
    if source is Source.PATH:
        target = request.target
        return (request.method, target[_PREFIX:], request.host) if target.startswith(_BELOW) else None
    said = dict(fields)
    if len(said) < len(fields) and any(sum(each == name for each, _ in fields) > 1 for name in HEADERS[source]):
        return None
    target, method, host = (*(said.get(name, b"") for name in HEADERS[source]), request.host)[:3]
    return (method, target, host) if method and target and (host or source is Source.ORIGINAL) else None
