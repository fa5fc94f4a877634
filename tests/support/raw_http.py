"""Clients that speak to a verifier in raw bytes: one that floods it, and one that watches how it fares meanwhile."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import BinaryIO, Self

__all__ = ["Probe", "connect", "exchange", "flood", "presenting", "read_answer"]

PATIENCE = 30.0
PIPELINED = 16
PROBE_EVERY = 0.005


def presenting(text: str) -> bytes:
    """The request of a proxy whose client presents this."""
    return b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % text.encode()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def read_answer(stream: BinaryIO) -> tuple[int, bytes]:
    """Status and body of the next answer. Raises EOFError where there is none."""
    line = stream.readline()
    if not line:
        raise EOFError
    length = 0
    while (header := stream.readline().lower()) not in (b"\r\n", b""):
        if header.startswith(b"content-length:"):
            length = int(header.partition(b":")[2])
    return int(line.split(b" ")[1]), stream.read(length)


def exchange(address: str, requests: Sequence[bytes]) -> Counter[str]:
    """Send requests over one connection, some at a time; the answers by status and code."""
    found: Counter[str] = Counter()
    with connect(address) as client, client.makefile("rb") as stream:
        for first in range(0, len(requests), PIPELINED):
            some = requests[first : first + PIPELINED]
            client.sendall(b"".join(some))
            for _ in some:
                status, body = read_answer(stream)
                code = body.partition(b'"code": "')[2].partition(b'"')[0].decode()
                found[f"{status} {code}".strip()] += 1
    return found


@contextlib.contextmanager
def flood(address: str, requests: Sequence[bytes], *, connections: int = 4) -> Iterator["list[Future[Counter[str]]]"]:
    """Send requests from a process of its own, so that the load takes no turns of the test's."""
    with ProcessPoolExecutor(connections, mp_context=get_context("spawn")) as pool:
        # Processes take a while to be there, which is not to be timed.
        for ready in [pool.submit(time.sleep, 0.2) for _ in range(connections)]:
            ready.result()
        yield [pool.submit(exchange, address, requests[part::connections]) for part in range(connections)]


@dataclass
class Probe:
    """Presents one right key over one connection, again and again, for as long as the context is open."""

    address: str
    key: str
    taken: list[float] = field(default_factory=list)
    refused: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        raw = presenting(self.key)
        with connect(self.address) as client, client.makefile("rb") as stream:
            while not self._done.wait(PROBE_EVERY):
                begun = time.perf_counter()
                client.sendall(raw)
                status, _ = read_answer(stream)
                self.taken.append(time.perf_counter() - begun)
                self.refused += status != 200

    def milliseconds(self, share: float) -> float:
        """A quantile of what was seen."""
        return sorted(self.taken)[int(share * (len(self.taken) - 1))] * 1000

    def __str__(self) -> str:
        return (
            f"a right key meanwhile: {len(self.taken)} times, {self.refused} refused, "
            f"p50 {self.milliseconds(0.5):.1f} ms, p99 {self.milliseconds(0.99):.1f} ms"
        )
