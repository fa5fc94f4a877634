"""Counters of the verifier.

Plain integers: everything runs in one thread, and a counter in front of every request has to cost nothing.
Labels are constants of this program and never come from a request.
"""

from enum import StrEnum

from keywright.exposition import Histogram, Sample, labels
from keywright.verifier.verdicts import REFUSALS, Code, Refusal

__all__ = ["Introspected", "LimitedBy", "Metrics", "OwnerAnswer"]


# Most answers take some microseconds; those that wait for an argon2 run or for a store take milliseconds and more.
_ANSWER_SECONDS = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2e-2, 0.1, 0.5, 2.0)


class LimitedBy(StrEnum):
    """Who counted a request that limits apply to; the last three while the shared store was away."""

    MEMORY = "memory"
    STORE = "store"
    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


class Introspected(StrEnum):
    """What came of an introspection; refused is the caller, whatever the key."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    REFUSED = "refused"


class OwnerAnswer(StrEnum):
    """How it was found out what an owner may do. All but the first are of reviews, not of requests."""

    REMEMBERED = "remembered"
    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"
    OVERFLOWED = "overflowed"


class Metrics:
    """What has happened since the start. Attributes are counted up where things happen."""

    __slots__ = (
        "allowed",
        "answer_seconds",
        "argon2_refused",
        "argon2_runs",
        "connections_refused",
        "connections_total",
        "fingerprint_refusals",
        "http_errors",
        "introspected",
        "limit_store_losses",
        "limited_by",
        "owner_answers",
        "proof_hits",
        "refused",
        "rules_refused",
        "rules_taken",
        "usage_failures",
        "usage_writes",
    )

    def __init__(self) -> None:
        self.allowed = 0
        self.answer_seconds = Histogram(_ANSWER_SECONDS)
        self.refused: dict[Refusal, int] = dict.fromkeys(REFUSALS, 0)
        self.proof_hits = 0
        self.fingerprint_refusals = 0
        self.argon2_runs = 0
        self.argon2_refused = 0
        self.limited_by: dict[LimitedBy, int] = dict.fromkeys(LimitedBy, 0)
        self.limit_store_losses = 0
        self.owner_answers: dict[OwnerAnswer, int] = dict.fromkeys(OwnerAnswer, 0)
        self.http_errors = 0
        self.introspected: dict[Introspected, int] = dict.fromkeys(Introspected, 0)
        self.connections_total = 0
        self.connections_refused = 0
        self.usage_writes = 0
        self.usage_failures = 0
        self.rules_taken = 0
        self.rules_refused = 0

    def samples(self) -> list[Sample]:
        """The counters as families."""
        return [
            *self.of_judging(),
            (
                "keywright_verifier_answer_duration_seconds",
                "histogram",
                "From a request's head to its answer. Of those given at once, one in 16 is timed and counts for 16.",
                self.answer_seconds.values(),
            ),
            _counter("limit_store_losses", "Connections to the rate limit store lost.", self.limit_store_losses),
            (
                "keywright_verifier_owner_answers_total",
                "counter",
                "What owners may do, by how it was found out.",
                {labels(by=by): float(count) for by, count in self.owner_answers.items()},
            ),
            (
                "keywright_verifier_introspections_total",
                "counter",
                "Introspections by outcome.",
                {labels(outcome=outcome): float(count) for outcome, count in self.introspected.items()},
            ),
            _counter("http_errors", "Requests answered with a plain HTTP error.", self.http_errors),
            _counter("connections", "Connections accepted.", self.connections_total),
            _counter("connections_refused", "Connections refused at the cap.", self.connections_refused),
            _counter("rules_taken", "Rules files that were taken.", self.rules_taken),
            _counter("rules_refused", "Rules files that were missing or wrong.", self.rules_refused),
        ]

    def of_judging(self) -> list[Sample]:
        """Those families that mean the same wherever keys are judged, in a verifier or in another program."""
        decisions = {labels(code=Code.ALLOWED): float(self.allowed)}
        decisions |= {labels(code=each.code, reason=each.reason): float(n) for each, n in self.refused.items()}
        return [
            ("keywright_verifier_decisions_total", "counter", "Decisions by verdict and reason.", decisions),
            _counter("proof_hits", "Decisions on keys that were proven before.", self.proof_hits),
            _counter(
                "fingerprint_refusals",
                "Wrong secrets refused without an argon2 run.",
                self.fingerprint_refusals,
            ),
            _counter("argon2_runs", "Argon2 runs started.", self.argon2_runs),
            _counter("argon2_refused", "First uses refused because the queue was full.", self.argon2_refused),
            (
                "keywright_verifier_limit_decisions_total",
                "counter",
                "Requests that limits apply to, by who counted them.",
                {labels(by=by): float(count) for by, count in self.limited_by.items()},
            ),
            _counter("usage_writes", "ApiKeyUsage objects written.", self.usage_writes),
            _counter("usage_failures", "Attempts at that which failed.", self.usage_failures),
        ]


def _counter(name: str, text: str, value: float) -> Sample:
    return (f"keywright_verifier_{name}_total", "counter", text, {"": float(value)})
