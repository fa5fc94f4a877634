"""Paths and hosts as rules are held against them.

A proxy and the service behind it may each read a target in a way of their own. What can be read in two ways is refused
instead of made even, so that a rule is never held against another path than the one that is served.
"""

import re
from urllib.parse import unquote_to_bytes

__all__ = ["AMBIGUOUS", "read_host", "read_path"]

AMBIGUOUS = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\\;#?%\x00-\x1f\x7f-\x9f]")
"""What makes a decoded path ambiguous: empty and dot segments, separators of other kinds, what is still encoded."""

_LABEL = r"[A-Za-z0-9_-]+"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])\.?(?::[0-9]{{1,5}})?".encode("ascii"))


def read_path(raw: bytes) -> str | None:
    """The path of a target (what stands before the question mark), decoded once; ``None`` if it is ambiguous."""
    # A slash that is encoded separates for some and not for others; once decoded it looks like any other.
    if b" " in raw or b"%2f" in raw.lower():
        return None
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not path.startswith("/") or AMBIGUOUS.search(path):
        return None
    return path


def read_host(host: bytes) -> str | None:
    """A host in lower case, without port and final dot; ``None`` for what is none."""
    found = _HOST.fullmatch(host)
    return found[1].decode("ascii").lower() if found is not None else None
