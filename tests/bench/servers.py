"""The servers under test, each as its users run it: the verifier (before a stand-in API server), and its rivals."""

import contextlib
import datetime as dt
import http.client
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keywright_local.certificates import CertificateAuthority
from keywright_local.kubeconfigs import BearerToken, render_kubeconfig
from tests.bench.bench import Bench
from tests.bench.contender import RULES
from tests.bench.machine import pinned
from tests.bench.measures import SkippedError
from tests.support.processes import BIN, Process, free_address, start

__all__ = ["Verifier", "asgi", "idle", "nginx", "rules", "stand_in", "verifier", "verifier_with", "wait_listening"]

START_SECONDS = 240.0  # 100,000 keys on one core that others use too
POLL_SECONDS = 0.005

_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  server {{
    listen {address} backlog=1024;
    location / {{ {answer} }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A running verifier. ``ready_after`` is in seconds from the start of its process."""

    process: Process
    address: str
    admin: str
    ready_after: float

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    def count(self, name: str) -> int:
        """A counter or gauge of its metrics, as in ``argon2_runs_total``; labels go with the name."""
        wanted = f"keywright_verifier_{name} "
        for line in _get(self.admin, "/metrics")[1].splitlines():
            if line.startswith(wanted):
                return int(float(line.removeprefix(wanted)))
        raise LookupError(f"the verifier has no metric {wanted}")


@contextlib.contextmanager
def stand_in(bench: Bench, keys: int, *, limited: bool = False) -> Iterator[Path]:
    """A stand-in API server with so many ApiKeys, under limits if asked for; yields a kubeconfig for it."""
    address, folder = free_address(), bench.folder / f"stand-in-{keys}-{time.monotonic_ns()}"
    folder.mkdir()
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create("keywright-bench", now=now)
    pair = authority.issue_for_server(["localhost"], ["127.0.0.1"], now=now)
    certificate, private_key, kubeconfig = folder / "tls.crt", folder / "tls.key", folder / "kubeconfig"
    certificate.write_bytes(pair.public)
    private_key.write_bytes(pair.private)
    kubeconfig.write_bytes(
        render_kubeconfig(
            server=f"https://{address}",
            authority=authority.key_pair.public,
            user="bench",
            credential=BearerToken(token="nobody-asks"),
        )
    )
    command = [sys.executable, "-m", "tests.bench.stand_in", address, str(keys), str(certificate), str(private_key)]
    command += ["limited"] if limited else []
    with start(command, kubeconfig=None, log=folder / "log") as process:
        wait_listening(process, address)
        yield kubeconfig


def rules(bench: Bench) -> list[str]:
    """The flags of a verifier that holds each request against the rules file of all contests."""
    file = bench.folder / "rules.yaml"
    # Once: verifiers that run already would read it again.
    if not file.exists():
        file.write_text(RULES)
    return ["--rules", str(file)]


@contextlib.contextmanager
def verifier(bench: Bench, kubeconfig: Path, *flags: str, core: int | None = None) -> Iterator[Verifier]:
    """``keywright verifier``, ready; held on one core if asked for."""
    listen, admin = free_address(), free_address()
    command = [str(BIN / "keywright"), "verifier", "--listen", listen, "--admin-listen", admin, *flags]
    started_at = time.monotonic()
    log = bench.folder / f"verifier-{time.monotonic_ns()}.log"
    with start(command if core is None else pinned(core, command), kubeconfig=kubeconfig, log=log) as process:
        _wait(process, lambda: _get(admin, "/readyz")[0] == 200)
        yield Verifier(process=process, address=listen, admin=admin, ready_after=time.monotonic() - started_at)


@contextlib.contextmanager
def verifier_with(bench: Bench, keys: int, *flags: str, core: int | None = None) -> Iterator[Verifier]:
    """A verifier that has read so many keys from a stand-in API server."""
    with (
        stand_in(bench, keys) as kubeconfig,
        verifier(bench, kubeconfig, "--all-namespaces", *flags, core=core) as found,
    ):
        assert found.count("keys") == keys, f"the verifier holds {found.count('keys')} keys of {keys}"
        yield found


@contextlib.contextmanager
def nginx(bench: Bench, *, core: int, answer: str = "return 204;") -> Iterator[str]:
    """Debian's nginx with one answer to everything: one worker, keepalive, no access log. Yields its address.

    Raises:
        SkippedError: where there is no nginx.

    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise SkippedError("there is no nginx: make test-deps")
    address, folder = free_address(), bench.folder / f"nginx-{time.monotonic_ns()}"
    folder.mkdir()
    # Its worker may be another user, who has to get through here.
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, address=address, answer=answer))
    arguments = [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with start(pinned(core, arguments), kubeconfig=None, log=folder / "log") as process:
        wait_listening(process, address)
        yield address


@contextlib.contextmanager
def idle(bench: Bench, name: str, *, core: int) -> Iterator[str]:
    """A Python server (``uvicorn`` or ``granian``) that judges nothing and answers 204. Yields its address."""
    granian = ["--interface", "rsgi", "--workers", "1", "--loop", "uvloop", "tests.bench.idle_apps:rsgi"]
    with (
        asgi(bench, "tests.bench.idle_apps:asgi", core=core)
        if name == "uvicorn"
        else _python(bench, "granian", granian, core=core) as address
    ):
        yield address


@contextlib.contextmanager
def asgi(bench: Bench, app: str, *more: str, core: int, kubeconfig: Path | None = None, **told: str) -> Iterator[str]:
    """uvicorn with an application (``module:name``), one process, no access log. Yields its address."""
    arguments = ["--no-access-log", "--log-level", "warning", *more, app]
    with _python(bench, "uvicorn", arguments, core=core, kubeconfig=kubeconfig, environment=told) as address:
        yield address


@contextlib.contextmanager
def _python(
    bench: Bench,
    name: str,
    arguments: Sequence[str],
    *,
    core: int,
    kubeconfig: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[str]:
    address = free_address()
    host, _, port = address.rpartition(":")
    command = pinned(core, [str(BIN / name), "--host", host, "--port", port, *arguments])
    log = bench.folder / f"{name}-{time.monotonic_ns()}.log"
    with start(command, kubeconfig=kubeconfig, log=log, environment=environment) as process:
        wait_listening(process, address)
        yield address


def wait_listening(process: Process, address: str) -> None:
    """Return once somebody listens there. Raises AssertionError, with the log, for a process that ended or takes too long."""
    _wait(process, lambda: _is_listening(address))


def _wait(process: Process, is_met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_met():
        assert process.popen.poll() is None, f"exited with {process.popen.returncode}: {process.log}"
        assert time.monotonic() < deadline, f"not up after {START_SECONDS:.0f} s: {process.log}"
        time.sleep(POLL_SECONDS)


def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()
