"""The operator's figures."""

from typing import Any

from keywright.exposition import expose
from keywright.reconcile.metrics import MAX_SERIES, Metrics
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster


def roster(keys: int = 0, **status: Any) -> Roster:
    """ApiKeys with this status."""
    made = Roster(lambda _: None)
    for number in range(keys):
        name = f"key-{number}"
        metadata = {
            "name": name,
            "uid": f"uid-{number}",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        made.observe(Ref("payments", name), {"metadata": metadata, "status": status})
    return made


def text(metrics: Metrics, known: Roster) -> str:
    return expose(metrics.samples(roster=known, queue_depth=3, watch_age=lambda: 1.5)).decode()


def test_what_happened_is_counted() -> None:
    """By result, by reason, with the time it took."""
    metrics = Metrics(per_key=False)
    metrics.reconciled("done", 0.25)
    metrics.reconciled("done", 0.25)
    metrics.reconciled("conflict", 1)
    metrics.transitioned("KeyIssued")
    metrics.fell_due(0.5)
    metrics.fell_due(-1)
    with metrics.argon2():
        pass
    lines = text(metrics, roster()).splitlines()
    for line in (
        'keywright_operator_reconciles_total{result="done"} 2',
        'keywright_operator_reconcile_seconds_total{result="done"} 0.5',
        'keywright_operator_reconciles_total{result="conflict"} 1',
        'keywright_operator_transitions_total{reason="KeyIssued"} 1',
        "keywright_operator_argon2_runs_total 1",
        "keywright_operator_due_total 2",
        "keywright_operator_due_lag_seconds_total 0.5",
        "keywright_operator_queue_depth 3",
        "keywright_operator_watch_age_seconds 1.5",
        "keywright_operator_apikeys 0",
    ):
        assert line in lines


def test_each_apikey_has_its_instants() -> None:
    """Only those it has; none at all when they are switched off; bounded in number."""
    known = roster(1, issuedAt="2026-01-01T00:00:00Z", expiresAt="2026-01-02T00:00:00Z")
    shown = text(Metrics(per_key=True), known)
    assert 'keywright_apikey_expiration_timestamp_seconds{namespace="payments",name="key-0"} 1767312000' in shown
    assert 'keywright_apikey_issue_timestamp_seconds{namespace="payments",name="key-0"} 1767225600' in shown
    assert "keywright_apikey_rotation_timestamp_seconds{" not in shown
    assert "keywright_apikey" not in text(Metrics(per_key=False), known)
    many = text(Metrics(per_key=True), roster(MAX_SERIES + 5, issuedAt="2026-01-01T00:00:00Z"))
    assert many.count("keywright_apikey_issue_timestamp_seconds{") == MAX_SERIES
