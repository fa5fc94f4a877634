"""The judgement of one request, whatever form the request and the answer have.

The steps stand here in their order: is the picture fresh, which key is presented, what is the verdict on that key, may
it do what the request needs, may that be charged to its limits, and where a rule asks for it: may its owner do it.
Where a request came in and what it needs is the business of who asks; a :class:`Form` says what an answer is, so that
none is made twice.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from keywright.verifier import verdicts
from keywright.verifier.freshness import Freshness
from keywright.verifier.keys.acceptance import Acceptance
from keywright.verifier.keys.credentials import AUTHORIZATION, Field, Presented, find_key
from keywright.verifier.keys.engine import ROUNDS, Engine, Unproven
from keywright.verifier.keys.records import Entry
from keywright.verifier.keys.rights import Permits
from keywright.verifier.limits.limiter import Limiter, Ruling
from keywright.verifier.limits.limits import Charged, ClassLimits, Quota, quota_of
from keywright.verifier.metrics import Metrics
from keywright.verifier.owners.owners import Consent, Owners
from keywright.verifier.rules.needs import ANY_KEY, Need
from keywright.verifier.rules.queries import Asked
from keywright.verifier.usage import Used
from keywright.verifier.verdicts import Code, Refusal

__all__ = ["Form", "Judge"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Form(Protocol[T_co]):
    """Turns verdicts into answers. ``fields`` are whole header lines."""

    def allow(self, entry: Entry, permits: Permits, now: float, fields: bytes = b"") -> T_co:
        """The answer for a live key that may pass."""

    def allow_anonymous(self, now: float) -> T_co:
        """The answer for a request that needs no key."""

    def refuse(
        self,
        refusal: Refusal,
        now: float,
        *,
        for_nginx: bool = False,
        scopes: Sequence[str] = (),
        fields: bytes = b"",
    ) -> T_co:
        """The answer for a refusal; ``scopes`` are those that would do."""


class Judge(Generic[T]):
    """Judges requests by the newest picture, and answers in the form that ``form`` makes for each set of classes."""

    def __init__(
        self,
        engine: Engine,
        limiter: Limiter,
        owners: Owners,
        freshness: Freshness,
        metrics: Metrics,
        form: Callable[[Acceptance], Form[T]],
        *,
        used: Used | None = None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limiter = limiter
        self._owners = owners
        self._freshness = freshness
        self._metrics = metrics
        self._form = form
        self._used = used
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self.decided: Entry | Refusal | None = None
        """What the newest answer was about: the allowed key, the refusal, or ``None`` if no key was needed. It is good
        until the loop takes its next turn.
        """

    def publish(self, acceptance: Acceptance) -> None:
        """Judge by other classes from the next request on."""
        self._acceptance = acceptance
        self._answers = self._form(acceptance)
        self.carriers = frozenset({AUTHORIZATION, *acceptance.headers})
        """The headers that may carry a key, in lower case."""
        self.schemes = frozenset(acceptance.schemes)
        """The schemes of Authorization that may carry one, in lower case."""
        self.class_names = frozenset(acceptance.classes)
        """The classes whose keys are accepted."""

    def judge(
        self, credentials: list[Field], need: Need, asked: Asked, now: float, rounds: int = ROUNDS
    ) -> T | Coroutine[Any, Any, T]:
        """Answer a request that needs this much and presents ``credentials`` (its :attr:`carriers`), at once
        unless its key has to be proven first, or a shared store has to be asked. ``now`` is the wall clock, in seconds.
        """
        outcome: Entry | Refusal | None = None
        if self._monotonic() >= self._freshness.until and not self._freshness.is_fresh():
            outcome = verdicts.NOT_IN_SYNC
        elif not need.is_anonymous:
            presented = find_key(credentials, self._acceptance)
            found = presented if isinstance(presented, Refusal) else self._engine.judge(presented, now)
            if not isinstance(found, Unproven):
                outcome = found
            elif rounds:
                return self._prove_first(credentials, found, need, asked, rounds)
            else:
                outcome = verdicts.BUSY
        return self._conclude(outcome, need, asked, now)

    async def judge_alone(self, text: bytes, need: Need, asked: Asked) -> T:
        """Answer a request on behalf of a key that came without a carrier: any that its class accepts would do."""
        answer = self._conclude(await self._judge_alone(text), need, asked, self._wall_clock())
        return await answer if isinstance(answer, Coroutine) else answer

    def judge_known(self, entry: Entry, need: Need, asked: Asked, now: float) -> T | Coroutine[Any, Any, T]:
        """Answer a request on behalf of a key that was proven a while ago, by how it stands now."""
        if not self._freshness.is_fresh():
            return self._conclude(verdicts.NOT_IN_SYNC, need, asked, now)
        return self._conclude(self._engine.judge_again(entry, now), need, asked, now)

    def refuse(self, refusal: Refusal, asked: Asked, now: float, scopes: Sequence[str] = (), fields: bytes = b"") -> T:
        """Answer a request that can be refused without a look at its key, or after one."""
        self._metrics.refused[refusal] += 1
        self.decided = refusal
        return self._answers.refuse(refusal, now, for_nginx=asked.for_nginx, scopes=scopes, fields=fields)

    async def _judge_alone(self, text: bytes) -> Entry | Refusal:
        def present() -> Presented:
            carried = {name: each for name, each in self._acceptance.classes.items() if each.schemes or each.headers}
            return Presented(text, carried)

        return await self._engine.judge_through(present, self._freshness, self._wall_clock)

    async def _prove_first(
        self, credentials: list[Field], unproven: Unproven, need: Need, asked: Asked, rounds: int
    ) -> T:
        refusal = await self._engine.prove(unproven)
        if refusal is not None:
            return self.refuse(refusal, asked, self._wall_clock())
        answer = self.judge(credentials, need, asked, self._wall_clock(), rounds - 1)
        return await answer if isinstance(answer, Coroutine) else answer

    def _conclude(
        self, outcome: Entry | Refusal | None, need: Need, asked: Asked, now: float
    ) -> T | Coroutine[Any, Any, T]:
        """The answer: a live key may still not be enough for this request, or its limits may be used up."""
        if isinstance(outcome, Entry):
            permits = outcome.rights.under(self._acceptance.classes[outcome.class_name])
            # Nearly every key of a verifier without rules may pass, and calls cost.
            refusal = need.judge(permits) if need is not ANY_KEY or permits.needs_owner else None
            if refusal is None:
                limits = self._acceptance.limits.get(outcome.class_name)
                if limits is None:
                    return self._allow(self._answers, outcome, permits, need, asked, now)
                return self._charge(outcome, permits, limits, need, asked, now)
            return self.refuse(refusal, asked, now, need.scopes if refusal.code is Code.INSUFFICIENT_SCOPE else ())
        if outcome is None:
            self._metrics.allowed += 1
            self.decided = None
            return self._answers.allow_anonymous(now)
        return self.refuse(outcome, asked, now)

    def _charge(
        self, entry: Entry, permits: Permits, limits: ClassLimits, need: Need, asked: Asked, now: float
    ) -> T | Coroutine[Any, Any, T]:
        """Charge an allowed request to its limits, and answer it."""
        quota = entry.quota
        if quota is None or quota.source is not limits:
            quota = entry.quota = quota_of(entry.class_name, limits, entry.path, entry.limits)
        ruling = self._limiter.charge(quota)
        if ruling is None or isinstance(ruling, Charged | Refusal):
            return self._rule(ruling, self._answers, entry, permits, quota, need, asked, now)
        return self._charge_later(ruling, self._answers, entry, permits, quota, need, asked)

    async def _charge_later(
        self,
        ruling: Coroutine[Any, Any, Ruling],
        answers: Form[T],
        entry: Entry,
        permits: Permits,
        quota: Quota,
        need: Need,
        asked: Asked,
    ) -> T:
        # By the answers of when the request was judged, a few milliseconds ago: the class may have gone since.
        answer = self._rule(await ruling, answers, entry, permits, quota, need, asked, self._wall_clock())
        return await answer if isinstance(answer, Coroutine) else answer

    def _rule(
        self,
        ruling: Ruling,
        answers: Form[T],
        entry: Entry,
        permits: Permits,
        quota: Quota,
        need: Need,
        asked: Asked,
        now: float,
    ) -> T | Coroutine[Any, Any, T]:
        if isinstance(ruling, Refusal):
            return self.refuse(ruling, asked, now)
        fields = quota.fields(ruling) if ruling is not None else b""
        if ruling is not None and ruling.retry_after:
            self._metrics.refused[verdicts.RATE_LIMITED] += 1
            self.decided = verdicts.RATE_LIMITED
            return answers.refuse(verdicts.RATE_LIMITED, now, for_nginx=asked.for_nginx, fields=fields)
        return self._allow(answers, entry, permits, need, asked, now, fields)

    def _allow(
        self,
        answers: Form[T],
        entry: Entry,
        permits: Permits,
        need: Need,
        asked: Asked,
        now: float,
        fields: bytes = b"",
    ) -> T | Coroutine[Any, Any, T]:
        if need.right is not None:
            consent = self._owners.ask(entry, need.right)
            if isinstance(consent, Refusal):
                return self.refuse(consent, asked, now, fields=fields)
            if consent is not None:
                return self._allow_later(consent, entry, need, asked, fields)
        self._metrics.allowed += 1
        self.decided = entry
        if self._used is not None:
            self._used[entry] = now
        return answers.allow(entry, permits, now, fields)

    async def _allow_later(
        self, consent: Coroutine[Any, Any, Consent], entry: Entry, need: Need, asked: Asked, fields: bytes
    ) -> T:
        refusal, now = await consent, self._wall_clock()
        # The owner may; but the watch may have brought in anything meanwhile, the end of the key included.
        found = refusal if refusal is not None else self._judge_again(entry, need, now)
        if isinstance(found, Refusal):
            scopes = need.scopes if found.code is Code.INSUFFICIENT_SCOPE else ()
            return self.refuse(found, asked, now, scopes, fields)
        # Nothing is left to be asked.
        answer = self._allow(self._answers, *found, ANY_KEY, asked, now, fields)
        return await answer if isinstance(answer, Coroutine) else answer

    def _judge_again(self, entry: Entry, need: Need, now: float) -> tuple[Entry, Permits] | Refusal:
        """The key as it stands now, and what it may do."""
        if not self._freshness.is_fresh():
            return verdicts.NOT_IN_SYNC
        outcome = self._engine.judge_again(entry, now)
        if isinstance(outcome, Refusal):
            return outcome
        key_class = self._acceptance.classes.get(outcome.class_name)
        if key_class is None:
            return verdicts.INVALID
        if (outcome.owner, outcome.groups) != (entry.owner, entry.groups):
            return verdicts.OWNER_UNKNOWN
        permits = outcome.rights.under(key_class)
        return need.judge(permits) or (outcome, permits)
