"""Installing Keywright as the guide says, by kustomize and by Helm, and taking it away again."""

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any, Protocol

import yaml

from keywright_local.certificates import CertificateAuthority
from tests.e2e.places import Place

__all__ = ["CRDS", "SYSTEM", "Installation", "Kustomize", "write_certificates"]

ROOT = Path(__file__).parents[2]
SYSTEM = "keywright-system"
OVERLAYS = ROOT / "deploy/kustomize/overlays"
CRDS = tuple(f"crd/{plural}.keywright.dev" for plural in ("apikeyclasses", "apikeys", "apikeyusages"))
VERIFIER = "keywright-verifier.keywright-system.svc"

# The verifier is told how its proxies say which request it is about: nginx does it by X-Original-….
_ARGUMENT = "/spec/template/spec/containers/0/args/7"
NGINX_ASKS = {
    "target": {"kind": "Deployment", "name": "keywright-verifier"},
    "patch": json.dumps(
        [
            {"op": "test", "path": _ARGUMENT, "value": "--request-from=path"},
            {"op": "replace", "path": _ARGUMENT, "value": "--request-from=original"},
        ]
    ),
}


class Installation(Protocol):
    """One way to install operator and gateway verifier."""

    def install(self) -> None:
        """Everything applied; pods may still be starting."""

    def uninstall(self) -> None:
        """Everything removed but the CRDs, and with them the ApiKeys."""


class Kustomize:
    """The overlays operator and verifier-gateway, with an image of one's own."""

    def __init__(self, place: Place, folder: Path, certificates: Path) -> None:
        self._place = place
        self._folder = folder
        self._certificates = certificates

    def install(self) -> None:
        kubectl = self._place.kubectl
        kubectl("apply", "--server-side", "-k", self._own("operator"))
        kubectl("wait", "--for=condition=Established", *CRDS)
        kubectl.within(SYSTEM).apply(tls_secret(self._certificates))
        kubectl("apply", "--server-side", "-k", self._own("verifier-gateway"))

    def uninstall(self) -> None:
        kubectl = self._place.kubectl
        for overlay in ("verifier-gateway", "operator"):
            rendered = yaml.safe_load_all(kubectl("kustomize", self._own(overlay)))
            removed = [each for each in rendered if each["kind"] != "CustomResourceDefinition"]
            kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(removed))

    def _own(self, overlay: str) -> Path:
        """A kustomization of one's own on top of an overlay."""
        folder = self._folder / overlay
        folder.mkdir(parents=True, exist_ok=True)
        image = self._place.keywright
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(OVERLAYS / overlay, folder.resolve())],
            "images": [{"name": "keywright", "newName": image.name, "newTag": image.tag}],
            "patches": [NGINX_ASKS] if overlay == "verifier-gateway" else [],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return folder


def tls_secret(certificates: Path) -> dict[str, Any]:
    """What the gateway verifier serves with, and whose clients it believes."""
    files = {"tls.crt": "server.crt", "tls.key": "server.key", "ca.crt": "ca.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keywright-verifier-tls"},
        "stringData": {name: (certificates / file).read_text() for name, file in files.items()},
    }


def write_certificates(folder: Path) -> Path:
    """An authority, the verifier's certificate and that of the proxies (``tls.crt``); returns the folder."""
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create("keywright-e2e", now=now)
    pairs = {
        "server": authority.issue_for_server([VERIFIER], [], now=now),
        "tls": authority.issue_for_client("proxy", [], now=now),
    }
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.key_pair.public)
    for name, pair in pairs.items():
        (folder / f"{name}.crt").write_bytes(pair.public)
        (folder / f"{name}.key").write_bytes(pair.private)
    return folder
