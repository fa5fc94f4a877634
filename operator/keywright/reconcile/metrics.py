"""Figures of the operator (named after cert-manager's pattern: component, object, what, unit).

Everything runs in one event loop, so plain numbers do. What is counted is told where it is counted; what can be read
off the roster, the queue and the watches is read when somebody asks.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keywright.exposition import Sample, labels
from keywright.reconcile.roster import Roster

__all__ = ["Metrics"]

MAX_SERIES = 10_000


class Metrics:
    """Counted up where things happen. ``per_key`` offers three instants of each ApiKey, up to :data:`MAX_SERIES`."""

    def __init__(self, *, per_key: bool) -> None:
        self._per_key = per_key
        self._reconciles: Counter[str] = Counter()
        self._reconcile_seconds: dict[str, float] = defaultdict(float)
        self._transitions: Counter[str] = Counter()
        self._argon2_runs = 0
        self._argon2_seconds = 0.0
        self._due = 0
        self._due_lag_seconds = 0.0

    def reconciled(self, result: str, seconds: float) -> None:
        """One look at one ApiKey: ``done``, ``conflict``, ``refused`` by the API server, or ``failed``."""
        self._reconciles[result] += 1
        self._reconcile_seconds[result] += seconds

    def transitioned(self, reason: str) -> None:
        """One event, by its reason."""
        self._transitions[reason] += 1

    def fell_due(self, lag: float) -> None:
        """A due time was met, so many seconds late."""
        self._due += 1
        self._due_lag_seconds += max(lag, 0.0)

    @contextmanager
    def argon2(self) -> Iterator[None]:
        """Time one hash, waiting for a thread included."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._argon2_runs += 1
            self._argon2_seconds += time.monotonic() - started

    def samples(self, *, roster: Roster, queue_depth: int, watch_age: Callable[[], float]) -> list[Sample]:
        """Every family, as of now."""
        return [
            (
                "keywright_operator_reconciles_total",
                "counter",
                "Looks at an ApiKey, by result.",
                {labels(result=each): float(count) for each, count in self._reconciles.items()},
            ),
            (
                "keywright_operator_reconcile_seconds_total",
                "counter",
                "Time that these took.",
                {labels(result=each): seconds for each, seconds in self._reconcile_seconds.items()},
            ),
            (
                "keywright_operator_transitions_total",
                "counter",
                "Events about ApiKeys, by reason.",
                {labels(reason=each): float(count) for each, count in self._transitions.items()},
            ),
            _plain("argon2_runs_total", "counter", "Hashes made or checked.", self._argon2_runs),
            _plain("argon2_seconds_total", "counter", "Time that these took, waiting included.", self._argon2_seconds),
            _plain("due_total", "counter", "Due times that were met.", self._due),
            _plain("due_lag_seconds_total", "counter", "By how much they were met late.", self._due_lag_seconds),
            _plain("queue_depth", "gauge", "ApiKeys waiting or being looked at.", queue_depth),
            _plain("watch_age_seconds", "gauge", "Since the API server was last heard of.", watch_age()),
            _plain("apikeys", "gauge", "ApiKeys known.", len(roster)),
            *(self._instants(roster) if self._per_key else ()),
        ]

    @staticmethod
    def _instants(roster: Roster) -> Iterator[Sample]:
        facts = [each for _, each in zip(range(MAX_SERIES), roster.instants(), strict=False)]
        for field, text in (
            ("expiration", "When the current key ends."),
            ("rotation", "When the current key will be replaced."),
            ("issue", "When the ApiKey was first issued."),
        ):
            values = {
                labels(namespace=ref.namespace, name=ref.name): instants[field]
                for ref, instants in facts
                if field in instants
            }
            yield (f"keywright_apikey_{field}_timestamp_seconds", "gauge", text, values)


def _plain(name: str, kind: str, text: str, value: float) -> Sample:
    return (f"keywright_operator_{name}", kind, text, {"": float(value)})
