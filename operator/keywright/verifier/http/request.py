"""Reads one request head: all of the HTTP that the verifier understands, without a socket.

There is no body to read and so no framing to get wrong: a request that announces one is answered and its
connection closed; where one is wanted (:class:`Body`), nothing behind it is looked at. What is left is a strict
head. The request line is read here, because any method is taken and a target is routed on its raw bytes; the fields
are llhttp's (through httptools), which refuses obs-fold, bare CR and LF, NUL and other controls, white space before
the colon, repeated or conflicting lengths.
"""

import re
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools

from keywright.verifier.keys.credentials import Field

__all__ = ["END_OF_HEAD", "Body", "Limits", "Request", "is_hopeless"]

END_OF_HEAD = b"\r\n\r\n"

_COMMON_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"})
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
# Bytes above ASCII do not belong into a target, but browsers and servers let them pass; controls do not.
_NO_TARGET = re.compile(rb"[\x00-\x20\x7f]")
# Stands in for every request line, which has been read by the time the fields are.
_STAND_IN = b"GET / HTTP/1.1"
# What a forward-auth proxy asks every time.
_USUAL_LINE = b"GET /verify HTTP/1.1\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may cost. The sizes let through what nginx and Envoy accept by default."""

    line_bytes: int = 16 * 1024
    head_bytes: int = 64 * 1024
    fields: int = 128
    head_seconds: float = 10.0
    idle_seconds: float = 120.0
    linger_seconds: float = 2.0
    linger_bytes: int = 256 * 1024
    connections: int = 1024
    pipelined: int = 32
    """Requests of one connection that are answered before the others get their turn."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What a handler returns that wants the body of a request first: so many bytes, and what to do with them."""

    length: int
    answer: Callable[[bytes], Coroutine[Any, Any, bytes]]


class Request:
    """One request at a time; the same object is read into again and again.

    ``is_plain`` says that nothing about the request touches the connection: no HEAD, no body, no close. ``length`` is
    that of a body that has been announced; ``None`` if it comes in chunks. ``peer`` is who has connected, an address or
    ``unix``.
    """

    __slots__ = (
        "_hosts",
        "_is_chunked",
        "_is_old",
        "_limits",
        "_parser",
        "_roomy",
        "_watched",
        "credentials",
        "has_body",
        "host",
        "is_plain",
        "length",
        "method",
        "peer",
        "target",
        "wants_close",
    )

    def __init__(self, watched: AbstractSet[bytes], limits: Limits) -> None:
        self._watched = watched
        self._limits = limits
        # A head of this size cannot exceed a limit: a field takes at least four bytes.
        self._roomy = min(limits.line_bytes, limits.head_bytes, 4 * limits.fields)
        self._parser = httptools.HttpRequestParser(self)
        self._hosts = 0
        self._is_chunked = False
        self._is_old = False
        self.is_plain = True
        self.method = b""
        self.target = b""
        self.host = b""
        self.length: int | None = None
        self.peer = ""
        self.credentials: list[Field] = []
        self.wants_close = False
        self.has_body = False

    def read(self, head: bytes) -> HTTPStatus | None:
        """Read a head that ends with an empty line. Anything but ``None`` is a plain HTTP error, after which
        nothing that this client sent can be trusted.
        """
        if len(head) > self._roomy and (error := self._measure(head)) is not None:
            return error
        self.credentials = []
        self.is_plain = True
        self.wants_close = self.has_body = self._is_old = self._is_chunked = False
        self._hosts = 0
        self.host = b""
        try:
            if head.startswith(_USUAL_LINE):
                self.method, self.target = b"GET", b"/verify"
                self._parser.feed_data(head)
            else:
                end = head.find(b"\r\n")
                if not self._read_line(head[:end]):
                    return HTTPStatus.BAD_REQUEST
                self._parser.feed_data(_STAND_IN + head[end:])
        except httptools.HttpParserUpgrade:
            # No protocol is switched to; the request is answered as if it had not asked.
            self.is_plain, self.wants_close = False, True
        except httptools.HttpParserError:
            return HTTPStatus.BAD_REQUEST
        if self._hosts == 1 and self.is_plain:
            return None
        return HTTPStatus.BAD_REQUEST if self._is_ambiguous() else None

    def _measure(self, head: bytes) -> HTTPStatus | None:
        if len(head) > self._limits.head_bytes or head.count(b"\r\n") > self._limits.fields + 2:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if head.find(b"\r\n") > self._limits.line_bytes:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        return None

    def _read_line(self, line: bytes) -> bool:
        """Read a request line. CONNECT and the absolute form (and ``*``) are for proxies and whole servers."""
        try:
            self.method, self.target, version = line.split(b" ")
        except ValueError:
            return False
        self._is_old = version == b"HTTP/1.0"
        if self._is_old or self.method == b"HEAD":
            self.is_plain = False
        return (
            (version == b"HTTP/1.1" or self._is_old)
            and self.target.startswith(b"/")
            and not _NO_TARGET.search(self.target)
            and (self.method in _COMMON_METHODS or _is_method(self.method))
        )

    def _is_ambiguous(self) -> bool:
        """HTTP/1.1 names one host; HTTP/1.0 may leave it out, knows no chunks, and ends each connection."""
        if not self._is_old:
            return self._hosts != 1
        self.wants_close = True
        return self._hosts > 1 or self._is_chunked

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called back by the parser for each field."""
        name = name.lower()
        if name in self._watched:
            self.credentials.append((name, value))
        elif name == b"host":
            self._hosts += 1
            self.host = value
        elif name in (b"connection", b"proxy-connection"):  # llhttp takes the one for the other
            if b"close" in [each.strip() for each in value.lower().split(b",")]:
                self.is_plain, self.wants_close = False, True
        elif name == b"content-length":
            if value.strip(b"0 \t"):
                self.is_plain, self.has_body = False, True
                self.length = int(value)
        elif name == b"transfer-encoding":
            self.is_plain, self.has_body, self._is_chunked = False, True, True
            self.length = None


def is_hopeless(partial: bytes, limits: Limits) -> HTTPStatus | None:
    """What is wrong already with a head that has not ended yet; ``None`` if it may still become one."""
    if len(partial) > limits.head_bytes:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if len(partial) > limits.line_bytes and partial.find(b"\r\n", 0, limits.line_bytes + 2) < 0:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    lines = partial.count(b"\r\n")
    has_bare_end = partial.count(b"\n") != lines or partial.count(b"\r") - partial.endswith(b"\r") != lines
    return HTTPStatus.BAD_REQUEST if has_bare_end or b"\0" in partial else None


def _is_method(method: bytes) -> bool:
    return method != b"CONNECT" and _METHOD.fullmatch(method) is not None
