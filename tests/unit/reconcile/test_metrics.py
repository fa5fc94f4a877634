"""The operator's figures."""

from typing import Any

from keywright.exposition import expose
from keywright.reconcile.metrics import MAX_REASONS, MAX_SERIES, Metrics
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster


def roster(keys: int = 0, /, **status: Any) -> Roster:
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
    return expose(metrics.samples(roster=known, queue_depth=3, overdue=2.5, watch_age=lambda: 1.5, leads=True)).decode()


def test_what_happened_is_counted() -> None:
    """By result, by reason, with the time it took."""
    metrics = Metrics(per_key=False)
    metrics.reconciled("done", "KeyIssued", 0.25)
    metrics.reconciled("done", "KeyIssued", 0.02)
    metrics.reconciled("conflict", "Conflict", 1)
    metrics.transitioned("KeyIssued")
    metrics.fell_due(0.5)
    metrics.fell_due(-1)
    with metrics.argon2():
        pass
    lines = text(metrics, roster()).splitlines()
    for line in (
        'keywright_operator_reconciles_total{result="done",reason="KeyIssued"} 2',
        'keywright_operator_reconcile_duration_seconds_bucket{result="done",le="0.01"} 0',
        'keywright_operator_reconcile_duration_seconds_bucket{result="done",le="0.025"} 1',
        'keywright_operator_reconcile_duration_seconds_bucket{result="done",le="0.25"} 2',
        'keywright_operator_reconcile_duration_seconds_bucket{result="done",le="+Inf"} 2',
        'keywright_operator_reconcile_duration_seconds_sum{result="done"} 0.27',
        'keywright_operator_reconcile_duration_seconds_count{result="done"} 2',
        'keywright_operator_reconciles_total{result="conflict",reason="Conflict"} 1',
        'keywright_operator_transitions_total{reason="KeyIssued"} 1',
        "keywright_operator_argon2_runs_total 1",
        'keywright_operator_due_lag_seconds_bucket{le="0.1"} 1',
        'keywright_operator_due_lag_seconds_bucket{le="0.5"} 2',
        "keywright_operator_due_lag_seconds_sum 0.5",
        "keywright_operator_due_lag_seconds_count 2",
        "keywright_operator_overdue_seconds 2.5",
        "keywright_operator_leading 1",
        "keywright_operator_queue_depth 3",
        "keywright_operator_watch_age_seconds 1.5",
        "keywright_operator_apikeys 0",
    ):
        assert line in lines


def test_reasons_of_others_are_bounded() -> None:
    """A webhook may answer with words of its own: neither many of them nor odd ones become series."""
    metrics = Metrics(per_key=False)
    for first in range(26):
        for second in range(26):
            metrics.reconciled("refused", chr(97 + first) + chr(97 + second), 0.1)
    metrics.reconciled("refused", 'quoted"', 0.1)
    shown = text(metrics, roster())
    assert shown.count("keywright_operator_reconciles_total{") == MAX_REASONS + 1
    assert 'reason="Other"} 477' in shown
    assert "quoted" not in shown


def test_who_waits_for_a_person_is_counted_by_reason() -> None:
    """Only reasons of our own vocabulary, whatever a status says."""
    stalled = {"type": "Stalled", "status": "True", "reason": "SecretConflict"}
    shown = text(Metrics(per_key=False), roster(2, conditions=[stalled]))
    assert 'keywright_operator_apikeys_stalled{reason="SecretConflict"} 2' in shown
    shown = text(Metrics(per_key=False), roster(1, conditions=[stalled | {"reason": 'x"} 1'}]))
    assert 'keywright_operator_apikeys_stalled{reason="Unknown"} 1' in shown
    shown = text(Metrics(per_key=False), roster(1, conditions=[stalled | {"status": "False"}]))
    assert "keywright_operator_apikeys_stalled{" not in shown


def test_each_apikey_has_its_instants() -> None:
    """Only those it has; none at all when they are switched off; bounded in number."""
    known = roster(1, issuedAt="2026-01-01T00:00:00Z", expiresAt="2026-01-02T00:00:00Z")
    shown = text(Metrics(per_key=True), known)
    assert 'keywright_apikey_expiration_timestamp_seconds{namespace="payments",name="key-0"} 1767312000' in shown
    assert 'keywright_apikey_issue_timestamp_seconds{namespace="payments",name="key-0"} 1767225600' in shown
    assert "keywright_apikey_rotation_timestamp_seconds{" not in shown
    assert "keywright_apikey" not in text(Metrics(per_key=False), known)
    revoked = {"expiresAt": "2026-01-02T00:00:00Z", "revokedAt": "2026-01-01T00:00:00Z"}
    assert "keywright_apikey_expiration_timestamp_seconds{" not in text(Metrics(per_key=True), roster(1, **revoked))
    many = text(Metrics(per_key=True), roster(MAX_SERIES + 5, issuedAt="2026-01-01T00:00:00Z"))
    assert many.count("keywright_apikey_issue_timestamp_seconds{") == MAX_SERIES


def test_a_replaced_key_that_is_still_used_has_its_instants() -> None:
    """Its end and its last use; of several the one that ends first. One that rests, or has just been issued, has none."""

    def key(key_id: str, state: str, **fields: str) -> dict[str, str]:
        return {"id": key_id, "state": state, "issuedAt": "2026-01-01T00:00:00Z"} | fields

    current = key("c", "Current", lastUsedAt="2026-01-01T03:00:00Z")
    soon = key("a", "Retiring", lastUsedAt="2026-01-01T01:00:00Z", expiresAt="2026-01-02T00:00:00Z")
    late = key("b", "Retiring", lastUsedAt="2026-01-01T02:00:00Z", expiresAt="2026-01-03T00:00:00Z")
    shown = text(Metrics(per_key=True), roster(1, keys=[current, late, soon]))
    labels = '{namespace="payments",name="key-0"}'
    assert f"keywright_apikey_replaced_key_expiration_timestamp_seconds{labels} 1767312000" in shown
    assert f"keywright_apikey_replaced_key_use_timestamp_seconds{labels} 1767229200" in shown
    for resting in ({"lastUsedAt": "2025-12-31T23:59:59Z"}, {"lastUsedAt": "2026-01-01T00:00:00Z"}):
        shown = text(Metrics(per_key=True), roster(1, keys=[current, soon | resting]))
        assert "keywright_apikey_replaced_key_use_timestamp_seconds{" not in shown
