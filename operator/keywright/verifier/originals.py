"""Which request is this about? One source per listener, and never a second guess.

Each proxy describes the original request in its own way, and a client can send the headers that another proxy would
set. So the listener is told which way is its proxy's, and nothing else is looked at.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from keywright.verifier.credentials import Field

__all__ = ["HEADERS", "Original", "Source", "find_original"]

_BELOW = b"/verify/"
_PREFIX = len(b"/verify")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")


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


class Original(NamedTuple):
    """The original request, as raw as it came. ``host`` may be empty; its form was not looked at."""

    method: bytes
    target: bytes
    host: bytes


class _Head(Protocol):
    """A request to the verifier itself."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def host(self) -> bytes: ...


def find_original(source: Source, request: _Head, fields: Sequence[Field]) -> Original | None:
    """The original request; ``None`` if the proxy did not describe it exactly once."""
    if source is Source.PATH:
        target = request.target
        return Original(request.method, target[_PREFIX:], request.host) if target.startswith(_BELOW) else None
    found = []
    for name in HEADERS[source]:
        values = [value for each, value in fields if each == name]
        if len(values) != 1 or not values[0]:
            return None
        found.append(values[0])
    target, method, host = found if len(found) == 3 else (*found, request.host)
    if not _METHOD.fullmatch(method) or method == b"CONNECT":
        return None
    return Original(method, target, host)
