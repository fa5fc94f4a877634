"""The archive for krew runs where the project is not installed, and its manifest names it truly."""

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

from tests.integration.conftest import ROOT

URI = "https://example.com/kubectl-apikey.tar.gz"


def test_the_archive_runs_by_itself(tmp_path: Path) -> None:
    """Unpacked and linked to, as krew does, with nothing but that version of Python on the path."""
    command = [sys.executable, str(ROOT / "deploy/krew/package.py"), str(tmp_path), "--uri", URI]
    subprocess.run(command, check=True, capture_output=True, timeout=500)
    archive = tmp_path / "kubectl-apikey.tar.gz"
    manifest = yaml.safe_load((tmp_path / "apikey.yaml").read_text())
    platform = manifest["spec"]["platforms"][0]
    assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert platform["uri"] == URI
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "store", filter="data")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/kubectl-apikey"
    program.symlink_to(tmp_path / "store" / platform["bin"])
    python = tmp_path / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    python.symlink_to(Path(sys.executable).resolve())
    path = os.pathsep.join([str(tmp_path / "bin"), "/usr/bin", "/bin"])
    done = subprocess.run([program, "--version"], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"version {manifest['spec']['version'].removeprefix('v')}" in done.stdout
    done = subprocess.run(
        [program, "list"], env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("kubectl apikey: no kubeconfig at ")
