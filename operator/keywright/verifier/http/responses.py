"""HTTP responses as bytes: built once at start, completed with the date of the second they are sent in."""

import json
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

__all__ = ["Dater", "Template", "bodiless", "closing", "problem", "read_fields", "take_apart", "text"]

Template = tuple[bytes, bytes]
"""Status line, and all that follows the Date header."""

_END_OF_HEAD = b"\r\n\r\n"


class Dater:
    """The ``Date`` header (RFC 9110 section 6.6.1), rendered once a second."""

    __slots__ = ("_from", "_line", "_until")

    def __init__(self) -> None:
        self._from = self._until = 0.0
        self._line = b""

    def line(self, now: float) -> bytes:
        """The header line for ``now``, seconds since the epoch."""
        if not self._from <= now < self._until:
            self._from = float(int(now))
            self._until = self._from + 1
            self._line = f"Date: {formatdate(self._from, usegmt=True)}\r\n".encode("ascii")
        return self._line

    def complete(self, template: Template, now: float) -> bytes:
        """A template as it goes onto the wire."""
        return template[0] + self.line(now) + template[1]


def problem(
    status: int, *, detail: str | None = None, code: str | None = None, headers: Iterable[str] = ()
) -> Template:
    """A problem document (RFC 9457). ``code`` is there for verdicts only, not for errors of plain HTTP."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    document |= {"code": code} if code is not None else {}
    document |= {"detail": detail} if detail is not None else {}
    body = json.dumps(document).encode("ascii")
    return _template(status, body, "application/problem+json", headers)


def text(status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> Template:
    """A plain answer."""
    return _template(status, body, content_type, ())


def closing(response: bytes) -> bytes:
    """The same response, announcing that the connection ends with it."""
    return response.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def bodiless(response: bytes) -> bytes:
    """The same response without its body, as HEAD wants it (RFC 9110 section 9.3.2)."""
    return response[: response.index(_END_OF_HEAD) + len(_END_OF_HEAD)]


def take_apart(response: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, fields and body of a response of our own, for who says it in another form. The date is left to him."""
    head, _, body = response.partition(_END_OF_HEAD)
    line, _, lines = head.partition(b"\r\n")
    return int(line.split(b" ")[1]), [each for each in read_fields(lines) if each[0] != b"date"], body


def read_fields(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Header lines of our own as fields, with their names in lower case."""
    pairs = (each.partition(b": ") for each in lines.split(b"\r\n") if each)
    return [(name.lower(), value) for name, _, value in pairs]


def _template(status: int, body: bytes, content_type: str, headers: Iterable[str]) -> Template:
    lines = [
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        *headers,
    ]
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode("ascii")
    return line, "\r\n".join(lines).encode("ascii") + _END_OF_HEAD + body
