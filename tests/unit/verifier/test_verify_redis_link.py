"""One connection to a store: replies in order, a deadline for each, and an end that leaves nobody waiting."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import hiredis
import pytest

from keywright.addresses import Tcp
from keywright.errors import KeywrightError
from keywright.verifier.assembly import assemble
from keywright.verifier.limits.redis_link import Link
from keywright.verifier.limits.store_address import StoreAddress
from keywright.verifier.settings import VerifierSettings

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def linked(serve: Serve) -> AsyncIterator[Link]:
    """A link to a server that behaves as told."""
    served: list[asyncio.Task[None]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def serve_and_close() -> None:
            try:
                await serve(reader, writer)
                await reader.read()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

        served.append(asyncio.ensure_future(serve_and_close()))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, link = await asyncio.get_running_loop().create_connection(Link, "127.0.0.1", port)
    try:
        yield link
    finally:
        link.close("the test is over")
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        await asyncio.sleep(0)


def is_late(link: Link) -> bool:
    return link.is_late


async def test_replies_come_in_order() -> None:
    """Many commands at once, replies in whatever pieces; an error is a reply like any other."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        for piece in (b":1\r\n*2\r\n:7", b"\r\n$1\r\nx\r\n-NOSCRI", b"PT gone\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.01)

    async with linked(serve) as link:
        replies = await asyncio.gather(*(link.ask(("PING", number)) for number in range(3)))
        assert replies[:2] == [1, [7, b"x"]]
        assert isinstance(replies[2], hiredis.ReplyError)
        assert not link.lost.done()


async def test_a_server_that_is_late() -> None:
    """Whoever waits is told at the deadline; the link is late until the server has caught up, and what comes too late
    is nobody's answer."""
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b":1\r\n:2\r\n")
        await reader.readuntil(b"again\r\n")
        writer.write(b":3\r\n")

    async with linked(serve) as link:
        before = time.monotonic()
        assert list(await asyncio.gather(link.ask(("PING",), 0.02), link.ask(("PING",), 0.02))) == [None, None]
        assert time.monotonic() - before >= 0.015
        assert is_late(link)
        go_on.set()
        async with asyncio.timeout(5):
            while is_late(link):
                await asyncio.sleep(0.001)
        assert await link.ask(("PING", "again"), 5.0) == 3
        assert not link.lost.done()


async def test_a_server_that_does_not_catch_up() -> None:
    """After a second the connection is given up, and nobody waits on it any more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with linked(serve) as link:
        assert await link.ask(("PING",), 0.02) is None
        async with asyncio.timeout(10):
            assert await link.lost == "no answer for 1 s"
        assert await link.ask(("PING",)) is None


async def test_a_pause_of_our_own_is_not_the_server_s() -> None:
    """Replies that arrived while this process did something else are read before anybody is called late."""
    near, far = socket.socketpair()
    with far:
        far.settimeout(5)
        _, link = await asyncio.get_running_loop().create_connection(Link, sock=near)
        asking = link.ask(("PING",), 0.5)
        await asyncio.sleep(0.01)
        assert far.recv(1000)
        far.sendall(b"+PONG\r\n")
        time.sleep(0.7)
        assert await asking == b"PONG"
        assert not link.is_late
        link.close("the test is over")
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "the connection was lost"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak Redis's protocol"),
        (b":1\r\n:2\r\n", "it said something that nobody had asked"),
    ],
)
async def test_what_is_no_server_of_ours(sent: bytes, reason: str) -> None:
    """The connection ends with a reason, and nobody waits for it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(sent)
        writer.close()

    async with linked(serve) as link:
        asking = link.ask(("PING",))
        async with asyncio.timeout(5):
            assert await link.lost == reason
            assert await asking in (None, 1)


def test_nobody_else_loads_it() -> None:
    """A verifier without a store does not pay for one in memory."""
    code = "import sys, keywright.verifier.run; sys.exit('hiredis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what to install."""
    monkeypatch.setitem(sys.modules, "keywright.verifier.limits.redis_store", None)
    with pytest.raises(KeywrightError, match=r"pip install '\.\[redis\]' in the checkout"):
        assemble(VerifierSettings(rate_limit_store=StoreAddress(tcp=Tcp("h", 1))), [])
