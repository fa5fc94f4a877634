"""A Docker daemon: the machine's own, or one started for as long as it is needed.

The one started here needs root and Debian's docker.io. It has its own socket
and its own images, which stay in the cache, and no network at all: nothing can
be pulled by it, and what runs in it talks to nobody.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from keywright_local.errors import LocalClusterError, StartError
from keywright_local.processes import Supervisor, tail
from keywright_local.versions import cache_directory

__all__ = ["DockerUnavailableError", "docker_environment"]

_START_SECONDS = 60.0
# Daemons live where not every account looks.
_DAEMON_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class DockerUnavailableError(LocalClusterError):
    """No Docker daemon answers, and none can be started."""


@contextmanager
def docker_environment(environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, str]]:
    """The environment in which ``docker`` finds a daemon that answers, for as long as the context is open.

    Raises DockerUnavailableError where there is none, StartError when one of our own does not start.
    """
    if shutil.which("docker", path=environment.get("PATH")) is None:
        raise DockerUnavailableError("There is no docker.", remedy="install Docker, or run make test-deps as root.")
    if _answers(dict(environment)):
        yield dict(environment)
        return
    searched = os.pathsep.join([environment.get("PATH", ""), *_DAEMON_FOLDERS])
    program = shutil.which("dockerd", path=searched)
    if program is None or os.geteuid() != 0:
        raise DockerUnavailableError(
            "No Docker daemon answers, and none can be started: " + ("only root can." if program else "no dockerd."),
            remedy="start Docker, or run as root after make test-deps.",
        )
    with _own_daemon(program, cache_directory(environment) / "docker", dict(environment)) as own:
        yield own


@contextmanager
def _own_daemon(program: str, data: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    data.mkdir(parents=True, exist_ok=True)
    with (data.parent / "docker.lock").open("w") as lock:
        # Two daemons cannot share their images: whoever comes second waits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A short name, because the path of a socket is bounded.
        scratch = Path(tempfile.mkdtemp(prefix="kw-docker-"))
        supervisor = Supervisor(remove=[scratch])
        own = {**environment, "DOCKER_HOST": f"unix://{scratch}/docker.sock"}
        try:
            log = scratch / "dockerd.log"
            supervisor.start("dockerd", _command(program, data, scratch), log=log)
            deadline = time.monotonic() + _START_SECONDS
            while not _answers(own):
                if supervisor.exit_code("dockerd") is not None or time.monotonic() > deadline:
                    raise StartError(
                        "The Docker daemon did not start.",
                        remedy="read its own words below; unprivileged sandboxes often forbid it.",
                        details=tail(log),
                    )
                time.sleep(0.2)
            yield own
            supervisor.stop("dockerd", signal.SIGTERM)
        finally:
            supervisor.close()


def _command(program: str, data: Path, scratch: Path) -> list[str]:
    return [
        program,
        f"--host=unix://{scratch}/docker.sock",
        f"--data-root={data}",
        f"--exec-root={scratch}/exec",
        f"--pidfile={scratch}/pid",
        # No bridge and no rules in the machine's firewall.
        "--bridge=none",
        "--iptables=false",
        "--ip-masq=false",
        "--ip-forward=false",
    ]


def _answers(environment: Mapping[str, str]) -> bool:
    asked = subprocess.run(["docker", "version"], env=environment, capture_output=True, check=False, timeout=60)
    return asked.returncode == 0
