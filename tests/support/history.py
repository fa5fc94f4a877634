"""Earlier versions of what is installed, from the history of this checkout."""

import io
import subprocess
import tarfile
from pathlib import Path

__all__ = ["extract", "first_installation", "git"]

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> bytes:
    """What git says; nothing where this is no checkout."""
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False).stdout


def extract(commit: str, folder: Path, *paths: str) -> Path:
    """Write what a commit holds at the paths into the folder, and return that."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, *paths))) as tar:
        tar.extractall(folder, filter="data")
    return folder


def first_installation(folder: Path) -> Path | None:
    """``deploy`` and ``crds`` as of the first chart, which had no console; None where the history begins later."""
    added = git("log", "--diff-filter=A", "--format=%H", "--", "deploy/chart/keywright/Chart.yaml").decode().split()
    if not added or git("ls-tree", added[-1], "deploy/kustomize/overlays/console"):
        return None
    return extract(added[-1], folder, "deploy", "crds")
