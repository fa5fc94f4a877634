"""The product's own processes, run as users run them, with their logs kept for the test to read."""

import contextlib
import functools
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from keywright_local.ports import pick_free_port
from tests.support.kube import eventually

__all__ = ["BIN", "Process", "figure", "free_address", "get", "operator", "say", "serving", "start", "verifier"]

BIN = Path(sys.executable).parent


class Process:
    """A running process and its log."""

    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.popen = popen
        self.log_file = log

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status. Killed if it does not end."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextlib.contextmanager
def start(
    command: Sequence[str | Path], *, kubeconfig: Path | None, log: Path, environment: dict[str, str] | None = None
) -> Iterator[Process]:
    """Run a command for as long as the context is open."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("KEYWRIGHT_", "KUBE"))}
    if kubeconfig is not None:
        variables["KUBECONFIG"] = str(kubeconfig)
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [str(part) for part in command],
            env=variables | (environment or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
            try:
                popen.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def operator(
    kubeconfig: Path, log: Path, *flags: str, namespaces: Sequence[str] = (), ready: bool = True
) -> Iterator[Process]:
    """``keywright operator``, ready."""
    probes = free_address()
    chosen = [part for each in namespaces for part in ("--namespace", each)]
    command: list[str | Path] = [BIN / "keywright", "operator", "--health-listen", probes, *chosen, *flags]
    with start(command, kubeconfig=kubeconfig, log=log) as process:
        if ready:
            wait_ready(process, probes)
        yield process


@contextlib.contextmanager
def serving(
    part: str,
    kubeconfig: Path,
    log: Path,
    *flags: str,
    namespaces: Sequence[str] = (),
    ready: bool = True,
    environment: dict[str, str] | None = None,
) -> Iterator[tuple[Process, str, str]]:
    """``keywright verifier`` or ``console``: the process, its address and its admin address. Without ``namespaces`` it
    serves all of them.
    """
    listen, admin = free_address(), free_address()
    chosen = [word for each in namespaces for word in ("--namespace", each)] or ["--all-namespaces"]
    at = ("--listen", listen, "--admin-listen", admin)
    command: list[str | Path] = [BIN / "keywright", part, *at, *chosen, *flags]
    with start(command, kubeconfig=kubeconfig, log=log, environment=environment) as process:
        if ready:
            wait_ready(process, admin)
        yield process, listen, admin


verifier = functools.partial(serving, "verifier")


def wait_ready(process: Process, address: str) -> None:
    def look() -> bool:
        assert process.popen.poll() is None, f"exited with {process.popen.returncode}: {process.log}"
        return get(address, "/readyz")[0] == 200

    eventually(look, within=30, what=f"ready: {process.log}")


def get(address: str, path: str = "/verify", **headers: str) -> tuple[int, dict[str, str], str]:
    """One GET: status (0 if nobody listens), headers in lower case, body."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read().decode()
    except OSError:
        return 0, {}, ""
    finally:
        connection.close()


def figure(admin: str, name: str) -> float:
    """A counter or gauge of a verifier, as in ``argon2_runs_total``; labels go with the name."""
    found = re.search(rf"^keywright_verifier_{re.escape(name)} (\S+)$", get(admin, "/metrics")[2], re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def say(figures: str) -> None:
    """What a test has reached, for ``pytest -rP`` to show."""
    sys.stdout.write(f"{figures}\n")


def free_address() -> str:
    return f"127.0.0.1:{pick_free_port()}"
