"""Helm and kubeconform, which the tests of the installation run.

Built with Go from the modules pinned in ``tools/go.mod`` and kept in the cache
by the hash of that file, as Debian has neither of them.
"""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keywright_local.binaries import Report, exclusive_use, report_to_stderr
from keywright_local.errors import BinariesUnavailableError
from keywright_local.go_build import find_go
from keywright_local.processes import Supervisor, tail
from keywright_local.versions import cache_directory, read_pinned_versions

__all__ = ["PackagingTools", "find_packaging_tools"]

_MODULE = Path(__file__).resolve().parent.parent / "tools"
_PACKAGES = {"helm": "helm.sh/helm/v4/cmd/helm", "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}
_BUILD_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagingTools:
    """Where the programs lie."""

    helm: Path
    kubeconform: Path


def find_packaging_tools(
    environment: Mapping[str, str] = os.environ, report: Report = report_to_stderr
) -> PackagingTools:
    """Both programs, built if need be, which takes some minutes once.

    Raises BinariesUnavailableError when Go is missing, too old or fails.
    """
    versions = read_pinned_versions()
    pins = hashlib.sha256((_MODULE / "go.sum").read_bytes()).hexdigest()[:12]
    folder = cache_directory(environment) / "binaries" / f"tools-{pins}-{versions.platform}"
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_use(folder, report):
        missing = [name for name in _PACKAGES if not (folder / name).exists()]
        if missing:
            report(f"building {' and '.join(missing)}: some minutes, once for this machine")
            _build(find_go(environment, versions), missing, folder)
    return PackagingTools(helm=folder / "helm", kubeconform=folder / "kubeconform")


def _build(go: Path, names: list[str], folder: Path) -> None:
    drafts = Path(tempfile.mkdtemp(prefix=".build-", dir=folder))
    # It ends the compilers and removes the drafts if we are killed.
    supervisor = Supervisor(remove=[drafts])
    log = drafts / "go.log"
    command = [
        str(go),
        "-C",
        str(_MODULE),
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w",
        "-o",
        str(drafts),
    ]
    try:
        supervisor.start("go", ["env", f"GOTMPDIR={drafts}", *command, *(_PACKAGES[name] for name in names)], log=log)
        deadline = time.monotonic() + _BUILD_SECONDS
        while (code := supervisor.exit_code("go")) is None:
            if time.monotonic() > deadline:
                supervisor.stop("go", signal.SIGTERM)
            time.sleep(0.2)
        if code != 0:
            raise BinariesUnavailableError(
                f"Building {' and '.join(names)} failed.",
                remedy="read Go's own words below; most often the module proxy cannot be reached.",
                details=tail(log),
            )
        for name in names:
            (drafts / name).replace(folder / name)
    finally:
        supervisor.close()
