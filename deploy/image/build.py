"""Build the image: fill the build context with wheels, then build on it without a network.

``make image`` runs this. BASE names the base (default: what the Dockerfile names); ``BASE=local`` makes one with
debootstrap where nothing can be pulled. IMAGE names the result (default: keywright:dev). It is kept in Docker, and in
build/image/keywright.tar for a node's ``ctr images import``.
"""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keywright_local import LocalClusterError
from keywright_local.docker_daemon import docker_environment

ROOT = Path(__file__).parents[2]
CONTEXT = ROOT / "build/image/context"
ARCHIVE = ROOT / "build/image/keywright.tar"
LOCAL, LOCAL_BASE = "local", "keywright-base:local"
# An older one lacks what Debian has mended since.
LOCAL_BASE_AGE = timedelta(days=7)
# Of newer C libraries first; pip takes the newest that it has a wheel for. Debian 12 has 2.36.
MANYLINUX = (36, 34, 31, 28, 27, 24, 17)


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command, its errors shown; answer what it printed."""
    done = subprocess.run([str(each) for each in command], env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        raise LocalClusterError(
            f"`{' '.join(str(each) for each in command[:3])} …` failed.",
            remedy="read its own words above; where no base image can be pulled: make image BASE=local",
        )
    return done.stdout.strip()


def choose_base(env: dict[str, str]) -> str:
    """The name of the base image; ours is made if it is not there yet, or old."""
    named = os.environ.get("BASE") or re.findall(r"^ARG BASE=(\S+)", dockerfile(), re.MULTILINE)[0]
    if named != LOCAL:
        return named
    if run("docker", "image", "ls", "--quiet", LOCAL_BASE, env=env):
        made_at = datetime.fromisoformat(
            run("docker", "image", "inspect", "--format={{.Created}}", LOCAL_BASE, env=env)
        )
        if datetime.now(tz=UTC) - made_at < LOCAL_BASE_AGE:
            return LOCAL_BASE
        run("docker", "image", "rm", "--force", LOCAL_BASE, env=env)
    run(ROOT / "deploy/image/make-base", LOCAL_BASE, env=env)
    return LOCAL_BASE


def dockerfile() -> str:
    return (ROOT / "deploy/image/Dockerfile").read_text()


def fill_context(python: str, machine: str, epoch: str) -> None:
    """Put the Dockerfile, the lock and all wheels for this Python (as in ``3.11``, ``x86_64``) into the context."""
    shutil.rmtree(CONTEXT, ignore_errors=True)
    wheels = CONTEXT / "wheels"
    wheels.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/image/Dockerfile", CONTEXT)
    shutil.copy(ROOT / "requirements/image.lock", CONTEXT)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = ["--python-version", python, "--only-binary", ":all:", "--implementation", "cp"]
    target += [part for abi in ("cp" + python.replace(".", ""), "abi3", "none") for part in ("--abi", abi)]
    target += [part for libc in MANYLINUX for part in ("--platform", f"manylinux_2_{libc}_{machine}")]
    target += ["--platform", f"manylinux2014_{machine}"]
    run(*pip, "download", "--require-hashes", "--no-deps", "--dest", wheels, *target, "-r", CONTEXT / "image.lock")
    # From a copy: setuptools leaves what it has built beside the sources, and takes it up again.
    source = CONTEXT / "source"
    shutil.copytree(ROOT / "operator", source / "operator", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    env = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source, env=env)
    shutil.rmtree(source)


def git(*arguments: str) -> str:
    """What git says, or nothing where this is no checkout."""
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def build(image: str, env: dict[str, str]) -> None:
    """Build, tag and save."""
    base = choose_base(env)
    asked = "import os, sys; print('%d.%d' % sys.version_info[:2], os.uname().machine)"
    run_base = ("docker", "run", "--rm", "--network=none", "--entrypoint=python3", base)
    python, machine = run(*run_base, "-c", asked, env=env).split()
    revision = git("rev-parse", "HEAD") or "unknown"
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct", revision) or "315532800"
    fill_context(python, machine, epoch)
    version = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    arguments = {
        "BASE": base,
        "SOURCE_DATE_EPOCH": epoch,
        "VERSION": version,
        "REVISION": revision,
    }
    chosen = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    run("docker", "build", "--quiet", "--network=none", *chosen, "--tag", image, CONTEXT, env=env)
    # What it was built in; the builder would keep it for ever.
    run("docker", "image", "prune", "--force", "--filter=label=dev.keywright.stage=build", env=env)
    run("docker", "save", "--output", ARCHIVE, image, env=env)
    size = int(run("docker", "image", "inspect", "--format={{.Size}}", image, env=env))
    base_size = int(run("docker", "image", "inspect", "--format={{.Size}}", base, env=env))
    print(f"{image}: {size / 2**20:.0f} MiB, of which {base_size / 2**20:.0f} MiB are {base} (Python {python})")
    print(f"saved as {ARCHIVE.relative_to(ROOT)}")


def main() -> int:
    """Build the image and answer the exit status."""
    try:
        with docker_environment() as env:
            build(os.environ.get("IMAGE") or "keywright:dev", env)
    except LocalClusterError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
