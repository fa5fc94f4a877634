"""May the owner of a key do this? Asks the API server (SubjectAccessReview), and remembers the answer for a short time.

A yes that is remembered is a right that may have been taken away since, for as long as it is remembered; a no that is
remembered keeps a client that does not give up from asking the API server each time. So both are kept, equally short.
What cannot be found out is a refusal.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from keywright.kube.client import ApiClient
from keywright.kube.errors import ApiError, ForbiddenError
from keywright.kube.resources import SUBJECTACCESSREVIEWS
from keywright.verifier import verdicts
from keywright.verifier.keys.fair_queue import FairQueue
from keywright.verifier.keys.records import Entry
from keywright.verifier.metrics import Metrics, OwnerAnswer
from keywright.verifier.owners.rights import Right
from keywright.verifier.verdicts import Refusal

__all__ = ["CONCURRENT", "Consent", "Owners"]

logger = logging.getLogger(__name__)

CONCURRENT = 8
"""Reviews at a time."""
WAITING = 256
DEADLINE = 2.0  # seconds for a request, its time in the queue included
# A question that could not be answered is asked again no sooner, or an API server in trouble gets one a request.
PAUSE = 1.0
COMPLAIN_SECONDS = 60.0  # between lines about it
# Clients may choose what a question is about where a rule takes a segment of the path.
KEPT = 4096

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
ACCOUNTS = "system:serviceaccounts"
_ACCOUNT = "system:serviceaccount:"
_ANONYMOUS = "system:anonymous"

Consent = Refusal | None
"""``None``: the owner may."""

_Question = tuple[str, tuple[str, ...], Right]


@dataclass(slots=True, eq=False)
class _Flight:
    """One review, waiting or under way, for everybody who asks the same."""

    question: _Question
    begun_at: float
    outcome: asyncio.Future[Consent]


class Owners:
    """Answers are kept for ``keep`` seconds, counted from when they were asked for. ``client`` is set before there are
    requests.
    """

    def __init__(self, metrics: Metrics, *, keep: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.client: ApiClient
        self._metrics = metrics
        self._keep = keep
        self._monotonic = monotonic
        self._known: dict[_Question, tuple[float, Consent]] = {}
        self._flights: dict[_Question, _Flight] = {}
        self._queue: FairQueue[_Flight] = FairQueue(WAITING)
        self._workers: set[asyncio.Task[None]] = set()
        self._complained_at = -math.inf

    def ask(self, entry: Entry, right: Right) -> Consent | Coroutine[Any, Any, Consent]:
        """Whether the owner of a key has a right, at once if that is known."""
        # No key acts with rights that no RBAC can take away, whoever wrote it into a status.
        if entry.owner is None or MASTERS in entry.groups:
            return verdicts.OWNER_MAY_NOT
        question = (entry.owner, entry.groups, right)
        known = self._known.get(question)
        if known is not None and self._monotonic() < known[0]:
            self._metrics.owner_answers[OwnerAnswer.REMEMBERED] += 1
            return known[1]
        flight = self._flights.get(question)
        if flight is None:
            outcome: asyncio.Future[Consent] = asyncio.get_running_loop().create_future()
            flight = self._flights[question] = _Flight(question, self._monotonic(), outcome)
            if len(self._workers) < CONCURRENT:
                worker = asyncio.get_running_loop().create_task(self._work(flight))
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
            elif (displaced := self._queue.push(entry.namespace, entry.key_id, flight)) is not None:
                self._metrics.owner_answers[OwnerAnswer.OVERFLOWED] += 1
                self._land(displaced, verdicts.OWNER_UNKNOWN)
        return self._wait(flight.outcome)

    async def _wait(self, outcome: asyncio.Future[Consent]) -> Consent:
        try:
            # Shielded, because a client that goes away must not take the others' outcome with it.
            async with asyncio.timeout(DEADLINE):
                return await asyncio.shield(outcome)
        except TimeoutError:
            return verdicts.OWNER_UNKNOWN

    async def _work(self, flight: _Flight | None) -> None:
        """Ask one question, then those that wait meanwhile."""
        while flight is not None:
            asked_at = self._monotonic()
            consent: Consent = verdicts.OWNER_UNKNOWN
            try:
                # Whoever waited for longer has been refused by now.
                if asked_at - flight.begun_at < DEADLINE:
                    consent = await self._review(flight.question)
                    self._remember(flight.question, asked_at, consent)
            finally:
                self._land(flight, consent)
            flight = self._queue.pop()

    async def _review(self, question: _Question) -> Consent:
        user, groups, right = question
        spec = {"user": user, "groups": _as_known(user, groups), **right.attributes()}
        manifest = {"apiVersion": SUBJECTACCESSREVIEWS.api_version, "kind": "SubjectAccessReview", "spec": spec}
        try:
            async with asyncio.timeout(DEADLINE):
                answer = await self.client.create(SUBJECTACCESSREVIEWS, None, manifest)
            may = answer["status"]["allowed"] is True
        except (ApiError, TimeoutError, KeyError, TypeError) as error:
            self._metrics.owner_answers[OwnerAnswer.FAILED] += 1
            self._complain(error)
            return verdicts.OWNER_UNKNOWN
        self._metrics.owner_answers[OwnerAnswer.ALLOWED if may else OwnerAnswer.DENIED] += 1
        return None if may else verdicts.OWNER_MAY_NOT

    def _remember(self, question: _Question, asked_at: float, consent: Consent) -> None:
        self._known.pop(question, None)
        if len(self._known) >= KEPT:
            # The oldest: what is renewed goes to the end.
            del self._known[next(iter(self._known))]
        seconds = PAUSE if consent is verdicts.OWNER_UNKNOWN else self._keep
        self._known[question] = (asked_at + seconds, consent)

    def _land(self, flight: _Flight, consent: Consent) -> None:
        del self._flights[flight.question]
        flight.outcome.set_result(consent)

    def _complain(self, error: Exception) -> None:
        # Trouble comes and goes with each question.
        if self._monotonic() - self._complained_at < COMPLAIN_SECONDS:
            return
        self._complained_at = self._monotonic()
        if isinstance(error, ForbiddenError):
            problem = "this account may not create subjectaccessreviews: bind keywright-owner-reviewer to it"
        else:
            problem = f"the API server did not say: {error if isinstance(error, ApiError) else type(error).__name__}"
        logger.error("requests whose rules ask for the rights of an owner are answered 503: %s", problem)


def _as_known(user: str, groups: tuple[str, ...]) -> list[str]:
    """The groups, and those that everybody is in once the API server has let him in (as for ``kubectl --as``)."""
    found = list(groups)
    if user.startswith(_ACCOUNT):
        found += [ACCOUNTS, f"{ACCOUNTS}:{user.removeprefix(_ACCOUNT).partition(':')[0]}"]
    if user != _ANONYMOUS:
        found.append(AUTHENTICATED)
    return list(dict.fromkeys(found))
