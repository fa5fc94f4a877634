"""The manifests in deploy/proxies: pods that the API server takes, and gateways that have no binary here, by the
requests that their documentation says they send.
"""

import re
import subprocess
from typing import Any

import pytest
import yaml

from keywright_local import ControlPlane
from tests.support.backend import Header, ask
from tests.support.kube import Kube, eventually
from tests.support.processes import Process
from tests.support.proxies import CONFIGURATIONS, VARIANTS, Kind, layers
from tests.support.proxy_expectations import FORGED, IDENTITY

MANIFESTS = ("kustomization.yaml", "proxy.yaml")
SIDECARS = [each for each in VARIANTS if each.variant == "sidecar"]


def manifests(text: str) -> dict[str, Any]:
    """By kind and name."""
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(text)}


@pytest.mark.parametrize("kind", SIDECARS, ids=lambda kind: kind.name)
def test_the_sidecar_pair_is_a_pod(plane: ControlPlane, namespace: str, kind: Kind) -> None:
    """The API server takes it, it holds the configuration that is tested, and the service gets neither token nor
    socket.
    """
    kubectl = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig)]
    folder = str(CONFIGURATIONS / kind.folder)
    built = subprocess.run([*kubectl, "kustomize", folder], check=True, capture_output=True, text=True, timeout=60)
    command = [*kubectl, "apply", "--dry-run=server", "--validate=strict", "-n", namespace, "-k", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = manifests(built.stdout)
    (configuration,) = (each["data"] for name, each in found.items() if name.startswith("ConfigMap/"))
    tested = {name: file.read_text() for name, file in layers(kind).items() if name not in MANIFESTS}
    assert configuration == tested
    pod = found["Deployment/my-service"]["spec"]["template"]["spec"]
    containers = {each["name"]: each for each in pod["containers"]}
    mounts = {
        name: [each["name"] for each in container.get("volumeMounts", ())] for name, container in containers.items()
    }
    assert mounts.pop("service") == []
    assert all("verifier-socket" in each for each in mounts.values())
    assert [name for name, each in mounts.items() if "verifier-token" in each] == ["verifier"]
    assert pod["automountServiceAccountToken"] is False
    assert {"name": "KEYWRIGHT_REQUEST_FROM", "value": kind.source} in containers["verifier"]["env"]
    ports = [port["name"] for container in containers.values() for port in container.get("ports", ())]
    assert sorted(ports) == ["proxy", "verifier-admin"]


@pytest.fixture
def plain(shared_operator: Process, admin: Kube, namespace: str, verifying: str) -> str:
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    key = admin.plain_key(namespace, "key")
    eventually(lambda: ask(verifying, [("X-API-Key", key)], target="/verify").status == 200)
    return key


def test_traefik_asks_and_understands(verifying: str, plain: str) -> None:
    """ForwardAuth sends GET to its address with the client's headers and its own X-Forwarded-… (its reference, "Forward
    request headers"), lets 2xx through and copies the headers that match.
    """
    found = manifests((CONFIGURATIONS / "traefik/middleware.yaml").read_text())
    forward = found["Middleware/keywright-ask"]["spec"]["forwardAuth"]
    assert forward["trustForwardHeader"] is False
    target = "/" + forward["address"].split("/", 3)[3]
    sent: list[Header] = [
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "api.example.com"),
        ("X-Forwarded-Uri", "/api/agents?x=y"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("User-Agent", "client"),
        ("Accept-Encoding", "gzip"),
    ]
    allowed = ask(verifying, [*sent, ("Authorization", f"Bearer {plain}")], target=target)
    assert (allowed.status, allowed.body) == (200, "")
    pattern = re.compile(forward["authResponseHeadersRegex"])
    assert {name for name in allowed.headers if pattern.search(name)} == set(IDENTITY)
    assert all(pattern.search(name) for name in ("X-Auth-Key-Expires", "X_auth_subject", "x-auth_role", "X.Auth.Role"))
    refused = ask(verifying, sent, target=target)
    assert (refused.status, refused.headers["content-type"]) == (401, "application/problem+json")
    assert "www-authenticate" in refused.headers
    stripped = found["Middleware/keywright-strip"]["spec"]["headers"]["customRequestHeaders"]
    assert stripped["Authorization"] == stripped["X-API-Key"] == ""
    assert set(stripped.values()) == {""}
    gone = {name.lower() for name in stripped}
    left = {name for name, _ in FORGED if name.lower() not in gone and not pattern.search(name)}
    # Those that Traefik sets itself. Whatever is removed with hyphens is removed with underscores.
    own = {f"X-Forwarded-{name}" for name in ("For", "Host", "Port", "Proto", "Server")} | {"X-Real-IP"}
    assert left == own | {"X.Original.URI", "x.forwarded.uri"}
    removed = {name for name in gone | {name.lower() for name in own} if name.startswith("x-") and name != "x-api-key"}
    assert {name.replace("-", "_") for name in removed} <= gone
    assert [each["name"] for each in found["Middleware/keywright"]["spec"]["chain"]["middlewares"]] == [
        "keywright-ask",
        "keywright-strip",
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_gateway_api_asks_and_understands(verifying: str, plain: str, method: str) -> None:
    """ExternalAuth sends the client's method to prefix and path, with Host, Content-Length 0, Authorization and the
    headers that are named (HTTPAuthConfig), and lets exactly 200 through.
    """
    found = manifests((CONFIGURATIONS / "gateway-api/httproute.yaml").read_text())
    (rule,) = found["HTTPRoute/my-service"]["spec"]["rules"]
    (filter_,) = (each["externalAuth"] for each in rule["filters"] if each["type"] == "ExternalAuth")
    assert filter_["protocol"] == "HTTP"
    target = filter_["http"]["path"] + "/api/agents/7?x=y"
    assert filter_["http"]["allowedHeaders"] == ["x-api-key"]
    for credential in (("authorization", f"Bearer {plain}"), ("x-api-key", plain)):
        allowed = ask(verifying, [credential], method=method, target=target, body=b"")
        assert allowed.status == 200
        assert {name for name in allowed.headers if name.startswith("x-auth-")} == set(IDENTITY)
    assert set(filter_["http"]["allowedResponseHeaders"]) == {*IDENTITY, "x-auth-key-expires"}
    refused = ask(verifying, method=method, target=target, body=b"")
    assert (refused.status, refused.headers["content-type"]) == (401, "application/problem+json")


def test_gateway_api_takes_off_what_a_client_may_not_say() -> None:
    """Neither a made up identity nor a key reaches the backend, in as many names as the two filters take."""
    found = manifests((CONFIGURATIONS / "gateway-api/httproute.yaml").read_text())
    (rule,) = found["HTTPRoute/my-service"]["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    early, late = (
        next(each["requestHeaderModifier"]["remove"] for each in filters if each["type"] == "RequestHeaderModifier")
        for filters in (rule["filters"], backend["filters"])
    )
    # The schema of HTTPRoute (maxItems, a set), with room for a header of a class's own.
    assert len(early) <= 16
    assert len(late) < 16
    assert len({*early, *late}) == len(early) + len(late)
    assert {"authorization", "x-api-key"} <= set(late)
    # A filter above may act after the verifier has spoken, one below always does: neither removes what it says.
    assert not {*IDENTITY, "x-auth-key-expires"} & set(late)
    assert not set(IDENTITY) & set(early)
    left = {name.lower() for name, _ in FORGED} - {*early, *late}
    mixed = {"x-auth_scopes", "x_auth-key"}
    dotted = {"x.auth.role", "x-auth.scopes", "x.original.uri", "x.forwarded.uri"}
    assert left == {*IDENTITY, "x-forwarded-for", "x-forwarded-proto"} | mixed | dotted
    assert {name.replace("-", "_") for name in (*IDENTITY, "x-auth-key-expires")} <= set(late)
