"""Installing Keywright as the guide says, by kustomize and by Helm, and taking it away again."""

import datetime as dt
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, Protocol

import yaml

from keywright_local.certificates import CertificateAuthority
from keywright_local.packaging_tools import find_packaging_tools
from tests.e2e.kubectl import run
from tests.e2e.places import Place
from tests.support.history import extract, git

__all__ = ["CONSOLE", "CRDS", "SYSTEM", "Helm", "Installation", "Kustomize", "write_certificates"]

ROOT = Path(__file__).parents[2]
SYSTEM = "keywright-system"
CHART = ROOT / "deploy/chart/keywright"
OVERLAYS = ROOT / "deploy/kustomize/overlays"
CRDS = tuple(f"crd/{plural}.keywright.dev" for plural in ("apikeyclasses", "apikeys", "apikeyusages"))
VERIFIER = "keywright-verifier.keywright-system.svc"
CONSOLE = "keywright-console.keywright-system.svc"
# What a client that lists all the time needs.
REQUESTS_PER_MINUTE = 6000

# The verifier is told whose keys it trusts, because the applications have namespaces of their own, and how its proxies
# say which request it is about: nginx does it by X-Original-….
_ARGUMENTS = "/spec/template/spec/containers/0/args"
_CHANGES = (
    (f"{_ARGUMENTS}/1", "--namespace=keywright-system", "--all-namespaces"),
    (f"{_ARGUMENTS}/7", "--request-from=path", "--request-from=original"),
)
OF_ALL_FOR_NGINX = {
    "target": {"kind": "Deployment", "name": "keywright-verifier"},
    "patch": json.dumps(
        [
            step
            for path, old, new in _CHANGES
            for step in ({"op": "test", "path": path, "value": old}, {"op": "replace", "path": path, "value": new})
        ]
    ),
}
RIGHTS_ON_ALL = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "keywright-verifier"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keywright-verifier"},
    "subjects": [{"kind": "ServiceAccount", "name": "keywright-verifier", "namespace": SYSTEM}],
}


class Installation(Protocol):
    """One way to install operator and gateway verifier."""

    def install(self) -> None:
        """Everything applied; pods may still be starting."""

    def add_console(self, namespace: str) -> None:
        """The key service for the keys of this namespace; pods may still be starting."""

    def uninstall(self) -> None:
        """Everything removed but the CRDs, and with them the ApiKeys."""


class Kustomize:
    """The overlays operator, verifier-gateway and console, with an image of one's own."""

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

    def add_console(self, namespace: str) -> None:
        """With the kustomization of docs/guides/console.md."""
        guide = (ROOT / "docs/guides/console.md").read_text().partition("## Installing")[2]
        text, rights = re.findall(r"```text\n(.*?)```", guide.replace("payments", namespace), re.DOTALL)[:2]
        folder = self._folder / "console"
        folder.mkdir()
        (folder / "rights.yaml").write_text(rights)
        kustomization = yaml.safe_load(text.replace("../keywright", os.path.relpath(ROOT, folder.resolve())))
        kustomization["images"] = [self._place.keywright.replacing("keywright")]
        rate = [{"op": "add", "path": f"{_ARGUMENTS}/-", "value": f"--rate-limit={REQUESTS_PER_MINUTE}"}]
        target = {"kind": "Deployment", "name": "keywright-console"}
        kustomization["patches"].append({"target": target, "patch": json.dumps(rate)})
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        self._place.kubectl.within(SYSTEM).apply(*console_secrets(self._certificates))
        self._place.kubectl("apply", "--server-side", "-k", folder)

    def uninstall(self) -> None:
        """As docs/guides/install.md takes it away."""
        kubectl = self._place.kubectl
        if (self._folder / "console").exists():
            kubectl("delete", "-k", self._folder / "console", "--ignore-not-found")
        kubectl("delete", "-k", self._own("verifier-gateway"), "--ignore-not-found")
        ours = ("-l", "app.kubernetes.io/name=keywright")
        kubectl.within(SYSTEM)("delete", "deployments,poddisruptionbudgets,networkpolicies", *ours)
        for folder in ("deploy/admission", "deploy/rbac"):
            kubectl("delete", "-k", ROOT / folder, "--ignore-not-found")

    def _own(self, overlay: str) -> Path:
        """A kustomization of one's own on top of an overlay."""
        folder = self._folder / overlay
        folder.mkdir(parents=True, exist_ok=True)
        resources, patches = [os.path.relpath(OVERLAYS / overlay, folder.resolve())], []
        if overlay == "verifier-gateway":
            (folder / "rights.yaml").write_text(yaml.safe_dump(RIGHTS_ON_ALL))
            resources.append("rights.yaml")
            patches.append(OF_ALL_FOR_NGINX)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": resources,
            "images": [self._place.keywright.replacing("keywright")],
            "patches": patches,
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return folder


class Helm:
    """The chart. It begins with the version before this one, as long as the repository's history has one."""

    def __init__(self, place: Place, folder: Path, certificates: Path) -> None:
        self._place = place
        self._certificates = certificates
        self._program = find_packaging_tools().helm
        self._environment = {
            **os.environ,
            **{f"HELM_{kind}_HOME": str(folder / f"helm-{kind.lower()}") for kind in ("CACHE", "CONFIG", "DATA")},
            "KUBECONFIG": str(place.kubectl.kubeconfig),
        }
        #: The chart as it was before its version changed last; None without such a history.
        self.previous = previous_chart(folder / "previous")

    def install(self) -> None:
        kubectl = self._place.kubectl
        enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": enforced}})
        kubectl.within(SYSTEM).apply(tls_secret(self._certificates))
        self._upgrade(self.previous or CHART)

    def upgrade(self) -> None:
        """To the version of this checkout, with other requests: pods are replaced only where something in them differs."""
        self._upgrade(CHART, **{f"{part}.resources.requests.cpu": "90m" for part in ("operator", "verifier")})

    def add_console(self, namespace: str) -> None:
        """With the command of docs/guides/console.md."""
        self._place.kubectl.within(SYSTEM).apply(*console_secrets(self._certificates))
        values = ("enabled=true", f"namespaces={{{namespace}}}", f"rateLimit={REQUESTS_PER_MINUTE}")
        chosen = [f"--set=console.{each}" for each in values]
        self._helm("upgrade", "--install", "keywright", CHART, "--reset-then-reuse-values", *chosen)

    def uninstall(self) -> None:
        self._helm("uninstall", "keywright", "--ignore-not-found", "--wait", "--timeout=120s")
        self._place.kubectl("delete", "namespace", "--ignore-not-found", SYSTEM)

    def _upgrade(self, chart: Path, **more: str) -> None:
        image = self._place.keywright
        values = {
            "image.repository": image.name,
            "image.tag": image.tag,
            "verifier.enabled": "true",
            "verifier.allNamespaces": "true",
            "verifier.requestFrom": "original",
            **more,
        }
        chosen = [f"--set={name}={value}" for name, value in values.items()]
        self._helm("upgrade", "--install", "keywright", chart, *chosen, "--wait", "--timeout=180s")

    def _helm(self, *arguments: str | Path) -> None:
        run([self._program, *arguments, "--namespace", SYSTEM], environment=self._environment)


def previous_chart(folder: Path) -> Path | None:
    """The chart as it was last with another version than it has now."""
    place = CHART.relative_to(ROOT)
    now = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    for commit in git("log", "--format=%H", "--", str(place)).decode().split():
        if not git("ls-tree", commit, f"{place}/Chart.yaml"):
            continue
        if yaml.safe_load(git("show", f"{commit}:{place}/Chart.yaml"))["version"] != now:
            return extract(commit, folder, str(place)) / place
    return None


def tls_secret(certificates: Path) -> dict[str, Any]:
    """What the gateway verifier serves with, and whose clients it believes."""
    files = {"tls.crt": "server.crt", "tls.key": "server.key", "ca.crt": "ca.crt"}
    return secret("keywright-verifier-tls", {name: (certificates / file).read_text() for name, file in files.items()})


def console_secrets(certificates: Path) -> list[dict[str, Any]]:
    """What the key service serves with, and what its replicas sign sessions by."""
    files = {"tls.crt": "console.crt", "tls.key": "console.key"}
    return [
        secret("keywright-console-tls", {name: (certificates / file).read_text() for name, file in files.items()}),
        secret("keywright-console-session", {"key": secrets.token_urlsafe(32)}),
    ]


def secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def write_certificates(folder: Path) -> Path:
    """An authority, certificates of verifier and key service, and that of the proxies (``tls.crt``); returns the folder."""
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create("keywright-e2e", now=now)
    pairs = {
        "server": authority.issue_for_server([VERIFIER], [], now=now),
        "console": authority.issue_for_server([CONSOLE], [], now=now),
        "tls": authority.issue_for_client("proxy", [], now=now),
    }
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.key_pair.public)
    for name, pair in pairs.items():
        (folder / f"{name}.crt").write_bytes(pair.public)
        (folder / f"{name}.key").write_bytes(pair.private)
    return folder
