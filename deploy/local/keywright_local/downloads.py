"""Official downloads, for machines whose network allows them.

setup-envtest brings etcd, kube-apiserver and kubectl; it has no
kube-controller-manager, so that one comes from the Kubernetes release itself.
Offline has to cost next to nothing: one short question decides whether a
download is tried at all, and every failure here only means "build it instead".
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from keywright_local.errors import LocalClusterError
from keywright_local.processes import Supervisor
from keywright_local.versions import PinnedVersions

__all__ = ["download_controller_manager", "download_envtest", "envtest_folders"]

Report = Callable[[str], None]

_SETUP_ENVTEST = "sigs.k8s.io/controller-runtime/tools/setup-envtest@v0.25.1"
_ENVTEST_INDEX = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"
_RELEASES = "https://dl.k8s.io"
_PROBE_SECONDS = 3.0
_DOWNLOAD_SECONDS = 180.0


def _read(address: str, timeout: float) -> bytes | None:
    """What is at an address, or None for whatever reason it cannot be had."""
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:
            content: bytes = answer.read()
    except OSError:
        return None
    return content


def envtest_folders(cache: Path, versions: PinnedVersions) -> list[Path]:
    """Folders that setup-envtest has filled for our minor version, the newest first."""
    major, minor = versions.kubernetes_minor
    store = cache / "envtest" / "k8s"
    found = store.glob(f"{major}.{minor}.[0-9]*-{versions.platform}")
    return sorted(found, key=lambda folder: int(re.split(r"[.-]", folder.name)[2]), reverse=True)


def download_envtest(cache: Path, go: Path, versions: PinnedVersions, report: Report) -> bool:
    """Fill the folder of ``envtest_folders``; False when the network does not allow it."""
    if _read(_ENVTEST_INDEX, _PROBE_SECONDS) is None:
        return False
    major, minor = versions.kubernetes_minor
    report(f"downloading etcd, kube-apiserver and kubectl {major}.{minor} with setup-envtest")
    with tempfile.TemporaryDirectory() as scratch:
        runner = Supervisor()
        try:
            use = ["use", f"{major}.{minor}.x", "--bin-dir", str(cache / "envtest")]
            log = Path(scratch) / "setup-envtest.log"
            runner.start("setup-envtest", [str(go), "run", _SETUP_ENVTEST, *use], log=log)
            deadline = time.monotonic() + _DOWNLOAD_SECONDS
            while (code := runner.exit_code("setup-envtest")) is None:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.2)
        except LocalClusterError:
            return False
        finally:
            runner.close()
    return code == 0


def download_controller_manager(folder: Path, versions: PinnedVersions, report: Report) -> bool:
    """Fetch kube-controller-manager from its release into ``folder``, checked by its hash."""
    program = "kube-controller-manager"
    if (folder / program).exists():
        return True
    system = versions.platform.replace("-", "/")
    address = f"{_RELEASES}/{versions.kubernetes}/bin/{system}/{program}"
    expected = _read(f"{address}.sha256", _PROBE_SECONDS)
    if expected is None:
        return False
    report(f"downloading {program} {versions.kubernetes}")
    content = _read(address, _DOWNLOAD_SECONDS)
    if content is None or hashlib.sha256(content).hexdigest() != expected.decode().strip():
        return False
    draft = folder / f".{program}.new"
    draft.write_bytes(content)
    draft.chmod(0o755)
    if subprocess.run([draft, "--version"], capture_output=True, check=False).returncode != 0:
        draft.unlink()
        return False
    draft.replace(folder / program)
    return True
