"""What GitOps tools say and do, by their own code where it can be had: Flux and kstatus as Go packages, Argo CD's script
by Debian's Lua 5.1 (Argo CD runs it in gopher-lua, which is Lua 5.1 too).
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.kube import Manifest
from tests.support.programs import build, program

__all__ = ["ARGO", "FLUX", "Flux", "argo_health", "flux_expressions"]

GITOPS = Path(__file__).parents[2] / "deploy/gitops"
ARGO = GITOPS / "argocd/resource_customizations/keywright.dev/ApiKey"
FLUX = GITOPS / "flux/kustomization.yaml"


def argo_health(manifest: Manifest) -> tuple[str, str]:
    """Status and message that health.lua gives the object."""
    script = (ARGO / "health.lua").read_text()
    chunk = f"obj = {_lua(manifest)}\nlocal health = (function()\n{script}\nend)()\nprint(health.status)\nprint(health.message)"
    done = subprocess.run(
        [program("lua5.1"), "-"], input=chunk, text=True, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    status, _, message = done.stdout.partition("\n")
    return status, message.removesuffix("\n")


def flux_expressions() -> dict[str, str]:
    """The health expressions of the Flux Kustomization that is shipped."""
    (expressions,) = yaml.safe_load(FLUX.read_text())["spec"]["healthCheckExprs"]
    return {name: expressions[name] for name in ("inProgress", "failed", "current")}


class Flux:
    """Flux and kstatus, by their own packages."""

    def __init__(self, folder: Path) -> None:
        self._program = build("./gitops", "gitops", folder)

    def judge(self, manifests: Sequence[Manifest], expressions: dict[str, str]) -> list[tuple[str, str]]:
        """For each object what kstatus and what Flux's health expressions say."""
        done = self._run("judge", json.dumps(expressions), manifests)
        assert done.returncode == 0, done.stderr
        return [(each["kstatus"], each["flux"]) for each in json.loads(done.stdout)]

    def apply(self, kubeconfig: Path, *manifests: Manifest) -> str:
        """Apply as kustomize-controller does. What it has to say against it, empty if nothing."""
        done = self._run("apply", str(kubeconfig), manifests)
        return done.stderr if done.returncode else ""

    def _run(self, verb: str, argument: str, manifests: Sequence[Manifest]) -> "subprocess.CompletedProcess[str]":
        command = [str(self._program), verb, argument]
        return subprocess.run(
            command, input=json.dumps(manifests), text=True, capture_output=True, timeout=120, check=False
        )


def _lua(value: Any) -> str:
    """A value of JSON as a Lua literal. Control characters go as decimal escapes, the rest is bytes to Lua."""
    match value:
        case dict():
            return "{" + ", ".join(f"[{_lua(key)}] = {_lua(each)}" for key, each in value.items()) + "}"
        case list():
            return "{" + ", ".join(map(_lua, value)) + "}"
        case str():
            return '"' + "".join(f"\\{ord(c):03d}" if c in '"\\' or ord(c) < 32 else c for c in value) + '"'
        case None:
            return "nil"
        case _:
            return json.dumps(value)
