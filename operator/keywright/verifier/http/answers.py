"""Verdicts as HTTP answers (DESIGN section 7).

Refusals are rendered once for each set of accepted classes, because their challenges name its schemes. Answers
for allowed keys are joined from parts that hold bytes already.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from keywright.domain.times import format_instant
from keywright.verifier.http.responses import Dater, Template, problem
from keywright.verifier.keys.acceptance import Acceptance
from keywright.verifier.keys.records import Entry
from keywright.verifier.keys.rights import Permits
from keywright.verifier.verdicts import REFUSALS, Refusal

__all__ = ["REALM", "Answers"]

REALM = "keywright"

# What nginx's auth_request carries to the client; it makes a 500 of anything else.
_NGINX_CARRIES = frozenset({401, 403})

_ALLOWED = b"HTTP/1.1 200 OK\r\n"
_OWNER = b"Content-Length: 0\r\nCache-Control: no-store\r\nX-Auth-Subject: "
_SUBJECT = _OWNER + b"apikey:"
_KEY = b"\r\nX-Auth-Key: "
_KEY_ID = b"\r\nX-Auth-Key-Id: "
# Nobody, in so many words: a header that is missing would let the client's own copy through.
_ANONYMOUS = (
    _OWNER + b"-\r\nX-Auth-Key: -\r\nX-Auth-Key-Id: -\r\nX-Auth-Class: -\r\nX-Auth-Role: -\r\nX-Auth-Scopes: -\r\n\r\n"
)


class Answers:
    """Renders verdicts for one :class:`Acceptance`."""

    __slots__ = ("_acceptance", "_dater", "_for_nginx", "_refusals")

    def __init__(self, acceptance: Acceptance, dater: Dater) -> None:
        self._acceptance = acceptance
        self._dater = dater
        self._refusals = {each: _refusal(each, acceptance) for each in REFUSALS}
        self._for_nginx = {each: _refusal(each, acceptance, for_nginx=True) for each in REFUSALS}

    def allow(self, entry: Entry, permits: Permits, now: float, fields: bytes = b"") -> bytes:
        """200 with all identity headers, and with ``fields`` (whole lines). Where there is nothing to say it is ``-``:
        some proxies skip an empty value and let the client's own header through.
        """
        path, lines = entry.path, permits.lines
        if entry.is_retiring or entry.ends_at - now <= permits.warn_before:
            ends_at = format_instant(datetime.fromtimestamp(entry.ends_at, UTC)).encode("ascii")
            lines = b"\r\nX-Auth-Key-Expires: " + ends_at + lines
        date = self._dater.line(now)
        if entry.owner is None:
            return b"".join((_ALLOWED, date, fields, _SUBJECT, path, _KEY, path, _KEY_ID, entry.key_id, lines))
        owner = entry.owner.encode("ascii")
        return b"".join((_ALLOWED, date, fields, _OWNER, owner, _KEY, path, _KEY_ID, entry.key_id, lines))

    def allow_anonymous(self, now: float) -> bytes:
        """200 for a request that needs no key, with every identity header saying nobody, whatever was presented."""
        return _ALLOWED + self._dater.line(now) + _ANONYMOUS

    def refuse(
        self,
        refusal: Refusal,
        now: float,
        *,
        for_nginx: bool = False,
        scopes: Sequence[str] = (),
        fields: bytes = b"",
    ) -> bytes:
        """The answer for a refusal, in nginx's terms when its configuration asked for them, with ``fields`` (whole
        lines). ``scopes`` are those that would do: only who has proven a key is told, so that one is rendered anew
        each time.
        """
        if scopes:
            line, rest = _refusal(refusal, self._acceptance, for_nginx=for_nginx, scopes=scopes)
        else:
            line, rest = (self._for_nginx if for_nginx else self._refusals)[refusal]
        return self._dater.complete((line, fields + rest), now)


def _refusal(
    refusal: Refusal, acceptance: Acceptance, *, for_nginx: bool = False, scopes: Sequence[str] = ()
) -> Template:
    error = f', error="{refusal.error}"' if refusal.error is not None else ""
    if scopes:
        error += f', scope="{" ".join(scopes)}"'
    schemes = acceptance.challenges if refusal.is_challenged else ()
    headers = [f'WWW-Authenticate: {scheme} realm="{REALM}"{error}' for scheme in schemes]
    if refusal.retry_after is not None:
        headers.append(f"Retry-After: {refusal.retry_after}")
    status = refusal.status
    if for_nginx and status not in _NGINX_CARRIES:
        headers.append(f"X-Auth-Status: {status}")
        status = 403
    return problem(status, code=refusal.code, detail=refusal.detail, headers=headers)
