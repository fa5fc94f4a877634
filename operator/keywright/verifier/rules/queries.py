"""The query of exactly ``/verify``, where the configuration of the proxy wrote the URL: it can only add.

Whatever is not understood is refused: a scope that was mistyped and ignored would let everybody through.
"""

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from keywright.verifier.keys.rights import SCOPE

__all__ = ["PLAIN", "Asked", "read_query"]

# Proxies ask the same few over and over; some let the client's query through, so what is kept is bounded.
_KEPT = 256
_LONGEST = 1024


class Asked(NamedTuple):
    """``scopes`` that are needed too, whether refusals have to suit nginx, and whether all was understood."""

    scopes: tuple[str, ...] = ()
    for_nginx: bool = False
    is_understood: bool = True


PLAIN = Asked()


def read_query(query: bytes) -> Asked:
    """Read what follows the question mark."""
    if len(query) > _LONGEST:
        return Asked(is_understood=False)
    return _read(query)


@lru_cache(maxsize=_KEPT)
def _read(query: bytes) -> Asked:
    scopes, for_nginx, is_understood = [], False, True
    for part in filter(None, query.split(b"&")):
        name, _, value = part.partition(b"=")
        # Whatever is beyond ASCII becomes characters that no scope has.
        scope = unquote_to_bytes(value).decode("latin-1")
        if part == b"deny=nginx":
            for_nginx = True
        elif name == b"scope" and SCOPE.fullmatch(scope):
            scopes.append(scope)
        else:
            is_understood = False
    return Asked(tuple(dict.fromkeys(scopes)), for_nginx, is_understood)
