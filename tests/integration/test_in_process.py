"""The example of a service that judges keys itself, as its README runs it, against a real API server."""

import contextlib
import http.client
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.support.kube import Kube, eventually
from tests.support.people import bind
from tests.support.processes import Process, free_address, get, start

EXAMPLE = ROOT / "examples/in-process"
# uvicorn stops in order and then ends by the signal that it was sent.
STOPPED = -signal.SIGTERM


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    process: Process
    address: str
    keys: dict[str, str]

    def ask(self, key: str, method: str = "GET", path: str = "/agents") -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, and what the body says."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Authorization": f"Bearer {self.keys[key]}"})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, json.loads(response.read())


@pytest.fixture
def account(plane: ControlPlane, admin: Kube, namespace: str, tmp_path: Path) -> Path:
    """A service account with the rights that the guide names; its kubeconfig says where it is, as in a pod."""
    made = {"metadata": {"name": "agents", "namespace": namespace}}
    admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", made)
    for role in ("keywright-verifier", "keywright-usage-publisher"):
        bind(admin, namespace, f"system:serviceaccount:{namespace}:agents", role)
    config = json.loads(plane.kubeconfig_for_service_account(namespace, "agents").read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def issued(shared_operator: Process, admin: Kube, namespace: str) -> Iterator[dict[str, str]]:
    """The class and the keys of the example."""
    (key_class,) = yaml.safe_load_all((EXAMPLE / "class.yaml").read_text())
    admin.create(key_class)
    try:
        keys = {}
        for each in yaml.safe_load_all((EXAMPLE / "keys.yaml").read_text()):
            name = each["metadata"]["name"]
            admin.apikey(namespace, name, **each["spec"])
            admin.wait(namespace, name, Active="True")
            keys[name] = admin.plain_key(namespace, name)
        yield keys
    finally:
        admin.delete(None, "agents", "ApiKeyClass")


@contextlib.contextmanager
def serving(kubeconfig: Path | None, log: Path, keys: dict[str, str], *flags: str) -> Iterator[Service]:
    """The example under uvicorn, answering."""
    address = free_address()
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        EXAMPLE,
        "--port",
        address.split(":")[1],
        *flags,
    ]
    with start([*command, "app:app"], kubeconfig=kubeconfig, log=log) as process:
        yield Service(process=process, address=address, keys=keys)


def ready(service: Service) -> None:
    eventually(lambda: get(service.address, "/healthz")[0] == 200, within=30, what="in sync")


def test_what_its_readme_says(
    account: Path, issued: dict[str, str], admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """Allowed, refused, a scope wanted, revoked at once, a clean stop with the last use told."""
    log = tmp_path / "log"
    with serving(account, log, issued) as service:
        ready(service)
        status, headers, _ = get(service.address, "/agents")
        assert (status, 'realm="keywright"' in headers["www-authenticate"]) == (401, True)
        status, headers, said = service.ask("agents-reader")
        assert (status, said["key"], said["scopes"]) == (200, f"{namespace}/agents-reader", ["agents:read"])
        assert headers["ratelimit-policy"] == '"minute";q=600;w=60'
        status, headers, said = service.ask("reports-only")
        assert (status, said["code"]) == (403, "insufficient_scope")
        assert 'scope="agents:read"' in headers["www-authenticate"]
        status, headers, said = service.ask("agents-reader", "POST")
        assert (status, said["code"], headers["content-type"]) == (
            403,
            "insufficient_scope",
            "application/problem+json",
        )
        assert 'scope="agents:write"' in headers["www-authenticate"]
        subject = f"apikey:{namespace}/agents-writer"
        assert service.ask("agents-writer", "POST")[::2] == (200, f"written by {subject}")
        admin.patch(namespace, "agents-reader", {"spec": {"revoked": True}})
        said = eventually(lambda: each if (each := service.ask("agents-reader")[2]).get("status") == 401 else None)
        assert said["code"] == "revoked_key"
        assert service.process.stop() == STOPPED
    used = {name for each in admin.list(namespace, "ApiKeyUsage") for name in each["spec"]["uses"]}
    assert any(f"{namespace}/agents-writer/" in each for each in used)
    text = log.read_text()
    assert "Application shutdown complete" in text
    assert "Traceback" not in text
    assert not any(key in text for key in issued.values())


def test_not_in_sync(plane: ControlPlane, issued: dict[str, str], tmp_path: Path) -> None:
    """503 to everybody, health included, while its account may not read; it stops in order all the same."""
    stranger = plane.kubeconfig_for("nobody-in-particular")
    with serving(stranger, tmp_path / "log", issued) as service:
        status, headers, body = eventually(lambda: each if (each := get(service.address, "/healthz"))[0] else None)
        assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "5", "unavailable")
        assert service.ask("agents-reader")[0] == 503
        assert service.process.stop() == STOPPED


def test_without_a_lifespan(account: Path, issued: dict[str, str], tmp_path: Path) -> None:
    """It starts with the first request, and says so."""
    with serving(account, tmp_path / "log", issued, "--lifespan", "off") as service:
        ready(service)
        assert service.ask("agents-reader")[0] == 200
        assert service.process.log.count("announced no start") == 1
        assert service.process.stop() == STOPPED


def test_no_cluster(tmp_path: Path) -> None:
    """Without credentials the service does not start, and one line says why."""
    with serving(None, tmp_path / "log", {}) as service:
        assert service.process.popen.wait(30) != 0
        assert "keywright: " in service.process.log
        assert "Traceback" not in service.process.log
