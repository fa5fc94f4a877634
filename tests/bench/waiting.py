"""Waiting for servers that were just started."""

import socket
import time
from collections.abc import Callable

from tests.support.processes import Process

__all__ = ["wait_for", "wait_listening"]

START_SECONDS = 240.0  # 100,000 keys on one core that others use too
POLL_SECONDS = 0.005


def wait_listening(process: Process, address: str) -> None:
    """The same, once somebody listens there."""
    wait_for(process, lambda: _is_listening(address))


def wait_for(process: Process, is_met: Callable[[], bool]) -> None:
    """Return once it is so. Raises AssertionError, with the log, for a process that ended or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not is_met():
        assert process.popen.poll() is None, f"exited with {process.popen.returncode}: {process.log}"
        assert time.monotonic() < deadline, f"not up after {START_SECONDS:.0f} s: {process.log}"
        time.sleep(POLL_SECONDS)


def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
