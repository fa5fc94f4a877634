"""Two services whose requests are judged, each with a client that calls it all the time.

They are put together as a user would: the kustomizations and proxy configurations of deploy/, completed in a folder of
one's own. Each has its namespace, in which Pod Security ``restricted`` is enforced.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.clients import Client
from tests.e2e.places import Place
from tests.support.kube import eventually

__all__ = ["Application", "behind_the_gateway", "with_a_sidecar", "with_the_sidecar_of_proxies"]

ROOT = Path(__file__).parents[2]
NGINX = ROOT / "deploy/proxies/nginx"
MANIFESTS = Path(__file__).parent / "manifests"
PODS = Path(__file__).parent / "pods"
SERVICE = "my-service"


class Application(Client):
    """A service, its proxy, its verifier, and a client with the Secret of the ApiKey ``client``."""

    def __init__(self, place: Place, namespace: str, folder: Path) -> None:
        super().__init__(place, namespace, "client")
        self._folder = folder

    def start(self) -> None:
        """Everything up, the key included; the client is calling."""
        self.kubectl("apply", "-k", self._folder)
        self.kubectl("wait", "--for=condition=Active", "apikey/client", "--timeout=60s")
        for name in (SERVICE, "client"):
            self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s")

    def wait_for_rotation(self, key_id: str) -> str:
        """Wait until another key is the current one; return its id."""
        eventually(lambda: self.key()["currentKeyId"] != key_id, within=60, what=f"a rotation in {self.namespace}")
        current: str = self.key()["currentKeyId"]
        return current

    def key(self) -> dict[str, Any]:
        """The status of its ApiKey."""
        status: dict[str, Any] = self.kubectl.get("apikey", "client")["status"]
        return status

    def call_once(self, *flags: str, key: str | None = None) -> str:
        """The status of one more call from the client's pod, with its own key or another."""
        url = f"http://{self.kubectl.get('service', SERVICE)['spec']['clusterIP']}"
        if key is not None:
            flags = (*flags, "--key-file=/dev/stdin")
        command = ["exec", "-i", "deployment/client", "--", "python3", "/pods/client.py", url, "--once", *flags]
        return self.kubectl(*command, stdin=key or "").strip()


def with_a_sidecar(place: Place, folder: Path) -> Application:
    """The component deploy/kustomize/overlays/verifier-sidecar in a kustomization of one's own."""
    _copy_configuration(folder, NGINX, NGINX / "sidecar")
    shutil.copy(MANIFESTS / "service.yaml", folder)
    patch = _patch({"name": "proxy", "volumeMounts": [{"name": "keywright-verifier", "mountPath": "/run/keywright"}]})
    return _complete(
        place,
        folder,
        "keywright-e2e-sidecar",
        resources=["service.yaml"],
        components=[_relative(ROOT / "deploy/kustomize/overlays/verifier-sidecar", folder)],
        patches=[patch],
    )


def with_the_sidecar_of_proxies(place: Place, folder: Path) -> Application:
    """The pod of deploy/proxies/nginx, with one's own service in it."""
    service = {
        "name": "service",
        "command": ["python3", "/pods/service.py"],
        "volumeMounts": [{"name": "pods", "mountPath": "/pods", "readOnly": True}],
    }
    volumes = [{"name": "pods", "configMap": {"name": "pods"}}]
    return _complete(
        place,
        folder,
        "keywright-e2e-proxies",
        resources=[_relative(NGINX, folder)],
        patches=[_patch(service, volumes=volumes)],
        configured=False,
    )


def behind_the_gateway(place: Place, folder: Path, certificates: Path) -> Application:
    """A proxy that asks the verifier of keywright-system over TLS.

    The node has no DNS, so the verifier's name stands in the pod's hosts file; the configuration is as shipped.
    """
    _copy_configuration(folder, NGINX, NGINX / "gateway")
    shutil.copy(MANIFESTS / "service.yaml", folder)
    shutil.copytree(certificates, folder / "tls")
    address = place.kubectl.within("keywright-system").get("service", "keywright-verifier")["spec"]["clusterIP"]
    patch = _patch(
        {"name": "proxy", "volumeMounts": [{"name": "tls", "mountPath": "/etc/keywright/tls", "readOnly": True}]},
        labels={"keywright.dev/asks-verifier": "true"},
        volumes=[{"name": "tls", "secret": {"secretName": "proxy-tls", "defaultMode": 0o440}}],
        hosts=[{"ip": address, "hostnames": ["keywright-verifier.keywright-system.svc"]}],
    )
    secret = {"name": "proxy-tls", "files": ["tls/tls.crt", "tls/tls.key", "tls/ca.crt"]}
    return _complete(
        place,
        folder,
        "keywright-e2e-gateway",
        resources=["service.yaml"],
        patches=[patch],
        secretGenerator=[secret],
    )


def _copy_configuration(folder: Path, *sources: Path) -> None:
    """nginx' files; those of a later folder replace earlier ones of the same name."""
    (folder / "nginx").mkdir(parents=True)
    for source in sources:
        for file in source.glob("*.conf"):
            shutil.copy(file, folder / "nginx")


def _patch(
    container: dict[str, Any],
    *,
    labels: dict[str, str] | None = None,
    volumes: list[dict[str, Any]] | None = None,
    hosts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A strategic merge patch of the Deployment."""
    metadata = {"labels": labels or {}}
    pod = {"containers": [container], "volumes": volumes or [], "hostAliases": hosts or []}
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SERVICE, **metadata},
        "spec": {"template": {"metadata": metadata, "spec": pod}},
    }
    return {"patch": json.dumps(patch)}


def _complete(
    place: Place, folder: Path, namespace: str, *, resources: list[str], configured: bool = True, **parts: Any
) -> Application:
    """Write the kustomization and what is the same in all."""
    folder.mkdir(exist_ok=True)
    for source in (MANIFESTS / "client.yaml", *PODS.glob("*.py")):
        shutil.copy(source, folder)
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    place.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": enforced}})
    generated = [{"name": "pods", "files": ["client.py", "service.py"]}]
    if configured:
        files = sorted(f"nginx/{file.name}" for file in (folder / "nginx").iterdir())
        generated.append({"name": "my-service-proxy", "files": files})
    images = {"keywright": place.keywright, "my-service": place.keywright, "nginx": place.nginx}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [*resources, "client.yaml"],
        "configMapGenerator": generated,
        "images": [reference.replacing(name) for name, reference in images.items()],
        **parts,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return Application(place, namespace, folder)


def _relative(target: Path, folder: Path) -> str:
    """Kustomize takes no absolute paths."""
    return os.path.relpath(target, folder.resolve())
