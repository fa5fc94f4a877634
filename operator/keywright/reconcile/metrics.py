"""Figures of the operator (named after cert-manager's pattern: component, object, what, unit).

Everything runs in one event loop, so plain numbers do. What is counted is told where it is counted; what can be read
off the roster, the queue and the watches is read when somebody asks.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keywright.exposition import Histogram, Sample, labels
from keywright.reconcile.roster import Roster

__all__ = ["Metrics"]

MAX_SERIES = 10_000
# The API server's own words for a refusal, and those of its webhooks, which are free to invent more.
MAX_REASONS = 200
RECONCILE_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
DUE_LAG_BOUNDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # seconds


class Metrics:
    """Counted up where things happen. ``per_key`` offers the instants of each ApiKey, up to :data:`MAX_SERIES`."""

    def __init__(self, *, per_key: bool) -> None:
        self._per_key = per_key
        self._reconciles: Counter[tuple[str, str]] = Counter()
        self._reconcile_seconds: dict[str, Histogram] = {}
        self._transitions: Counter[str] = Counter()
        self._argon2_runs = 0
        self._argon2_seconds = 0.0
        self._due_lag = Histogram(DUE_LAG_BOUNDS)

    def reconciled(self, result: str, reason: str, seconds: float) -> None:
        """One look at one ApiKey: ``done``, ``conflict``, ``refused`` by the API server, or ``failed``. The reason is
        that of the ApiKey afterwards, or the API server's word.
        """
        is_known = (result, reason) in self._reconciles
        is_usable = is_known or (len(self._reconciles) < MAX_REASONS and reason.isascii() and reason.isalpha())
        self._reconciles[result, reason if is_usable else "Other"] += 1
        self._reconcile_seconds.setdefault(result, Histogram(RECONCILE_BOUNDS)).observe(seconds)

    def transitioned(self, reason: str) -> None:
        """One event, by its reason."""
        self._transitions[reason] += 1

    def fell_due(self, lag: float) -> None:
        """What was due has been looked at, so many seconds late."""
        self._due_lag.observe(max(lag, 0.0))

    @contextmanager
    def argon2(self) -> Iterator[None]:
        """Time one hash, waiting for a thread included."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._argon2_runs += 1
            self._argon2_seconds += time.monotonic() - started

    def samples(
        self, *, roster: Roster, queue_depth: int, overdue: float, watch_age: Callable[[], float], leads: bool
    ) -> list[Sample]:
        """Every family, as of now."""
        return [
            (
                "keywright_operator_reconciles_total",
                "counter",
                "Looks at an ApiKey, by result and reason.",
                {labels(result=result, reason=why): float(count) for (result, why), count in self._reconciles.items()},
            ),
            (
                "keywright_operator_reconcile_duration_seconds",
                "histogram",
                "How long these took.",
                {
                    name: value
                    for result, taken in self._reconcile_seconds.items()
                    for name, value in taken.values(result=result).items()
                },
            ),
            (
                "keywright_operator_transitions_total",
                "counter",
                "Events about ApiKeys, by reason.",
                {labels(reason=each): float(count) for each, count in self._transitions.items()},
            ),
            _plain("argon2_runs_total", "counter", "Hashes made or checked.", self._argon2_runs),
            _plain("argon2_seconds_total", "counter", "Time that these took, waiting included.", self._argon2_seconds),
            (
                "keywright_operator_due_lag_seconds",
                "histogram",
                "From a due time until its ApiKey has been looked at.",
                self._due_lag.values(),
            ),
            _plain("overdue_seconds", "gauge", "Lateness of the oldest due time that was not met yet.", overdue),
            _plain("leading", "gauge", "1 while this replica does the work.", float(leads)),
            _plain("queue_depth", "gauge", "ApiKeys waiting or being looked at.", queue_depth),
            _plain("watch_age_seconds", "gauge", "Since the API server was last heard of.", watch_age()),
            _plain("apikeys", "gauge", "ApiKeys known.", len(roster)),
            (
                "keywright_operator_apikeys_stalled",
                "gauge",
                "ApiKeys that wait for a person, by reason.",
                {labels(reason=reason): float(count) for reason, count in roster.stalled().items()},
            ),
            *(self._instants(roster) if self._per_key else ()),
        ]

    @staticmethod
    def _instants(roster: Roster) -> Iterator[Sample]:
        facts = [each for _, each in zip(range(MAX_SERIES), roster.instants(), strict=False)]
        for field, text in (
            ("expiration", "When the current key ends."),
            ("rotation", "When the current key will be replaced."),
            ("issue", "When the ApiKey was first issued."),
            ("replaced_key_expiration", "When a replaced key ends that was used since."),
            ("replaced_key_use", "When it was last used, as far as recorded."),
        ):
            values = {
                labels(namespace=ref.namespace, name=ref.name): instants[field]
                for ref, instants in facts
                if field in instants
            }
            yield (f"keywright_apikey_{field}_timestamp_seconds", "gauge", text, values)


def _plain(name: str, kind: str, text: str, value: float) -> Sample:
    return (f"keywright_operator_{name}", kind, text, {"": float(value)})
