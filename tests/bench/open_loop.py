"""An open-loop client: requests leave when they are due, whether or not the last ones were answered.

Each latency counts from the moment the request was due, so a server that stalls pays for all that should have been
sent meanwhile (no coordinated omission). One thread that never sleeps: timers of an event loop are a
millisecond coarse, which is the size of what is measured. Arrivals are a Poisson process with a fixed seed.
"""

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.bench.machine import on_core

__all__ = ["Stream", "get", "get_verify", "play"]

PATIENCE = 5.0  # seconds for what is still under way in the end
_END = b"\r\n\r\n"


def get_verify(key: str) -> bytes:
    """GET /verify with a key, as a proxy asks."""
    return get("/verify", key)


def get(target: str, key: str) -> bytes:
    """GET with a key."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


@dataclass(slots=True, kw_only=True)
class Stream:
    """Requests of one kind to one server. ``latencies`` are in seconds, filled by :func:`play`."""

    address: str
    rate: float
    requests: Sequence[bytes]
    status: int
    connections: int = 64
    latencies: list[float] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    stream: "_State"
    due: float = 0.0
    rest: bytes = b""


@dataclass(slots=True, eq=False)
class _State:
    stream: Stream
    expected: bytes
    idle: list[_Connection] = field(default_factory=list)
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


def play(streams: Sequence[Stream], seconds: float, *, core: int, seed: int = 1) -> None:
    """Send all streams at once for so long and wait for the last answers.

    Raises:
        AssertionError: for an answer that is not the expected one, or none at all.
        ConnectionError: if a server resets a connection.

    """
    states = [_State(each, b"HTTP/1.1 %d " % each.status) for each in streams]
    connections: dict[int, _Connection] = {}
    poll = select.epoll()
    try:
        for state in states:
            for _ in range(state.stream.connections):
                connection = _connect(state)
                connections[connection.socket.fileno()] = connection
                poll.register(connection.socket, select.EPOLLIN)
                state.idle.append(connection)
        arrivals = sorted(_arrivals(states, seconds, Random(seed)), key=lambda each: each[0])
        with on_core(core):
            _drive(arrivals, connections, poll, seconds)
    finally:
        poll.close()
        for connection in connections.values():
            connection.socket.close()


def _arrivals(states: Sequence[_State], seconds: float, rng: Random) -> Iterator[tuple[float, _State, bytes]]:
    for state in states:
        due, requests = 0.0, state.stream.requests
        number = 0
        while (due := due + rng.expovariate(state.stream.rate)) < seconds:
            yield due, state, requests[number % len(requests)]
            number += 1


def _drive(
    arrivals: Sequence[tuple[float, _State, bytes]],
    connections: dict[int, _Connection],
    poll: select.epoll,
    seconds: float,
) -> None:
    clock = time.perf_counter
    following, under_way = 0, 0
    gc.collect()
    gc.disable()
    start = clock()
    try:
        while following < len(arrivals) or under_way:
            now = clock() - start
            assert now < seconds + PATIENCE, f"{under_way} requests were never answered"
            while following < len(arrivals) and arrivals[following][0] <= now:
                due, state, request = arrivals[following]
                following += 1
                under_way += 1
                if state.idle:
                    connection = state.idle.pop()
                    connection.due = due
                    connection.socket.send(request)
                else:
                    state.waiting.append((due, request))
            for descriptor, _ in poll.poll(0):
                under_way -= _receive(connections[descriptor], start)
    finally:
        gc.enable()


def _receive(connection: _Connection, start: float) -> int:
    """Take what has arrived; 1 when that completes an answer."""
    data = connection.rest + connection.socket.recv(65536)
    end = data.find(_END)
    if end < 0 or len(data) < end + len(_END) + _body_length(data[:end]):
        assert len(data) > len(connection.rest), "the server closed a connection"
        connection.rest = data
        return 0
    state = connection.stream
    state.stream.latencies.append(time.perf_counter() - start - connection.due)
    assert data.startswith(state.expected), f"answered {data[:end].decode('latin-1')!r}"
    connection.rest = b""
    if state.waiting:
        connection.due, request = state.waiting.popleft()
        connection.socket.send(request)
    else:
        state.idle.append(connection)
    return 1


def _body_length(head: bytes) -> int:
    """A 204 has no such field."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length: ")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _connect(state: _State) -> _Connection:
    host, _, port = state.stream.address.rpartition(":")
    opened = socket.create_connection((host, int(port)), timeout=5)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setblocking(False)
    return _Connection(opened, state)
