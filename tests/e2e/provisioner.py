"""A program in a pod that asks the key service, as a service account that may edit its own namespace."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.clients import Client
from tests.e2e.installations import CONSOLE, SYSTEM
from tests.e2e.places import Place

__all__ = ["Provisioner"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Answer:
    """What the key service has said; ``body`` may hold a key."""

    status: int
    body: dict[str, Any]


class Provisioner(Client):
    """Lists the keys of its namespace all the time, and asks what it is told to."""

    def __init__(self, place: Place, namespace: str, folder: Path, certificates: Path) -> None:
        super().__init__(place, namespace, "provisioner")
        self._folder = folder
        folder.mkdir()
        for source in (HERE / "manifests/provisioner.yaml", HERE / "pods/provisioner.py", certificates / "ca.crt"):
            shutil.copy(source, folder)
        # A node of our own has no DNS, so the name stands in the pod's hosts file.
        address = place.kubectl.within(SYSTEM).get("service", "keywright-console")["spec"]["clusterIP"]
        hosts = [
            {"op": "add", "path": "/spec/template/spec/hostAliases", "value": [{"ip": address, "hostnames": [CONSOLE]}]}
        ]
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": ["provisioner.yaml"],
            "configMapGenerator": [{"name": "provisioner", "files": ["provisioner.py", "ca.crt"]}],
            "images": [place.keywright.replacing("keywright")],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(hosts)}],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    def start(self) -> None:
        """It is listing."""
        self.kubectl("apply", "-k", self._folder)
        self.kubectl("rollout", "status", "deployment/provisioner", "--timeout=90s")

    def stop(self) -> None:
        self.kubectl("scale", "deployment/provisioner", "--replicas=0")

    def ask(self, method: str, path: str = "", body: dict[str, Any] | None = None) -> Answer:
        """Something about the keys of its namespace."""
        program = ["python3", "/pods/provisioner.py", CONSOLE, "--once", method, path]
        sent = json.dumps(body) if body is not None else ""
        said = json.loads(self.kubectl("exec", "-i", "deployment/provisioner", "--", *program, stdin=sent))
        return Answer(said["status"], said["answer"])
