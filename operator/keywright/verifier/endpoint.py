"""``/verify``: from a request head to an answer.

The steps stand here in their order: where the request came in, what it needs, is the picture fresh, which key does it
present, what is the verdict on that key, may it do what the request needs, and may that be charged to its limits.
"""

import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from keywright.verifier import verdicts
from keywright.verifier.acceptance import Acceptance
from keywright.verifier.answers import Answers
from keywright.verifier.credentials import AUTHORIZATION, Field, find_key
from keywright.verifier.engine import Engine, Outcome, Unproven
from keywright.verifier.freshness import Freshness
from keywright.verifier.gate import Gate
from keywright.verifier.limiter import Limiter, Ruling
from keywright.verifier.limits import Charged, ClassLimits, Quota, quota_of
from keywright.verifier.metrics import Metrics
from keywright.verifier.needs import ANY_KEY, NOT_UNDERSTOOD, Need, add_scopes
from keywright.verifier.queries import PLAIN, Asked, read_query
from keywright.verifier.records import Entry
from keywright.verifier.request import Request
from keywright.verifier.responses import Dater, problem
from keywright.verifier.rights import Permits
from keywright.verifier.usage import Used
from keywright.verifier.verdicts import Code, Refusal

__all__ = ["VerifyEndpoint"]

_VERIFY = b"/verify"
_BELOW = b"/verify/"
_WITH_QUERY = b"/verify?"
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
        gate: Gate | None,
        metrics: Metrics,
        dater: Dater,
        *,
        used: Used | None = None,
        also_watched: Collection[bytes] = (),
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limiter = limiter
        self._freshness = freshness
        self._gate = gate
        self._metrics = metrics
        self._dater = dater
        self._used = used
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._always = {AUTHORIZATION, *(gate.headers if gate is not None else ()), *also_watched}
        self._watched = set(self._always)
        self.decided: Entry | Refusal | None = None
        """What the newest answer was about: the allowed key, the refusal, or ``None`` if no key was needed. It is good
        until the loop takes its next turn.
        """

    @property
    def watched(self) -> AbstractSet[bytes]:
        """The headers that may carry a key or the original request. One set for good, so that open connections see it
        change.
        """
        return self._watched

    def publish(self, acceptance: Acceptance) -> None:
        """Judge by other classes from the next request on."""
        self._acceptance = acceptance
        self._answers = Answers(acceptance, self._dater)
        self._watched.clear()
        self._watched |= self._always | set(acceptance.headers)

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """Answer a request, at once unless its key has to be proven first."""
        target, asked, need = request.target, PLAIN, ANY_KEY
        # Taken from the request, which lives as long as its connection: no presented key stays behind.
        fields, request.credentials = request.credentials, []
        if target != _VERIFY and not target.startswith(_BELOW):
            if not target.startswith(_WITH_QUERY):
                return self._dater.complete(_NOT_FOUND, self._wall_clock())
            # Only here has the proxy's configuration written the query; below, the client may have.
            asked = read_query(target[len(_WITH_QUERY) :])
        now = self._wall_clock()
        if self._gate is not None:
            found = self._gate.need(request, fields)
            if isinstance(found, Refusal):
                return self._refuse(found, asked, now)
            need, fields = found, self._gate.credentials(fields)
        if not asked.is_understood:
            need = NOT_UNDERSTOOD
        elif asked.scopes:
            need = add_scopes(need, asked.scopes)
        outcome = self._judge(fields, need, now)
        if isinstance(outcome, Unproven):
            return self._answer_later(fields, outcome, need, asked)
        return self._conclude(outcome, need, asked, now)

    def _judge(self, credentials: list[Field], need: Need, now: float) -> Outcome | None:
        """The verdict on the presented key; ``None`` if it does not matter."""
        if self._monotonic() >= self._freshness.until and not self._freshness.is_fresh():
            return verdicts.NOT_IN_SYNC
        if need.is_anonymous:
            return None
        presented = find_key(credentials, self._acceptance)
        if isinstance(presented, Refusal):
            return presented
        return self._engine.judge(presented, now)

    async def _answer_later(self, credentials: list[Field], unproven: Unproven, need: Need, asked: Asked) -> bytes:
        outcome: Outcome | None = unproven
        for _ in range(_ROUNDS):
            if not isinstance(outcome, Unproven):
                break
            outcome = await self._engine.prove(outcome) or self._judge(credentials, need, self._wall_clock())
        if isinstance(outcome, Unproven):
            outcome = verdicts.BUSY
        answer = self._conclude(outcome, need, asked, self._wall_clock())
        return answer if isinstance(answer, bytes) else await answer

    def _conclude(
        self, outcome: Entry | Refusal | None, need: Need, asked: Asked, now: float
    ) -> bytes | Coroutine[Any, Any, bytes]:
        """The answer: a live key may still not be enough for this request, or its limits may be used up."""
        if isinstance(outcome, Entry):
            permits = outcome.rights.under(self._acceptance.classes[outcome.class_name])
            # Nearly every key of a verifier without rules may pass, and calls cost.
            refusal = need.judge(permits) if need is not ANY_KEY or permits.needs_owner else None
            if refusal is None:
                limits = self._acceptance.limits.get(outcome.class_name)
                if limits is None:
                    return self._allow(self._answers, outcome, permits, now)
                return self._charge(outcome, permits, limits, asked, now)
            return self._refuse(refusal, asked, now, need.scopes if refusal.code is Code.INSUFFICIENT_SCOPE else ())
        if outcome is None:
            self._metrics.allowed += 1
            self.decided = None
            return self._answers.allow_anonymous(now)
        return self._refuse(outcome, asked, now)

    def _charge(
        self, entry: Entry, permits: Permits, limits: ClassLimits, asked: Asked, now: float
    ) -> bytes | Coroutine[Any, Any, bytes]:
        """Charge an allowed request to its limits, and answer it."""
        quota = entry.quota
        if quota is None or quota.source is not limits:
            quota = entry.quota = quota_of(entry.class_name, limits, entry.path, entry.limits)
        ruling = self._limiter.charge(quota)
        if ruling is None or isinstance(ruling, Charged | Refusal):
            return self._rule(ruling, self._answers, entry, permits, quota, asked, now)
        return self._charge_later(ruling, self._answers, entry, permits, quota, asked)

    async def _charge_later(
        self,
        ruling: Coroutine[Any, Any, Ruling],
        answers: Answers,
        entry: Entry,
        permits: Permits,
        quota: Quota,
        asked: Asked,
    ) -> bytes:
        # By the answers of when the request was judged, a few milliseconds ago: the class may have gone since.
        return self._rule(await ruling, answers, entry, permits, quota, asked, self._wall_clock())

    def _rule(
        self, ruling: Ruling, answers: Answers, entry: Entry, permits: Permits, quota: Quota, asked: Asked, now: float
    ) -> bytes:
        if isinstance(ruling, Refusal):
            return self._refuse(ruling, asked, now)
        fields = quota.fields(ruling) if ruling is not None else b""
        if ruling is not None and ruling.retry_after:
            self._metrics.refused[verdicts.RATE_LIMITED.code] += 1
            self.decided = verdicts.RATE_LIMITED
            return answers.refuse(verdicts.RATE_LIMITED, now, for_nginx=asked.for_nginx, fields=fields)
        return self._allow(answers, entry, permits, now, fields)

    def _allow(self, answers: Answers, entry: Entry, permits: Permits, now: float, fields: bytes = b"") -> bytes:
        self._metrics.allowed += 1
        self.decided = entry
        if self._used is not None:
            self._used[entry] = now
        return answers.allow(entry, permits, now, fields)

    def _refuse(self, refusal: Refusal, asked: Asked, now: float, scopes: Sequence[str] = ()) -> bytes:
        self._metrics.refused[refusal.code] += 1
        self.decided = refusal
        return self._answers.refuse(refusal, now, for_nginx=asked.for_nginx, scopes=scopes)
