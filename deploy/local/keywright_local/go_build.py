"""Build the control plane's programs from their Go modules.

Where no download is allowed but the Go module proxy is, this is how a machine
comes by a real API server. It takes minutes, once per version and machine, so
it says what it is doing and how long that should take. The environment is the
machine's own: its proxy, its module cache, its flags.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keywright_local.errors import BinariesUnavailableError
from keywright_local.processes import Supervisor, tail
from keywright_local.versions import GO_MODULE, PinnedVersions

__all__ = ["Builder", "find_go"]

Report = Callable[[str], None]

# Seconds of two cores with an empty Go build cache, in the order of PROGRAMS;
# the API server goes before the controller manager, which shares most of it, and both before the programs of a node.
_ESTIMATED_CORE_SECONDS = {
    "etcd": 100,
    "kube-apiserver": 400,
    "kube-controller-manager": 120,
    "kubectl": 45,
    "kubelet": 100,
    "kube-proxy": 25,
    "kube-scheduler": 25,
    "pause": 2,
}
# What is not a command of Kubernetes, but has its main package here.
_OWN_MAINS = ("etcd", "pause")
_REPORT_EVERY_SECONDS = 10.0
_POLL_SECONDS = 0.2


def find_go(environment: Mapping[str, str], versions: PinnedVersions) -> Path:
    """The Go command, new enough for the modules.

    Raises BinariesUnavailableError when there is none, or an older one that
    may not fetch a newer toolchain by itself (``GOTOOLCHAIN=local``).
    """
    other_ways = (
        "or point KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, "
        "kube-controller-manager and kubectl, or use your own cluster with CLUSTER=current."
    )
    found = shutil.which("go", path=environment.get("PATH"))
    if found is None:
        raise BinariesUnavailableError(
            "Go is not installed, and the control plane's programs have to be built.",
            remedy=f"install Go {versions.go} or newer, {other_ways}",
        )
    asked = subprocess.run(
        [found, "env", "GOVERSION"],
        cwd=GO_MODULE,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    actual = _parse_go_version(asked.stdout)
    if actual is None or actual < (_parse_go_version(versions.go) or ()):
        seen = asked.stdout.strip() or (asked.stderr.strip().splitlines() or ["unknown"])[-1]
        raise BinariesUnavailableError(
            f"Go is too old to build the control plane's programs: found {seen}, needed go{versions.go}.",
            remedy=f"install Go {versions.go} or newer, {other_ways}",
        )
    return Path(found)


def _parse_go_version(text: str) -> tuple[int, ...] | None:
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return None if match is None else tuple(int(part or 0) for part in match.groups())


def _format_seconds(seconds: float) -> str:
    """``75`` as ``1m15s``, ``9`` as ``9s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds the pinned versions with one Go command and tells how it goes."""

    go: Path
    versions: PinnedVersions
    report: Report

    def build(self, programs: Sequence[str], folder: Path) -> None:
        """Build ``programs`` into ``folder``; each appears there whole or not at all."""
        drafts = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
        # The supervisor ends the compilers and removes the drafts if we are killed.
        supervisor = Supervisor(remove=[drafts])
        started_at = time.monotonic()
        total = sum(_estimate(program) for program in programs)
        versions = f"Kubernetes {self.versions.kubernetes}, etcd {self.versions.etcd}"
        self.report(
            f"building {', '.join(programs)} ({versions}): about {_format_seconds(total)}, once for this machine"
        )
        try:
            for program in programs:
                self._build_one(program, drafts, supervisor)
                (drafts / program).replace(folder / program)
        finally:
            supervisor.close()
        self.report(f"built all in {_format_seconds(time.monotonic() - started_at)}, kept in {folder}")

    def _build_one(self, program: str, drafts: Path, supervisor: Supervisor) -> None:
        log = drafts / f"{program}.log"
        started_at = reported_at = time.monotonic()
        supervisor.start(program, self._command(program, drafts / program), log=log)
        while (code := supervisor.exit_code(program)) is None:
            time.sleep(_POLL_SECONDS)
            now = time.monotonic()
            if now - reported_at >= _REPORT_EVERY_SECONDS:
                reported_at = now
                self.report(_describe_progress(program, now - started_at))
        if code != 0:
            raise BinariesUnavailableError(
                f"Building {program} failed.",
                remedy="read Go's own words below; most often the module proxy cannot be reached "
                "or the disk is full. KUBEBUILDER_ASSETS or CLUSTER=current do without the build.",
                details=tail(log),
            )
        self.report(f"built {program} in {_format_seconds(time.monotonic() - started_at)}")

    def _command(self, program: str, output: Path) -> list[str]:
        package = f"./{program}" if program in _OWN_MAINS else f"k8s.io/kubernetes/cmd/{program}"
        major, minor = self.versions.kubernetes_minor
        stamps = {"gitVersion": self.versions.kubernetes, "gitMajor": major, "gitMinor": minor}
        flags = ["-s -w", *(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamps.items())]
        build = ["build", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(flags), "-o", str(output), package]
        # Go's own scratch files go with the drafts, even when Go is killed.
        return ["env", f"GOTMPDIR={output.parent}", str(self.go), "-C", str(GO_MODULE), *build]


def _estimate(program: str) -> float:
    return _ESTIMATED_CORE_SECONDS[program] / max(os.cpu_count() or 1, 1)


def _describe_progress(program: str, elapsed: float) -> str:
    estimate = _estimate(program)
    if elapsed <= estimate:
        return f"building {program} {_format_seconds(elapsed)} of about {_format_seconds(estimate)}"
    return (
        f"building {program} {_format_seconds(elapsed)}, "
        f"longer than the {_format_seconds(estimate)} expected; still at work"
    )
