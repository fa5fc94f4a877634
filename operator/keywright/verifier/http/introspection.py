"""``POST /introspect`` (RFC 7662) on the admin listener: whose key is this, and what may it do?

A caller presents a key of its own, which has to be live, to have the scope that introspection takes here, and to be
among the callers that the verifier was told of. Whatever is not an active key gets one and the same answer.
Nothing is charged to rate limits: who wants requests judged asks ``/verify``.
"""

import json
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import parse_qsl

from keywright.verifier import verdicts
from keywright.verifier.freshness import Freshness
from keywright.verifier.http.answers import Answers
from keywright.verifier.http.request import Body, Request
from keywright.verifier.http.responses import Dater, problem, text
from keywright.verifier.http.watched import Watched
from keywright.verifier.keys.acceptance import Acceptance
from keywright.verifier.keys.credentials import AUTHORIZATION, Field, Presented, find_key
from keywright.verifier.keys.engine import Engine
from keywright.verifier.keys.records import Entry
from keywright.verifier.keys.rights import Permits
from keywright.verifier.metrics import Introspected, Metrics
from keywright.verifier.rules.needs import Need
from keywright.verifier.usage import Used
from keywright.verifier.verdicts import Code, Refusal

__all__ = ["PATH", "Introspection"]

PATH = b"/introspect"
LONGEST = 8 * 1024
"""Bytes of a body. A key has at most a hundred."""

_CONTENT_TYPE = b"content-type"
_FORM = b"application/x-www-form-urlencoded"
_MOST_FIELDS = 8

_NOT_ALLOWED = problem(405, headers=("Allow: POST",))
_NO_LENGTH = problem(411)
_TOO_LONG = problem(413)
_NO_FORM = problem(
    400,
    code=Code.INVALID_REQUEST,
    detail=f"Send the key as token=… in a body of the type {_FORM.decode()}, once.",
)
_INACTIVE = text(200, b'{"active": false}', "application/json")


class Introspection:
    """The handler of one path. ``callers`` are ApiKeys (``namespace/name``), ``scope`` is what they need."""

    def __init__(
        self,
        engine: Engine,
        freshness: Freshness,
        metrics: Metrics,
        dater: Dater,
        *,
        scope: str,
        callers: Collection[str],
        used: Used | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._freshness = freshness
        self._metrics = metrics
        self._dater = dater
        self._need = Need(scopes=(scope,))
        self._callers = frozenset(each.encode("ascii") for each in callers)
        self._used = used
        self._wall_clock = wall_clock
        self._watched = Watched({_CONTENT_TYPE})

    @property
    def watched(self) -> Watched:
        """The headers that may carry the caller's key, and the type of the body."""
        return self._watched

    def publish(self, acceptance: Acceptance) -> None:
        """Judge by other classes from the next request on."""
        self._acceptance = acceptance
        self._answers = Answers(acceptance, self._dater)
        self._watched.carry({AUTHORIZATION, *acceptance.headers} - self._watched.telling)

    def answer(self, request: Request) -> bytes | Body:
        """Answer a request, once its body is there."""
        fields, request.credentials = request.credentials, []
        types = [value for name, value in request.told if name == _CONTENT_TYPE]
        template = None
        if request.method != b"POST":
            template = _NOT_ALLOWED
        elif request.has_body and request.length is None:
            template = _NO_LENGTH
        elif request.has_body and request.length is not None and request.length > LONGEST:
            template = _TOO_LONG
        if template is not None:
            return self._dater.complete(template, self._wall_clock())
        length = request.length or 0 if request.has_body else 0
        return Body(length, lambda body: self._introspect(fields, types, body))

    async def _introspect(self, fields: list[Field], types: Sequence[bytes], body: bytes) -> bytes:
        caller = await self._judge_caller(fields)
        if isinstance(caller, Refusal):
            return self._refuse(caller, self._need.scopes if caller.code is Code.INSUFFICIENT_SCOPE else ())
        token = _read_token(types, body)
        if token is None:
            self._metrics.introspected[Introspected.REFUSED] += 1
            return self._dater.complete(_NO_FORM, self._wall_clock())
        found = await self._judge(Presented(token, self._acceptance.classes))
        # No verdict on the key, so none that it is inactive either.
        if isinstance(found, Refusal) and found.code is Code.UNAVAILABLE:
            return self._refuse(found)
        now = self._wall_clock()
        # The proof may have taken its time, and the caller's key may have ended meanwhile.
        ended = self._engine.judge_again(caller, now)
        if isinstance(ended, Refusal):
            return self._refuse(ended)
        if isinstance(found, Refusal):
            self._metrics.introspected[Introspected.INACTIVE] += 1
            return self._dater.complete(_INACTIVE, now)
        self._metrics.introspected[Introspected.ACTIVE] += 1
        self._note_use(found, now)
        document = _describe(found, found.rights.under(self._acceptance.classes[found.class_name]))
        return self._dater.complete(text(200, json.dumps(document).encode("ascii"), "application/json"), now)

    async def _judge_caller(self, fields: Sequence[Field]) -> Entry | Refusal:
        if not self._freshness.is_fresh():
            return verdicts.NOT_IN_SYNC
        presented = find_key(fields, self._acceptance)
        if isinstance(presented, Refusal):
            return presented
        caller = await self._judge(presented)
        if isinstance(caller, Refusal):
            return caller
        refusal = self._need.judge(caller.rights.under(self._acceptance.classes[caller.class_name]))
        if refusal is not None:
            return refusal
        if caller.path not in self._callers:
            return verdicts.NOT_A_CALLER
        self._note_use(caller, self._wall_clock())
        return caller

    async def _judge(self, presented: Presented) -> Entry | Refusal:
        """The verdict on a key, proven if need be. Nothing is awaited after it was made."""
        outcome = await self._engine.judge_through(lambda: presented, self._freshness, self._wall_clock)
        if isinstance(outcome, Entry) and outcome.class_name not in self._acceptance.classes:
            return verdicts.INVALID
        return outcome

    def _note_use(self, entry: Entry, now: float) -> None:
        if self._used is not None:
            self._used[entry] = now

    def _refuse(self, refusal: Refusal, scopes: Sequence[str] = ()) -> bytes:
        self._metrics.introspected[Introspected.REFUSED] += 1
        return self._answers.refuse(refusal, self._wall_clock(), scopes=scopes)


def _read_token(types: Sequence[bytes], body: bytes) -> bytes | None:
    """The one token of a form; ``None`` if there is no such thing."""
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != _FORM:
        return None
    try:
        form = body.decode("ascii")
        fields = parse_qsl(form, keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS)
        tokens = [value for name, value in fields if name == "token"]
    except ValueError:
        return None
    return tokens[0].encode() if len(tokens) == 1 and tokens[0] else None


def _describe(entry: Entry, permits: Permits) -> dict[str, Any]:
    """What is told of an active key (RFC 7662 section 2.2). Where owners decide, scopes would say too much."""
    path = entry.path.decode("ascii")
    told = {
        "active": True,
        "sub": entry.owner or f"apikey:{path}",
        "client_id": path,
        "username": entry.owner,
        "scope": None if permits.needs_owner else " ".join(permits.scopes) or None,
        "exp": int(entry.ends_at) if math.isfinite(entry.ends_at) else None,
        "iat": entry.issued_at,
        "jti": entry.key_id.decode("ascii"),
        "keywright_class": entry.class_name,
        "keywright_role": permits.role,
        "keywright_authorization": "Owner" if permits.needs_owner else "Scopes",
    }
    return {name: value for name, value in told.items() if value is not None}
