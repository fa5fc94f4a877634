"""Verdicts as values, for who asks in the same process: who it is, or what to tell the client."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keywright.domain.scopes import is_covered
from keywright.domain.times import format_instant
from keywright.errors import KeywrightError
from keywright.verifier import verdicts
from keywright.verifier.http.answers import Answers
from keywright.verifier.http.responses import Dater, read_fields, take_apart
from keywright.verifier.keys.acceptance import Acceptance
from keywright.verifier.keys.credentials import Field
from keywright.verifier.keys.records import Entry
from keywright.verifier.keys.rights import Permits
from keywright.verifier.verdicts import Refusal

__all__ = ["Allowed", "Denied", "Identity", "RefusedError", "ValueForm", "Verdict", "require"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks. ``subject`` is the key's owner, or ``apikey:`` and ``key``, which is ``namespace/name``.

    ``owner`` with ``groups`` is on whose behalf the key acts, ``None`` for a key without one. ``scopes`` are patterns
    (``agents:*``). ``expires_at`` is ``None`` for a key without an end.
    """

    subject: str
    key: str
    key_id: str
    class_name: str
    role: str | None
    scopes: tuple[str, ...]
    expires_at: datetime | None
    owner: str | None = None
    groups: tuple[str, ...] = ()

    def grants(self, scope: str) -> bool:
        """Whether the key has this scope."""
        return is_covered(scope, self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The request may pass. ``identity`` is ``None`` where no key was needed; ``fields`` are for the client."""

    identity: Identity | None
    fields: Sequence[Field] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """What to tell the client instead."""

    status: int
    fields: Sequence[Field]
    body: bytes


Verdict = Allowed | Denied


class RefusedError(KeywrightError):
    """A key that may not do what it is about to. ``scopes`` are those that would do."""

    def __init__(self, refusal: Refusal, scopes: Sequence[str] = ()) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
        self.scopes = scopes


def require(scope: Mapping[str, Any], *scopes: str) -> Identity:
    """Who asks, in the code behind an ASGI middleware. ``scope`` is the connection's.

    Raises:
        RefusedError: if no key was presented, or one without all of ``scopes``. The middleware answers it.

    """
    identity: Identity | None = scope["keywright"]
    if identity is None:
        raise RefusedError(verdicts.MISSING)
    if not all(map(identity.grants, scopes)):
        raise RefusedError(verdicts.INSUFFICIENT_SCOPE, scopes)
    return identity


class ValueForm:
    """Verdicts as values. Refusals say what the verifier says over HTTP."""

    def __init__(self, acceptance: Acceptance) -> None:
        self._answers = Answers(acceptance, Dater())

    def allow(self, entry: Entry, permits: Permits, now: float, fields: bytes = b"") -> Verdict:
        path = entry.path.decode()
        ends_at = datetime.fromtimestamp(entry.ends_at, UTC) if math.isfinite(entry.ends_at) else None
        for_client = read_fields(fields)
        if ends_at is not None and (entry.is_retiring or entry.ends_at - now <= permits.warn_before):
            for_client.append((b"x-auth-key-expires", format_instant(ends_at).encode("ascii")))
        identity = Identity(
            subject=entry.owner or f"apikey:{path}",
            key=path,
            key_id=entry.key_id.decode(),
            class_name=entry.class_name,
            role=permits.role,
            scopes=permits.scopes,
            expires_at=ends_at,
            owner=entry.owner,
            groups=entry.groups,
        )
        return Allowed(identity=identity, fields=for_client)

    def allow_anonymous(self, now: float) -> Verdict:  # noqa: ARG002 - the form of all answers
        return Allowed(identity=None)

    def refuse(
        self,
        refusal: Refusal,
        now: float,
        *,
        for_nginx: bool = False,
        scopes: Sequence[str] = (),
        fields: bytes = b"",
    ) -> Verdict:
        answer = self._answers.refuse(refusal, now, for_nginx=for_nginx, scopes=scopes, fields=fields)
        status, found, body = take_apart(answer)
        return Denied(status=status, fields=found, body=body)
