"""The figures of running processes, as Prometheus reads them."""

import re
from pathlib import Path

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT, Namespaces
from tests.support.console import console, console_account
from tests.support.kube import Kube, eventually
from tests.support.processes import free_address, get, operator, verifier
from tests.support.promtool import complaints

DOCUMENTED = (ROOT / "docs/metrics.md").read_text()


def families(exposition: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+) ", exposition, re.MULTILINE))


def is_documented(family: str) -> bool:
    """By its name, or by its ending in a row that has several."""
    return family in DOCUMENTED or any(f"`…{family[at:]}`" in DOCUMENTED for at in range(len(family)))


def test_the_operator_exposes_what_its_page_says(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Issued, rotated, due, refused: every family is there, well formed, linted, and in docs/metrics.md."""
    namespace = make_namespace(own_admin)
    probes = free_address()
    flags = ["--health-listen", probes, "--lease", f"{namespace}/operator"]
    with operator(own_plane.kubeconfig, tmp_path / "o", *flags, namespaces=[namespace], ready=False) as process:
        eventually(lambda: get(probes, "/readyz")[0] == 200, within=40, what=process.log)
        own_admin.put_secret(namespace, {"metadata": {"name": "taken"}, "stringData": {"mine": "yes"}})
        own_admin.apikey(namespace, "taken")
        own_admin.apikey(namespace, "short", ttl="3s")
        own_admin.apikey(namespace, "rotating", ttl="90d", rotation={})
        own_admin.wait(namespace, "taken", Stalled="True/SecretConflict", within=40)
        own_admin.wait(namespace, "short", Active="False/KeyExpired", within=40)
        own_admin.wait(namespace, "rotating", Active="True", within=40)

        def settled() -> str | None:
            shown = get(probes, "/metrics")[2]
            return shown if "keywright_operator_queue_depth 0\n" in shown else None

        shown = eventually(settled)
    assert complaints(shown) == ""
    assert [each for each in families(shown) if not is_documented(each)] == []
    assert "keywright_operator_leading 1\n" in shown
    assert 'keywright_operator_apikeys_stalled{reason="SecretConflict"} 1\n' in shown
    assert 'keywright_operator_transitions_total{reason="KeyExpired"} 1\n' in shown
    for family in ("expiration", "rotation", "issue"):
        assert f'keywright_apikey_{family}_timestamp_seconds{{namespace="{namespace}",name="rotating"}}' in shown
    for pattern in (
        r'^keywright_operator_reconciles_total\{result="done",reason="SecretConflict"\} [1-9]',
        r'^keywright_operator_reconcile_duration_seconds_count\{result="done"\} [1-9]',
        r"^keywright_operator_due_lag_seconds_count [1-9]",
        r"^keywright_operator_argon2_runs_total [1-9]",
    ):
        assert re.search(pattern, shown, re.MULTILINE), pattern


def test_the_verifier_exposes_what_its_page_says(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """After an accepted and a refused request."""
    namespace = make_namespace(own_admin)
    with (
        operator(own_plane.kubeconfig, tmp_path / "o", namespaces=[namespace]),
        verifier(own_plane.kubeconfig, tmp_path / "v", "--audit", str(tmp_path / "a"), namespaces=[namespace]) as (
            _,
            listen,
            admin_listen,
        ),
    ):
        own_admin.apikey(namespace, "key")
        own_admin.wait(namespace, "key", Active="True", within=40)
        plain = own_admin.plain_key(namespace, "key")
        eventually(lambda: get(listen, X_API_Key=plain)[0] == 200)
        assert get(listen, X_API_Key="nonsense")[0] == 401
        shown = get(admin_listen, "/metrics")[2]
    assert complaints(shown) == ""
    assert [each for each in families(shown) if not is_documented(each)] == []
    assert "keywright_verifier_keys 1\n" in shown
    assert 'keywright_verifier_keys_by_state{state="live"} 1\n' in shown
    assert re.search(r"^keywright_verifier_audit_lines_total [1-9]", shown, re.MULTILINE)


def test_the_console_exposes_what_its_page_says(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """After requests with a key, before and after it was revoked: counted as a verifier counts them."""
    namespace = make_namespace(own_admin)
    account = console_account(own_plane, own_admin, namespaces=[namespace])
    keys = f"/v1/namespaces/{namespace}/keys"
    with (
        operator(own_plane.kubeconfig, tmp_path / "o", namespaces=[namespace]),
        console(account, tmp_path / "c", namespaces=[namespace]) as service,
    ):
        own_admin.apikey(namespace, "key", scopes=["keys:read"], owner={"user": "alice"})
        own_admin.wait(namespace, "key", Active="True", within=40)
        plain = own_admin.plain_key(namespace, "key")
        # Alice has no rights, which is for the API server to say: the key itself is let in.
        eventually(lambda: service.ask("GET", keys, token=plain).code == "forbidden")
        own_admin.patch(namespace, "key", {"spec": {"revoked": True}})
        eventually(lambda: service.ask("GET", keys, token=plain).code == "revoked_key")
        shown = get(service.admin, "/metrics")[2]
    assert complaints(shown) == ""
    assert [each for each in families(shown) if not is_documented(each)] == []
    assert 'keywright_verifier_decisions_total{code="revoked_key",reason="revoked"} 1\n' in shown
    assert "keywright_console_ready 1\n" in shown
    assert "keywright_console_keys 1\n" in shown
    for pattern in (
        r'^keywright_verifier_decisions_total\{code="allowed"\} [1-9]',
        r"^keywright_verifier_argon2_runs_total 1$",
        r'^keywright_console_answers_total\{status="401"\} [1-9]',
        r"^keywright_console_watch_age_seconds [0-9]",
    ):
        assert re.search(pattern, shown, re.MULTILINE), pattern
