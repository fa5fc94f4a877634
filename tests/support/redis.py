"""A real redis-server for tests that share limits: on a free port, in memory, gone with its context."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kube import eventually
from tests.support.processes import Process, start

__all__ = ["find_redis", "redis"]


def find_redis() -> str:
    """Where redis-server is. Without one the test is skipped, but not where nobody would read that (CI=true)."""
    found = shutil.which("redis-server")
    if found is None:
        missing = "there is no redis-server: run make test-deps"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextlib.contextmanager
def redis(log: Path, address: str, *flags: str | Path) -> Iterator[Process]:
    """A server at this address that answers."""
    host, _, port = address.rpartition(":")
    command = [find_redis(), "--bind", host, "--port", port, "--save", "", "--appendonly", "no"]
    with start([*command, "--dir", log.parent, *flags], kubeconfig=None, log=log) as process:

        def answers() -> bool:
            assert process.popen.poll() is None, process.log
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as client:
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
            return False

        eventually(answers, what="redis-server answers")
        yield process
