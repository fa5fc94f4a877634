"""A system of examples/ as its README installs it: its objects, an operator, and a verifier with the rights it is given
there and no others.
"""

import contextlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.support.backend import Answer, ask
from tests.support.console import Console, console, console_account
from tests.support.kube import Kube, Manifest, eventually
from tests.support.people import key
from tests.support.processes import free_address, get, operator, verifier

__all__ = [
    "ROOT",
    "InstalledSystem",
    "await_class_rules",
    "ci_scripts",
    "code_of",
    "install_system",
    "managing",
    "run_script",
    "system_of_files",
    "verifying",
]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledSystem:
    """A system that is up. Its class, its namespace and its folder have the same name."""

    name: str
    plane: ControlPlane
    kube: Kube
    listen: str
    metrics: str
    operator_metrics: str
    audit: Path

    @property
    def folder(self) -> Path:
        return ROOT / "examples" / self.name

    def documents(self, file: str) -> list[Manifest]:
        """The objects of one of its files."""
        return list(yaml.safe_load_all((self.folder / file).read_text()))

    def issue(self, name: str, *, namespace: str = "", **spec: Any) -> str:
        """Make an ApiKey of its class and return the plain key once it is active."""
        namespace = namespace or self.name
        spec = {"className": self.name, "displayName": name, **spec}
        self.kube.apikey(namespace, name, **spec)
        self.kube.wait(namespace, name, Active="True", within=30)
        return self.kube.plain_key(namespace, name)

    def ask(self, path: str, plain: str, *, method: str = "GET", scheme: str = "Bearer") -> Answer:
        """One request, as a proxy hands it to the verifier."""
        return ask(self.listen, [("Authorization", f"{scheme} {plain}")], method=method, target=f"/verify{path}")

    def becomes(self, path: str, plain: str, code: str, **how: str) -> Answer:
        """Wait until the verdict has this code (``allowed`` for a 200). Watches and reviews take their time, and the
        limits of a class count what is asked meanwhile, so it is asked less and less often.
        """
        last = ""
        pauses = itertools.chain((0, 0.05, 0.1, 0.2, 0.4, 0.8), itertools.repeat(1.5))

        def look() -> Answer | None:
            nonlocal last
            time.sleep(next(pauses))
            answer = self.ask(path, plain, **how)
            last = code_of(answer)
            return answer if last == code else None

        try:
            return eventually(look, within=60)
        except AssertionError:
            raise AssertionError(f"{path} is not {code} but {last}") from None

    def stored(self) -> str:
        """Every object of every type that the API server holds, Secrets among them."""
        kubectl = [str(self.plane.kubectl), "--kubeconfig", str(self.plane.kubeconfig)]
        listed = subprocess.check_output([*kubectl, "api-resources", "--verbs=list", "-o", "name"], text=True).split()
        assert {"secrets", "events", "apikeys.keywright.dev"} <= set(listed)
        found = [*kubectl, "get", ",".join(listed), "-A", "-o", "json", "--show-managed-fields", "--ignore-not-found"]
        return subprocess.check_output(found, text=True)

    def audit_lines(self) -> list[dict[str, Any]]:
        """What the verifier has written down. It may be in the middle of the last line."""
        return [json.loads(line) for line in self.audit.read_text().split("\n")[:-1]]


def await_class_rules(kube: Kube, namespace: str, class_name: str) -> None:
    """Wait until what the class says is told at admission: for half a minute or so it is not. Nothing is created."""
    wanted = {"apiVersion": "keywright.dev/v1alpha1", **key(namespace, className=class_name, role="there-is-none")}

    def is_refused() -> bool:
        try:
            kube.request("POST", kube.path("ApiKey", namespace), wanted, dryRun="All")
        except ApiException as error:
            return bool(error.status == 422)
        return False

    eventually(is_refused, within=90, what="the rules of the class at admission")


def code_of(answer: Answer) -> str:
    """The word of a verdict, ``allowed`` for a 200."""
    return "allowed" if answer.status == 200 else str(json.loads(answer.body)["code"])


def ci_scripts(folder: Path) -> list[str]:
    """What the pipelines of an example run: the steps of GitHub Actions, and the job of GitLab CI."""
    github = yaml.safe_load((folder / "ci/github-actions.yaml").read_text())
    gitlab = yaml.safe_load((folder / "ci/gitlab-ci.yaml").read_text())
    steps = [step["run"] for job in github["jobs"].values() for step in job["steps"]]
    assert steps
    return [*steps, *("\n".join(job["script"]) for job in gitlab.values())]


def run_script(script: str, variables: dict[str, str]) -> int:
    """Run what a pipeline runs, with these variables and no others; its exit status."""
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        ["bash", "-ec", script], env=environment, capture_output=True, timeout=60, check=False
    ).returncode


@contextlib.contextmanager
def install_system(
    name: str, plane: ControlPlane, kube: Kube, folder: Path, *files: str, namespaces: Sequence[str] = ()
) -> Iterator[InstalledSystem]:
    """Install class, rights and ``files``, and run what judges its keys. ``namespaces`` are further ones; with them
    the verifier trusts all.
    """
    for each in (name, *namespaces):
        kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": each}})
    probes = free_address()
    flags = ["--health-listen", probes]
    account = plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    with operator(account, folder / "operator", *flags, ready=False) as process:
        eventually(lambda: get(probes, "/readyz")[0] == 200, within=40, what=process.log)
        for file in ("class.yaml", "rights.yaml", "verifier.yaml", *files):
            _apply(plane, name, ROOT / "examples" / name / file)
        audit = folder / "audit.jsonl"
        trusted = () if namespaces else (name,)
        with verifying(name, plane, folder, "--class", name, "--audit", str(audit), namespaces=trusted) as meeting:
            listen, admin = meeting
            yield InstalledSystem(
                name=name,
                plane=plane,
                kube=kube,
                listen=listen,
                metrics=admin,
                operator_metrics=probes,
                audit=audit,
            )


def system_of_files(name: str, *, issued: str) -> Any:
    """A fixture of this name: the system with the keys and workloads of its files, and its class's rules told at
    admission. It is there once the ApiKey ``issued`` of them works.
    """

    @pytest.fixture(scope="module", name=name)
    def system(
        own_plane: ControlPlane, own_admin: Kube, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[InstalledSystem]:
        _apply(own_plane, name, ROOT / "deploy/admission/class-rules.yaml")
        files = ("keys.yaml", "consumers.yaml")
        with install_system(name, own_plane, own_admin, tmp_path_factory.mktemp(name), *files) as installed:
            own_admin.wait(name, issued, Active="True", within=30)
            yield installed

    return system


@contextlib.contextmanager
def verifying(
    name: str, plane: ControlPlane, folder: Path, *flags: str, namespaces: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """A verifier with the account and the rules of a system: where it judges, and its admin listener."""
    config = json.loads(plane.kubeconfig_for_service_account(name, "verifier").read_text())
    config["contexts"][0]["context"]["namespace"] = name  # as in a pod: where it publishes what was used
    kubeconfig = folder / "verifier.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(config))
    fixed = ("--rules", str(ROOT / "examples" / name / "rules.yaml"), "--usage-interval", "1s", "--owner-cache", "1s")
    with verifier(kubeconfig, folder / "verifier", *fixed, *flags, namespaces=namespaces) as (_, listen, admin):
        yield listen, admin


@contextlib.contextmanager
def managing(system: InstalledSystem, folder: Path, *flags: str, namespaces: Sequence[str] = ()) -> Iterator[Console]:
    """The key service for the keys of a system. Without ``namespaces`` it serves all of them, and makes new keys in none."""
    account = console_account(system.plane, system.kube, namespaces=namespaces, everywhere=not namespaces)
    chosen = ("--class", system.name, *flags)
    with console(account, folder / "console.log", *chosen, namespaces=namespaces) as running:
        yield running


def _apply(plane: ControlPlane, namespace: str, file: Path) -> None:
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), "-n", namespace, "apply", "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
