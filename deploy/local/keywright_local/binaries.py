"""Find the control plane's programs, or have them made.

The order is fixed: KUBEBUILDER_ASSETS, because somebody chose it; the cache; an
official download, where the network allows one; the build. Each program is
taken from the first place that has it, since no single place but the build has
all of them (envtest knows no kube-controller-manager).
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keywright_local.downloads import (
    download_controller_manager,
    download_envtest,
    envtest_folders,
)
from keywright_local.errors import BinariesUnavailableError
from keywright_local.go_build import Builder, find_go
from keywright_local.versions import (
    PROGRAMS,
    PinnedVersions,
    cache_directory,
    read_pinned_versions,
)

__all__ = ["Binaries", "Report", "exclusive_use", "find_binaries", "report_to_stderr"]

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where each program of the control plane lies."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path


def report_to_stderr(line: str) -> None:
    """Print one line of progress where it disturbs no output."""
    print(f"keywright-local: {line}", file=sys.stderr, flush=True)


def find_binaries(environment: Mapping[str, str] = os.environ, report: Report = report_to_stderr) -> Binaries:
    """All four programs, downloaded or built if need be.

    Raises BinariesUnavailableError when KUBEBUILDER_ASSETS holds something
    unusable, or when nothing is found and Go is missing, too old or fails.
    """
    versions = read_pinned_versions()
    cache = cache_directory(environment)
    folder = cache / "binaries" / versions.folder
    assets = _assets_folder(environment, versions)

    def look() -> dict[str, Path]:
        chosen = [] if assets is None else [assets]
        return _look_in([*chosen, folder, *envtest_folders(cache, versions)])

    if not _missing(found := look()):
        return _gather(found)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_use(folder, report):
        # Whoever held the lock before us has probably made what we lack.
        if not _missing(found := look()):
            return _gather(found)
        filler = _Filler(folder=folder, look=look, versions=versions, report=report)
        filler.fill(environment)
        return _gather(look())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filler:
    """Downloads what can be downloaded into the cache, and builds the rest."""

    folder: Path
    look: Callable[[], Mapping[str, Path]]
    versions: PinnedVersions
    report: Report

    def fill(self, environment: Mapping[str, str]) -> None:
        has_server = {"etcd", "kube-apiserver"} <= self.look().keys()
        if has_server:
            # Even without Go: the one program that envtest lacks may be all we need.
            download_controller_manager(self.folder, self.versions, self.report)
        if not _missing(self.look()):
            return
        go = find_go(environment, self.versions)
        cache = cache_directory(environment)
        if not has_server and download_envtest(cache, go, self.versions, self.report):
            download_controller_manager(self.folder, self.versions, self.report)
        if missing := _missing(self.look()):
            Builder(go=go, versions=self.versions, report=self.report).build(missing, self.folder)


def _look_in(folders: Sequence[Path]) -> dict[str, Path]:
    return {
        program: folder / program
        for folder in reversed(folders)
        for program in PROGRAMS
        if os.access(folder / program, os.X_OK)
    }


def _missing(found: Mapping[str, Path]) -> list[str]:
    return [program for program in PROGRAMS if program not in found]


def _gather(found: Mapping[str, Path]) -> Binaries:
    return Binaries(
        etcd=found["etcd"],
        kube_apiserver=found["kube-apiserver"],
        kube_controller_manager=found["kube-controller-manager"],
        kubectl=found["kubectl"],
    )


def _assets_folder(environment: Mapping[str, str], versions: PinnedVersions) -> Path | None:
    """The folder in KUBEBUILDER_ASSETS, if what it holds can be used."""
    named = environment.get("KUBEBUILDER_ASSETS")
    if not named:
        return None
    folder = Path(named).expanduser().absolute()
    absent = [program for program in ("etcd", "kube-apiserver") if program not in _look_in([folder])]
    if absent:
        raise BinariesUnavailableError(
            f"KUBEBUILDER_ASSETS names {folder}, which has no {' and no '.join(absent)}.",
            remedy="point it to a folder of setup-envtest, or unset it.",
        )
    if not (folder / "kube-controller-manager").exists():
        _refuse_version_skew(folder / "kube-apiserver", versions)
    return folder


def _refuse_version_skew(server: Path, versions: PinnedVersions) -> None:
    """Our controller manager serves an API server of its own minor version or one newer."""
    asked = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"v(\d+)\.(\d+)", asked.stdout)
    major, minor = versions.kubernetes_minor
    actual = None if match is None else (int(match[1]), int(match[2]))
    if actual not in {(major, minor), (major, minor + 1)}:
        raise BinariesUnavailableError(
            f"KUBEBUILDER_ASSETS holds {asked.stdout.strip() or 'an unknown API server'} and no "
            f"kube-controller-manager; ours is {versions.kubernetes} and may not be newer.",
            remedy=f"put a kube-controller-manager beside it, take the assets of {major}.{minor}, "
            "or unset KUBEBUILDER_ASSETS.",
        )


@contextmanager
def exclusive_use(folder: Path, report: Report) -> Iterator[None]:
    """Let one process at a time fill the folder; the kernel frees the lock of a dead one."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"another process is filling {folder}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
