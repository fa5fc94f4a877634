"""Build the krew archive of ``kubectl apikey`` for this platform, and the manifest that goes with it.

    .venv/bin/python deploy/krew/package.py build/krew --uri https://example.com/kubectl-apikey.tar.gz

The archive holds the program with all it imports, as locked in requirements/cli.lock, for the version of Python that
builds it. It is the same for the same inputs, byte for byte.
"""

import argparse
import gzip
import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from string import Template

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# krew links to it from another folder.
LAUNCHER = f"""\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
command -v python{PYTHON} >/dev/null || {{
  echo "kubectl apikey: install Python {PYTHON}, it runs on that" >&2
  exit 1
}}
PYTHONPATH="$here/lib" exec python{PYTHON} -c 'from keywright.kubectl.main import main; raise SystemExit(main())' "$@"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the krew archive and its manifest.")
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("--uri", required=True, help="where the archive will be published")
    parsed = parser.parse_args()
    parsed.folder.mkdir(parents=True, exist_ok=True)
    archive = parsed.folder / "kubectl-apikey.tar.gz"
    with tempfile.TemporaryDirectory() as stage:
        fill(Path(stage))
        pack(Path(stage), archive)
    manifest = Template((ROOT / "deploy/krew/apikey.yaml").read_text()).substitute(
        version=version("keywright"),
        python=PYTHON,
        os=platform.system().lower(),
        arch=ARCHITECTURES[platform.machine()],
        uri=parsed.uri,
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
    )
    (parsed.folder / "apikey.yaml").write_text(manifest)
    print(f"{archive} and {parsed.folder / 'apikey.yaml'}")


def fill(stage: Path) -> None:
    """Put the program, its licence and everything it imports into the folder."""
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    into = ["--target", str(stage / "lib")]
    subprocess.run([*pip, *into, "--require-hashes", "-r", str(ROOT / "requirements/cli.lock")], check=True)
    subprocess.run([*pip, *into, "--no-deps", "--no-build-isolation", str(ROOT)], check=True)
    # What pip leaves behind of this machine: scripts that name its Python, and where the sources lay.
    shutil.rmtree(stage / "lib/bin")
    for left in stage.glob("lib/keywright-*/direct_url.json"):
        left.unlink()
    (stage / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
    launcher = stage / "kubectl-apikey"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)


def pack(stage: Path, archive: Path) -> None:
    """Nobody's files, in order and without dates."""

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(stage.rglob("*")):
            tar.add(path, path.relative_to(stage), recursive=False, filter=anonymous)


if __name__ == "__main__":
    main()
