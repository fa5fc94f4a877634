"""Operator and verifier together: what a client is told, and how soon."""

import subprocess
from pathlib import Path

import pytest

from keywright.domain import plainkey
from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.processes import Process, free_address, get, verifier


@pytest.fixture
def issued(shared_operator: Process, admin: Kube, namespace: str, verifying: str) -> str:
    """A key that the verifier accepts."""
    assert shared_operator.popen.poll() is None
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    plain = admin.plain_key(namespace, "key")
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)
    return plain


def code_of(answer: tuple[int, dict[str, str], str]) -> str:
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert status == 400 or "www-authenticate" in headers
    return body.split('"code": "')[1].split('"')[0]


def test_an_allowed_request_carries_its_identity(verifying: str, issued: str, admin: Kube, namespace: str) -> None:
    """200 with every identity header, by scheme and by header, whatever the case of the scheme."""
    carriers = [
        {"Authorization": f"Bearer {issued}"},
        {"Authorization": f"apikey {issued}"},
        {"X_API_Key": issued},
    ]
    for carrier in carriers:
        status, headers, body = get(verifying, **carrier)
        assert (status, body) == (200, "")
        assert headers["x-auth-subject"] == f"apikey:{namespace}/key"
        assert headers["x-auth-key"] == f"{namespace}/key"
        assert headers["x-auth-key-id"] == admin.get(namespace, "key")["status"]["currentKeyId"]
        assert headers["x-auth-class"] == "standard"
        assert headers["x-auth-role"] == headers["x-auth-scopes"] == "-"


def test_what_is_not_a_key_is_told_why(verifying: str, issued: str) -> None:
    """missing, malformed with its three causes, invalid, and two different keys at once."""
    assert code_of(get(verifying)) == "missing_key"
    assert "error=" not in get(verifying)[1]["www-authenticate"]
    for presented, cause in (
        (issued[:-1], "truncated or mistyped"),
        (issued.replace(issued[25], "0" if issued[25] != "0" else "1", 1), "truncated or mistyped"),
    ):
        answer = get(verifying, X_API_Key=presented)
        assert code_of(answer) == "malformed_key"
        assert cause in answer[2]
    body = f"other_{issued.removeprefix('kw_live_')}"[:-6]
    foreign = get(verifying, X_API_Key=body + plainkey.checksum(body))
    assert code_of(foreign) == "malformed_key"
    assert "prefix" in foreign[2] or "class" in foreign[2]
    wrong_secret = issued[:-7] + ("0" if issued[-7] != "0" else "1")
    unknown_id = f"kw_live_{'0' * 12}_{'0' * 43}"
    answers = [get(verifying, X_API_Key=text + plainkey.checksum(text)) for text in (wrong_secret, unknown_id)]
    assert [code_of(each) for each in answers] == ["invalid_key", "invalid_key"]
    assert answers[0][2] == answers[1][2]
    assert code_of(get(verifying, X_API_Key=issued, Authorization=f"Bearer {unknown_id}")) == "invalid_request"


@pytest.mark.parametrize(("spec", "code"), [({"revoked": True}, "revoked_key"), ({"suspended": True}, "suspended_key")])
def test_a_restriction_is_seen_within_a_second(
    verifying: str, issued: str, admin: Kube, namespace: str, spec: dict[str, bool], code: str
) -> None:
    """Revoked and suspended act from the newest spec, whatever the operator does."""
    admin.patch(namespace, "key", {"spec": spec})
    eventually(lambda: get(verifying, X_API_Key=issued)[0] == 401, within=1)
    assert code_of(get(verifying, X_API_Key=issued)) == code


def test_a_key_ends_by_the_verifiers_own_clock(verifying: str, admin: Kube, namespace: str) -> None:
    """Expired, on time, and announced in a header before."""
    admin.apikey(namespace, "short", ttl="10s")
    ends_at = admin.wait(namespace, "short", Active="True")["status"]["expiresAt"]
    plain = admin.plain_key(namespace, "short")
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 200)
    assert get(verifying, X_API_Key=plain)[1]["x-auth-key-expires"] == ends_at
    eventually(lambda: get(verifying, X_API_Key=plain)[0] == 401, within=12)
    assert code_of(get(verifying, X_API_Key=plain)) == "expired_key"


def test_a_deleted_key_is_unknown(verifying: str, issued: str, admin: Kube, namespace: str) -> None:
    """Deletion acts at once, and says no more than about a key that never was."""
    admin.delete(namespace, "key")
    eventually(lambda: get(verifying, X_API_Key=issued)[0] == 401, within=1)
    assert code_of(get(verifying, X_API_Key=issued)) == "invalid_key"


def test_keys_of_other_classes_and_namespaces_are_refused(
    plane: ControlPlane, admin: Kube, namespace: str, issued: str, tmp_path: Path
) -> None:
    """A verifier trusts the namespaces and classes it was told to, and no others."""
    admin.create(
        {
            "kind": "ApiKeyClass",
            "metadata": {"name": f"own-{namespace}"},
            "spec": {"credentials": {"schemes": ["UserKey"], "headers": []}, "hashing": {"algorithm": "sha256"}},
        }
    )
    admin.apikey(namespace, "other", className=f"own-{namespace}")
    admin.wait(namespace, "other", Active="True")
    other = admin.plain_key(namespace, "other")
    with verifier(plane.kubeconfig, tmp_path / "a", "--class", f"own-{namespace}") as (_, listen, _admin):
        eventually(lambda: get(listen, Authorization=f"UserKey {other}")[0] == 200)
        assert get(listen, Authorization=f"UserKey {issued}")[0] == 401
        assert get(listen, Authorization=f"Bearer {other}")[0] == 401
        assert get(listen, X_API_Key=other)[0] == 401
    with verifier(plane.kubeconfig, tmp_path / "b", namespaces=["default"]) as (_, listen, _admin):
        assert get(listen, X_API_Key=issued)[0] == 401


def test_no_verdict_without_a_picture(plane: ControlPlane, tmp_path: Path, issued: str) -> None:
    """A verifier that has never reached the API server answers 503 and is not ready, but lives."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(plane.kubeconfig.read_text().replace(plane.server, f"https://{free_address()}"))
    with verifier(kubeconfig, tmp_path / "log", ready=False) as (_, listen, admin):
        eventually(lambda: get(admin, "/healthz")[0] == 200, within=30)
        # The admin listener is there a moment before the other.
        status, headers, _ = eventually(lambda: answer if (answer := get(listen, X_API_Key=issued))[0] else None)
        assert (status, get(admin, "/readyz")[0]) == (503, 503)
        assert "retry-after" in headers


def test_a_unix_socket(plane: ControlPlane, issued: str, tmp_path: Path) -> None:
    """The sidecar form: curl through a socket file that is gone after the stop."""
    socket = tmp_path / "verify.sock"
    with verifier(plane.kubeconfig, tmp_path / "log", "--listen", f"unix:{socket}"):
        assert socket.stat().st_mode & 0o777 == 0o660
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(socket)]
        url = "http://localhost/verify/anything?x=y"
        done = subprocess.run([*command, "-H", f"X-API-Key: {issued}", url], capture_output=True, text=True, check=True)
        assert done.stdout == "200"
    assert not socket.exists()
