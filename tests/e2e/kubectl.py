"""kubectl, as people use it: commands, and their words when they fail."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Kubectl", "run"]


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 300,
) -> str:
    """Run a command and return what it printed; fail with what it said."""
    words = [str(each) for each in command]
    done = subprocess.run(
        words, input=stdin, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl at one cluster, and in one namespace if it names one."""

    program: Path
    kubeconfig: Path
    namespace: str = ""

    def __call__(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 300) -> str:
        place = ["--namespace", self.namespace] if self.namespace else []
        return run([self.program, "--kubeconfig", self.kubeconfig, *place, *arguments], stdin=stdin, timeout=timeout)

    def within(self, namespace: str) -> "Kubectl":
        return Kubectl(self.program, self.kubeconfig, namespace)

    def get(self, *what: str) -> Any:
        """What ``kubectl get`` shows, parsed."""
        return json.loads(self("get", *what, "-o", "json"))

    def finds(self, *what: str) -> bool:
        return bool(self("get", *what, "--ignore-not-found", "-o", "name"))

    def apply(self, *manifests: dict[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self("apply", "-f", "-", stdin=json.dumps(items))
