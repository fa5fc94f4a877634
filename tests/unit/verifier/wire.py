"""A verifier on loopback, and clients that speak to it in raw bytes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from keywright.addresses import Tcp
from keywright.verifier.assembly import Verifier, assemble
from keywright.verifier.http.hub import Hub
from keywright.verifier.http.listener import listen
from keywright.verifier.http.request import Limits
from keywright.verifier.settings import VerifierSettings

PATIENCE = 5.0


class Watch:
    """A watch that has synced and hears of the API server all the time, unless told otherwise."""

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.synced.set()
        self.silent_since: float | None = None

    @property
    def heard_at(self) -> float:
        return time.monotonic() if self.silent_since is None else self.silent_since


@dataclass(frozen=True)
class Reply:
    """One HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def one(self, name: str) -> str:
        (value,) = self.all(name)
        return value

    @property
    def problem(self) -> dict[str, Any]:
        assert self.one("Content-Type") == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document

    @property
    def code(self) -> str:
        code: str = self.problem["code"]
        return code


async def until(look: Callable[[], object]) -> None:
    """Wait until it is so: what a client has sent is read some turns of the loop later, on a busy machine many."""
    async with asyncio.timeout(PATIENCE):
        while not look():
            await asyncio.sleep(0.005)


async def read_reply(reader: asyncio.StreamReader, *, is_head: bool = False) -> Reply:
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("ascii").split("\r\n")
        headers = [(name, value) for name, _, value in (each.partition(": ") for each in lines)]
        length = int(next(value for name, value in headers if name == "Content-Length"))
        body = b"" if is_head else await reader.readexactly(length)
    return Reply(int(line.split(" ")[1]), headers, body)


@dataclass
class Served:
    """A verifier that listens on loopback."""

    verifier: Verifier
    watch: Watch
    port: int
    hub: Hub
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def send(self, raw: bytes, *, is_head: bool = False) -> Reply:
        """Send bytes on a connection of their own; the first reply."""
        reader, writer = await self.connect()
        writer.write(raw)
        return await read_reply(reader, is_head=is_head)

    async def send_until_close(self, raw: bytes) -> bytes:
        """Send bytes; everything that comes back until the server closes."""
        reader, writer = await self.connect()
        with suppress(ConnectionError):
            writer.write(raw)
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            return await reader.read()

    async def ask(
        self, *headers: tuple[str, str], target: str = "/verify", method: str = "GET", version: str = "1.1"
    ) -> Reply:
        """Ask with these headers."""
        lines = [f"{method} {target} HTTP/{version}", "Host: verifier", *(f"{k}: {v}" for k, v in headers)]
        raw = "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"
        return await self.send(raw, is_head=method == "HEAD")

    async def present(self, text: str, **kwargs: Any) -> Reply:
        """Ask with a bearer key."""
        return await self.ask(("Authorization", f"Bearer {text}"), **kwargs)

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(ConnectionError, OSError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(settings: VerifierSettings | None = None, limits: Limits | None = None) -> AsyncIterator[Served]:
    """Assemble a verifier as the process does and put it on a free port."""
    watch = Watch()
    verifier = assemble(settings or VerifierSettings(argon2_workers=2), [watch])
    if verifier.rules is not None:
        verifier.rules.look()
    if verifier.audit is not None:
        verifier.audit.start()
    hub = verifier.verify_hub
    if limits is not None:
        hub.limits = limits
    listener = await listen(Tcp("127.0.0.1", 0), hub.open)
    assert isinstance(listener.address, Tcp)
    sweeping = asyncio.get_running_loop().create_task(hub.keep_sweeping())
    served = Served(verifier, watch, listener.address.port, hub)
    try:
        yield served
    finally:
        sweeping.cancel()
        listener.close()
        await served.close()
        await hub.stop(0)
        await asyncio.sleep(0)
        verifier.prover.close()
        if verifier.audit is not None:
            verifier.audit.close()
