"""Counters of the verifier.

Plain integers: everything runs in one thread, and a counter in front of every request has to cost nothing.
Labels are constants of this program and never come from a request.
"""

from collections.abc import Mapping

from keywright.exposition import Sample, labels
from keywright.verifier.verdicts import Code

__all__ = ["Metrics"]


class Metrics:
    """What has happened since the start. Attributes are counted up where things happen."""

    __slots__ = (
        "allowed",
        "argon2_refused",
        "argon2_runs",
        "connections_refused",
        "connections_total",
        "fingerprint_refusals",
        "http_errors",
        "proof_hits",
        "refused",
        "rules_refused",
        "rules_taken",
    )

    def __init__(self) -> None:
        self.allowed = 0
        self.refused: dict[Code, int] = {each: 0 for each in Code if each is not Code.ALLOWED}
        self.proof_hits = 0
        self.fingerprint_refusals = 0
        self.argon2_runs = 0
        self.argon2_refused = 0
        self.http_errors = 0
        self.connections_total = 0
        self.connections_refused = 0
        self.rules_taken = 0
        self.rules_refused = 0

    def samples(self) -> list[Sample]:
        """The counters as families."""
        by_code = {Code.ALLOWED: self.allowed, **self.refused}
        return [
            ("keywright_verifier_decisions_total", "counter", "Decisions by verdict.", _by_code(by_code)),
            _counter("proof_hits", "Decisions on keys that were proven before.", self.proof_hits),
            _counter(
                "fingerprint_refusals",
                "Wrong secrets refused without an argon2 run.",
                self.fingerprint_refusals,
            ),
            _counter("argon2_runs", "Argon2 runs started.", self.argon2_runs),
            _counter("argon2_refused", "First uses refused because the queue was full.", self.argon2_refused),
            _counter("http_errors", "Requests answered with a plain HTTP error.", self.http_errors),
            _counter("connections", "Connections accepted.", self.connections_total),
            _counter("connections_refused", "Connections refused at the cap.", self.connections_refused),
            _counter("rules_taken", "Rules files that were taken.", self.rules_taken),
            _counter("rules_refused", "Rules files that were missing or wrong.", self.rules_refused),
        ]


def _by_code(counts: Mapping[Code, int]) -> Mapping[str, float]:
    return {labels(code=code): float(count) for code, count in counts.items()}


def _counter(name: str, text: str, value: float) -> Sample:
    return (f"keywright_verifier_{name}_total", "counter", text, {"": float(value)})
