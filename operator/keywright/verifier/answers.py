"""Verdicts as HTTP answers (DESIGN section 7).

Refusals are rendered once for each set of accepted classes, because their challenges name its schemes. Answers
for allowed keys are joined from parts that hold bytes already.
"""

from datetime import UTC, datetime

from keywright.domain.times import format_instant
from keywright.verifier.acceptance import Acceptance
from keywright.verifier.records import Entry
from keywright.verifier.responses import Dater, Template, problem
from keywright.verifier.verdicts import REFUSALS, Refusal

__all__ = ["REALM", "Answers"]

REALM = "keywright"

# What nginx's auth_request carries to the client; it makes a 500 of anything else.
_NGINX_CARRIES = frozenset({401, 403})

_ALLOWED = b"HTTP/1.1 200 OK\r\n"
_SUBJECT = b"Content-Length: 0\r\nCache-Control: no-store\r\nX-Auth-Subject: apikey:"
_KEY = b"\r\nX-Auth-Key: "
_KEY_ID = b"\r\nX-Auth-Key-Id: "


class Answers:
    """Renders verdicts for one :class:`Acceptance`."""

    __slots__ = ("_classes", "_dater", "_for_nginx", "_refusals")

    def __init__(self, acceptance: Acceptance, dater: Dater) -> None:
        self._dater = dater
        self._refusals = {each: _refusal(each, acceptance) for each in REFUSALS}
        self._for_nginx = {each: _refusal(each, acceptance, for_nginx=True) for each in REFUSALS}
        self._classes = {
            each.name: (_class_lines(each.name), each.warn_before)
            for carrier in (*acceptance.schemes.values(), *acceptance.headers.values())
            for each in carrier.values()
        }

    def allow(self, entry: Entry, now: float, fields: bytes = b"") -> bytes:
        """200 with all identity headers, and with ``fields`` (whole lines). What is not said yet is ``-``: some
        proxies skip an empty value and let the client's own header through.
        """
        class_lines, warn_before = self._classes[entry.class_name]
        path = entry.path
        if entry.is_retiring or entry.ends_at - now <= warn_before:
            ends_at = format_instant(datetime.fromtimestamp(entry.ends_at, UTC)).encode("ascii")
            class_lines = b"\r\nX-Auth-Key-Expires: " + ends_at + class_lines
        return b"".join(
            (_ALLOWED, self._dater.line(now), fields, _SUBJECT, path, _KEY, path, _KEY_ID, entry.key_id, class_lines)
        )

    def refuse(self, refusal: Refusal, now: float, *, for_nginx: bool = False, fields: bytes = b"") -> bytes:
        """The answer for a refusal, in nginx's terms when its configuration asked for them, with ``fields``."""
        line, rest = (self._for_nginx if for_nginx else self._refusals)[refusal]
        return self._dater.complete((line, fields + rest), now)


def _refusal(refusal: Refusal, acceptance: Acceptance, *, for_nginx: bool = False) -> Template:
    error = f', error="{refusal.error}"' if refusal.error is not None else ""
    schemes = acceptance.challenges if refusal.is_challenged else ()
    headers = [f'WWW-Authenticate: {scheme} realm="{REALM}"{error}' for scheme in schemes]
    if refusal.retry_after is not None:
        headers.append(f"Retry-After: {refusal.retry_after}")
    status = refusal.status
    if for_nginx and status not in _NGINX_CARRIES:
        headers.append(f"X-Auth-Status: {status}")
        status = 403
    return problem(status, code=refusal.code, detail=refusal.detail, headers=headers)


def _class_lines(name: str) -> bytes:
    return f"\r\nX-Auth-Class: {name}\r\nX-Auth-Role: -\r\nX-Auth-Scopes: -\r\n\r\n".encode("ascii")
