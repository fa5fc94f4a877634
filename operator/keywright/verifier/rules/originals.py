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
    @property
    def told(self) -> Sequence[Field]:
        """The fields of these headers as they came, maybe among others."""


def find_original(source: Source, request: Head) -> Original | None:
    """The original request; ``None`` if the proxy did not describe it exactly once."""
    if source is Source.PATH:
        target = request.target
        return (request.method, target[_PREFIX:], request.host) if target.startswith(_BELOW) else None
    wanted, said = HEADERS[source], {}
    for name, value in request.told:
        if name in wanted:
            if name in said:
                return None
            said[name] = value
    if len(said) < len(wanted):
        return None
    target, method, host = (*map(said.__getitem__, wanted), request.host)[:3]
    return (method, target, host) if method and target and (host or source is Source.ORIGINAL) else None
