"""nginx, uvicorn and Granian, each as its users run it, held on one core."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.machine import pinned
from tests.bench.measures import SkippedError
from tests.bench.waiting import wait_listening
from tests.support.processes import BIN, free_address, start

__all__ = ["asgi", "idle", "nginx"]

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
