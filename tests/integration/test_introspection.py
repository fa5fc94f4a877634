"""``POST /introspect`` with the real parts: what a caller in the cluster is told about keys, and who is told nothing."""

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.processes import get, verifier


def introspect(address: str, caller: str, token: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection(address, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {caller}"}
    try:
        connection.request("POST", "/introspect", urlencode({"token": token}), headers)
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, json.loads(response.read()), told
    finally:
        connection.close()


@pytest.mark.usefixtures("shared_operator")
def test_a_caller_is_told_what_is_so(plane: ControlPlane, admin: Kube, namespace: str, tmp_path: Path) -> None:
    """Active with what policy has accepted, from the first use (argon2) on; inactive as soon as it is revoked."""
    admin.apikey(namespace, "caller", scopes=["keys:introspect"])
    admin.apikey(namespace, "stranger", scopes=["*"])
    admin.apikey(namespace, "key", scopes=["agents:read"], owner={"user": "alice"}, ttl="1h")
    for name in ("caller", "stranger", "key"):
        admin.wait(namespace, name, Active="True")
    caller, stranger, plain = (admin.plain_key(namespace, name) for name in ("caller", "stranger", "key"))
    flags = ("--introspect", "keys:introspect", "--introspect-caller", f"{namespace}/caller", "--usage", "off")
    with verifier(plane.kubeconfig, tmp_path / "log", *flags, namespaces=[namespace]) as (_, listen, probes):
        eventually(lambda: introspect(probes, caller, plain)[1].get("active"))
        status, told, headers = introspect(probes, caller, plain)
        assert (status, headers["cache-control"], headers["content-type"]) == (200, "no-store", "application/json")
        manifest = admin.get(namespace, "key")
        assert told["exp"] - told["iat"] == 3600
        assert {name: told[name] for name in ("sub", "client_id", "scope", "jti", "keywright_class")} == {
            "sub": "alice",
            "client_id": f"{namespace}/key",
            "scope": "agents:read",
            "jti": manifest["status"]["currentKeyId"],
            "keywright_class": "standard",
        }
        assert introspect(probes, caller, caller)[1]["sub"] == f"apikey:{namespace}/caller"
        assert introspect(probes, caller, plain[:-1] + "x")[1] == {"active": False}
        assert introspect(probes, caller, plain + "x")[1] == {"active": False}
        assert introspect(probes, stranger, plain)[:2] == (
            403,
            {**introspect(probes, stranger, plain)[1], "code": "forbidden"},
        )
        assert introspect(probes, "nobody", plain)[0] == 401
        assert introspect(listen, caller, plain)[0] == 404
        admin.patch(namespace, "key", {"spec": {"revoked": True}})
        eventually(lambda: introspect(probes, caller, plain)[1] == {"active": False})
        admin.patch(namespace, "caller", {"spec": {"suspended": True}})
        eventually(lambda: introspect(probes, caller, stranger)[1].get("code") == "suspended_key")
        assert 'introspections_total{outcome="active"}' in get(probes, "/metrics")[2]
        assert plain not in (tmp_path / "log").read_text()


@pytest.mark.usefixtures("shared_operator")
def test_it_is_off_unless_asked_for(plane: ControlPlane, tmp_path: Path) -> None:
    """404, as for any other path."""
    with verifier(plane.kubeconfig, tmp_path / "log", "--usage", "off") as (_, _listen, probes):
        connection = http.client.HTTPConnection(probes, timeout=10)
        connection.request("POST", "/introspect", "token=x")
        assert connection.getresponse().status == 404
        connection.close()
