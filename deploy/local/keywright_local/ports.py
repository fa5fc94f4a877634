"""Ports that are free now, and whether one was taken in the meantime.

Nothing can reserve a port for another program, so a caller picks one, tries,
and asks again when the program says that it came second.
"""

from __future__ import annotations

import errno
import random
import socket

__all__ = ["is_port_taken_message", "pick_free_port"]

# Below the range of outgoing connections and of node ports, so that nobody takes
# the port by chance while the API server is stopped on purpose.
_RANGE = range(20_000, 30_000)

# What this process has got already may not be listened on yet.
_given: set[int] = set()


def pick_free_port() -> int:
    """A TCP port of the loopback address that nobody listens on. Raises OSError if all are taken."""
    fresh = [port for port in _RANGE if port not in _given] or list(_RANGE)
    for port in random.sample(fresh, len(fresh)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(errno.EADDRINUSE, "all ports from 20000 to 29999 are taken")


def is_port_taken_message(log: str) -> bool:
    """Whether a log says that the port had been taken by somebody else."""
    return "address already in use" in log
