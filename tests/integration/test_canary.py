"""The plain key is in its Secret and nowhere else (invariant 1): every place that a key could leak to is searched."""

import base64
import json
import subprocess
from pathlib import Path

from keywright_local import AuditLevel, ControlPlane
from tests.integration.conftest import install
from tests.support.kube import Kube, eventually
from tests.support.processes import get, operator, verifier

KEYS = 6


def test_the_plain_key_is_in_its_secret_and_nowhere_else(tmp_path: Path) -> None:
    """All objects of all types, logs at debug level, metrics, answers, and what was sent to the API server."""
    with ControlPlane(audit=True, audit_level=AuditLevel.REQUEST_RESPONSE) as plane:
        install(plane)
        kube = Kube(plane.kubeconfig)
        with (
            operator(plane.kubeconfig, tmp_path / "o", "--log-level", "debug") as issuing,
            verifier(plane.kubeconfig, tmp_path / "v", "--log-level", "debug") as (judging, listen, admin),
        ):
            live(kube)
            keys = [kube.plain_key("default", f"key-{number}") for number in range(KEYS)]
            eventually(lambda: get(listen, X_API_Key=keys[2])[0] == 200)
            answers = [str(get(listen, X_API_Key=key)) for key in keys]
            answers += [str(get(listen, X_API_Key=f"{key[:-1]}!")) for key in keys]
            answers += [str(get(listen, f"/verify/{key}?key={key}", Authorization=f"Basic {key}")) for key in keys]
            kube.patch("default", "key-0", {"spec": {"revoked": True}})
            kube.wait("default", "key-0", Active="False/KeyRevoked")
            answers.append(str(get(listen, X_API_Key=keys[0])))
            metrics = get(admin, "/metrics")[2]
            assert "keywright_" in metrics
        logs = issuing.log + judging.log
        assert "KeyIssued" in logs
        objects = everything(plane)
        kube.close()
        requests = without_secrets(plane.audit_log)
    for key in keys:
        for needle in (key, key[20:-6], base64.b64encode(key.encode()).decode(), key[21:60]):
            for place, text in (
                ("an answer", "".join(answers)),
                ("metrics", metrics),
                ("a log", logs),
                ("an object", objects),
                ("a request that is not about Secrets", requests),
            ):
                assert needle not in text, f"a plain key is in {place}"


def live(kube: Kube) -> None:
    """A little of everything that makes the operator write."""
    for number in range(KEYS):
        kube.apikey("default", f"key-{number}", **({"ttl": "1d"} if number == 1 else {}))
    for number in range(KEYS):
        kube.wait("default", f"key-{number}", Active="True")
    kube.patch("default", "key-3", {"spec": {"suspended": True}})
    kube.wait("default", "key-3", Active="False/KeySuspended")
    kube.put_secret("default", {"metadata": {"name": "taken"}, "stringData": {"api-key": "foreign"}})
    kube.apikey("default", "taken")
    kube.wait("default", "taken", Stalled="True/SecretConflict")
    kube.apikey("default", "classless", className="none")
    kube.wait("default", "classless", Stalled="True/ClassNotFound")


def everything(plane: ControlPlane) -> str:
    """Every object of every type but Secrets, with managed fields."""
    kubectl = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig)]
    listed = subprocess.run(
        [*kubectl, "api-resources", "--verbs=list", "-o", "name"], check=True, capture_output=True, text=True
    ).stdout.split()
    types = ",".join(sorted(set(listed) - {"secrets"}))
    assert "apikeys.keywright.dev" in types
    found = subprocess.run(
        [*kubectl, "get", types, "-A", "-o", "json", "--show-managed-fields", "--ignore-not-found"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "currentKeyId" in found
    return found


def without_secrets(audit_log: Path) -> str:
    """All that was sent to and answered by the API server, but for requests about Secrets."""
    lines = audit_log.read_text().splitlines()
    kept = [line for line in lines if json.loads(line).get("objectRef", {}).get("resource") != "secrets"]
    assert any("responseObject" in line for line in kept)
    return "\n".join(kept)
