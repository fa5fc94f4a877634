"""The admin listener: is it alive, is it ready, what has it done; and, where it was asked for, introspection."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from keywright.exposition import CONTENT_TYPE, Sample, expose, labels
from keywright.verifier.audit.audit import Audit
from keywright.verifier.freshness import Freshness
from keywright.verifier.http.hub import Hub
from keywright.verifier.http.introspection import PATH, Introspection
from keywright.verifier.http.request import Body, Request
from keywright.verifier.http.responses import Dater, problem, text
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.prover import Prover
from keywright.verifier.keys.records import Entry, KeyState
from keywright.verifier.limits.limiter import Limiter
from keywright.verifier.metrics import Metrics
from keywright.verifier.rules.file import RulesFile

__all__ = ["AdminEndpoint"]

AT_A_STRETCH = 500

_ALIVE = text(200, b"ok\n")
_NOT_FOUND = problem(404)
_NOT_ALLOWED = problem(405, headers=("Allow: GET, HEAD",))


class AdminEndpoint:
    """``/healthz``, ``/readyz`` and ``/metrics``, and ``/introspect`` if it is on."""

    def __init__(
        self,
        *,
        freshness: Freshness,
        index: Index,
        prover: Prover,
        limiter: Limiter,
        metrics: Metrics,
        dater: Dater,
        verify_hub: Hub,
        rules: RulesFile | None,
        introspection: Introspection | None,
        audit: Audit | None,
    ) -> None:
        self._freshness = freshness
        self._index = index
        self._prover = prover
        self._limiter = limiter
        self._metrics = metrics
        self._dater = dater
        self._verify_hub = verify_hub
        self._rules = rules
        self._introspection = introspection
        self._audit = audit

    @property
    def watched(self) -> AbstractSet[bytes]:
        """Nothing in a header matters, but to introspection."""
        return self._introspection.watched if self._introspection is not None else frozenset()

    def answer(self, request: Request) -> bytes | Body | Coroutine[Any, Any, bytes]:
        """Answer one of these paths."""
        if request.target == PATH and self._introspection is not None:
            return self._introspection.answer(request)
        # Taken from the request, which lives as long as its connection.
        request.credentials = []
        path = request.target.partition(b"?")[0]
        if path not in (b"/healthz", b"/readyz", b"/metrics"):
            template = _NOT_FOUND
        elif request.method not in (b"GET", b"HEAD"):
            template = _NOT_ALLOWED
        elif path == b"/healthz":
            template = _ALIVE
        elif path == b"/readyz":
            problem_now = self._unready()
            template = text(200, b"ok\n") if problem_now is None else text(503, problem_now)
        else:
            return self._expose()
        return self._dater.complete(template, time.time())

    def _unready(self) -> bytes | None:
        if self._verify_hub.is_stopping:
            return b"stopping\n"
        if not self._freshness.is_synced():
            return b"not yet in sync with the API server\n"
        if not self._freshness.is_fresh():
            return b"nothing heard from the API server for too long\n"
        if self._rules is not None and self._rules.rules is None:
            return b"no rules yet: the file of --rules is missing or wrong, see the log\n"
        return None

    async def _expose(self) -> bytes:
        samples = self._metrics.samples() + self._gauges()
        samples += self._audit.samples() if self._audit is not None else []
        samples.append(await self._states())
        return self._dater.complete(text(200, expose(samples), CONTENT_TYPE), time.time())

    async def _states(self) -> Sample:
        """Keys by state, counted in turns, or every scrape of a hundred thousand would hold up requests."""
        entries = self._index.entries.values()
        try:
            counts = await _count(entries)
        except RuntimeError:
            # Keys came or went meanwhile. Copying takes some milliseconds at a stretch, but a copy stands still.
            counts = await _count(list(entries))
        values = {labels(state=state): float(counts[state]) for state in KeyState}
        return ("keywright_verifier_keys_by_state", "gauge", "Key records by what became of them.", values)

    def _gauges(self) -> list[Sample]:
        age, is_store_up = self._freshness.age(), self._limiter.is_store_up
        return [
            _gauge("keys", "Key records in the index.", len(self._index.entries)),
            _gauge("argon2_waiting", "Argon2 runs waiting for their turn.", self._prover.waiting),
            _gauge("limit_windows", "Rate limit windows held in memory.", self._limiter.windows),
            *(
                [_gauge("limit_store_up", "Whether the rate limit store answers.", is_store_up)]
                if is_store_up is not None
                else []
            ),
            _gauge("connections_open", "Open client connections.", len(self._verify_hub.connections)),
            _gauge("ready", "Whether verdicts are given.", self._unready() is None),
            *(
                [_gauge("rules_current", "Whether the rules are those of their file.", self._rules.is_current)]
                if self._rules is not None
                else []
            ),
            *(
                [_gauge("watch_age_seconds", "Since the API server was last heard of.", age)]
                if math.isfinite(age)
                else []
            ),
        ]


async def _count(entries: Iterable[Entry]) -> Counter[KeyState]:
    counts, now, unseen = Counter[KeyState](), time.time(), iter(entries)
    while some := [each.state(now) for each in islice(unseen, AT_A_STRETCH)]:
        counts.update(some)
        await asyncio.sleep(0)
    return counts


def _gauge(name: str, text: str, value: float) -> Sample:
    return (f"keywright_verifier_{name}", "gauge", text, {"": float(value)})
