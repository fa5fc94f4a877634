"""``/verify``: from a request head to an answer.

The steps stand here in their order: where the request came in, is the picture fresh, which key does it present,
what is the verdict, and may a request that is allowed be charged to its limits. What a request needs beyond a live
key joins between the verdict and the charge.
"""

import time
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any

from keywright.verifier import verdicts
from keywright.verifier.acceptance import Acceptance
from keywright.verifier.answers import Answers
from keywright.verifier.credentials import AUTHORIZATION, Field, find_key
from keywright.verifier.engine import Engine, Outcome, Unproven
from keywright.verifier.freshness import Freshness
from keywright.verifier.limiter import Limiter, Ruling
from keywright.verifier.limits import Charged, Quota, quota_of
from keywright.verifier.metrics import Metrics
from keywright.verifier.records import Entry
from keywright.verifier.request import Request
from keywright.verifier.responses import Dater, problem
from keywright.verifier.verdicts import Refusal

__all__ = ["VerifyEndpoint"]

_VERIFY = b"/verify"
_BELOW = b"/verify/"
_WITH_QUERY = b"/verify?"
_FOR_NGINX = b"deny=nginx"
_SCOPE = b"scope"
_NOT_FOUND = problem(404)
# A record that changes under every single proof is not going to settle.
_ROUNDS = 3


class VerifyEndpoint:
    """The handler of the verify listener. It serves ``/verify`` and nothing else."""

    def __init__(
        self,
        engine: Engine,
        limiter: Limiter,
        freshness: Freshness,
        metrics: Metrics,
        dater: Dater,
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limiter = limiter
        self._freshness = freshness
        self._metrics = metrics
        self._dater = dater
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._watched = {AUTHORIZATION}

    @property
    def watched(self) -> AbstractSet[bytes]:
        """The headers that may carry a key. One set for good, so that open connections see it change."""
        return self._watched

    def publish(self, acceptance: Acceptance) -> None:
        """Judge by other classes from the next request on."""
        self._acceptance = acceptance
        self._answers = Answers(acceptance, self._dater)
        self._watched.clear()
        self._watched |= {AUTHORIZATION, *acceptance.headers}

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """Answer a request, at once unless its key has to be proven first."""
        target, for_nginx, needs_scope = request.target, False, False
        # Taken from the request, which lives as long as its connection: no presented key stays behind.
        credentials, request.credentials = request.credentials, []
        if target != _VERIFY and not target.startswith(_BELOW):
            if not target.startswith(_WITH_QUERY):
                return self._dater.complete(_NOT_FOUND, self._wall_clock())
            # Only here has the proxy's configuration written the query; below, the client may have.
            asked = target[len(_WITH_QUERY) :].split(b"&")
            for_nginx = _FOR_NGINX in asked
            # No key has scopes yet, so a required one is missing: ignoring it would let everybody through.
            needs_scope = _SCOPE in target.lower()
        now = self._wall_clock()
        outcome = self._judge(credentials, now)
        if needs_scope and isinstance(outcome, Entry | Unproven):
            outcome = verdicts.INSUFFICIENT_SCOPE
        if isinstance(outcome, Entry):
            return self._charge(outcome, now, for_nginx=for_nginx)
        if isinstance(outcome, Unproven):
            return self._answer_later(credentials, outcome, for_nginx=for_nginx)
        return self._refuse(outcome, now, for_nginx=for_nginx)

    def _judge(self, credentials: list[Field], now: float) -> Outcome:
        if self._monotonic() >= self._freshness.until and not self._freshness.is_fresh():
            return verdicts.NOT_IN_SYNC
        presented = find_key(credentials, self._acceptance)
        if isinstance(presented, Refusal):
            return presented
        return self._engine.judge(presented, now)

    async def _answer_later(self, credentials: list[Field], unproven: Unproven, *, for_nginx: bool) -> bytes:
        outcome: Outcome = unproven
        for _ in range(_ROUNDS):
            if not isinstance(outcome, Unproven):
                break
            outcome = await self._engine.prove(outcome) or self._judge(credentials, self._wall_clock())
        now = self._wall_clock()
        if isinstance(outcome, Entry):
            answer = self._charge(outcome, now, for_nginx=for_nginx)
            return answer if isinstance(answer, bytes) else await answer
        return self._refuse(outcome if isinstance(outcome, Refusal) else verdicts.BUSY, now, for_nginx=for_nginx)

    def _charge(self, entry: Entry, now: float, *, for_nginx: bool) -> bytes | Coroutine[Any, Any, bytes]:
        """Charge an allowed request to its limits, and answer it."""
        limits = self._acceptance.limits.get(entry.class_name)
        if limits is None:
            self._metrics.allowed += 1
            return self._answers.allow(entry, now)
        quota = entry.quota
        if quota is None or quota.source is not limits:
            quota = entry.quota = quota_of(entry.class_name, limits, entry.path, entry.limits)
        ruling = self._limiter.charge(quota)
        if ruling is None or isinstance(ruling, Charged | Refusal):
            return self._conclude(ruling, self._answers, entry, quota, now, for_nginx=for_nginx)
        return self._charge_later(ruling, self._answers, entry, quota, for_nginx=for_nginx)

    async def _charge_later(
        self,
        ruling: Coroutine[Any, Any, Ruling],
        answers: Answers,
        entry: Entry,
        quota: Quota,
        *,
        for_nginx: bool,
    ) -> bytes:
        # By the answers of when the request was judged, a few milliseconds ago: the class may have gone since.
        return self._conclude(await ruling, answers, entry, quota, self._wall_clock(), for_nginx=for_nginx)

    def _conclude(
        self, ruling: Ruling, answers: Answers, entry: Entry, quota: Quota, now: float, *, for_nginx: bool
    ) -> bytes:
        if isinstance(ruling, Refusal):
            return self._refuse(ruling, now, for_nginx=for_nginx)
        fields = quota.fields(ruling) if ruling is not None else b""
        if ruling is not None and ruling.retry_after:
            self._metrics.refused[verdicts.RATE_LIMITED.code] += 1
            return answers.refuse(verdicts.RATE_LIMITED, now, for_nginx=for_nginx, fields=fields)
        self._metrics.allowed += 1
        return answers.allow(entry, now, fields)

    def _refuse(self, refusal: Refusal, now: float, *, for_nginx: bool) -> bytes:
        self._metrics.refused[refusal.code] += 1
        return self._answers.refuse(refusal, now, for_nginx=for_nginx)
