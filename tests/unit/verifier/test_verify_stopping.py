"""Stopping lets what is under way finish, and closes the rest; a failure closes one connection and no other."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from keywright.domain import hashing
from keywright.verifier.keys.engine import Engine
from tests.unit.verifier.builders import CHEAP, api_key, mint, record
from tests.unit.verifier.wire import Served, read_reply, until

KEY = mint()
GOOD = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()


def has_half_a_head(served: Served) -> bool:
    """Whether the verifier has read a head that is not over."""
    return any(each._rest and not each._holds for each in served.hub.connections)


async def test_what_is_under_way_finishes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is being proven, and a head that is half there, are answered; each says that it is the last."""
    begun, opened = threading.Event(), threading.Event()
    verify: Callable[[str, str], bool] = hashing.verify

    def wait_and_verify(stored: str, plain: str) -> bool:
        begun.set()
        return opened.wait(5) and verify(stored, plain)

    monkeypatch.setattr(hashing, "verify", wait_and_verify)
    served.verifier.index.put(api_key(record(KEY, hashed=CHEAP)))
    proving, writer = await served.connect()
    writer.write(GOOD + GOOD)
    half, half_writer = await served.connect()
    half_writer.write(b"GET /verify HTTP/1.1\r\n")
    idle, _ = await served.connect()
    await until(begun.is_set)
    await until(lambda: len(served.hub.connections) == 3 and has_half_a_head(served))
    stopping = asyncio.create_task(served.hub.stop(5))
    assert await idle.read() == b""
    late = await served.send_until_close(b"")
    assert late.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in late
    opened.set()
    half_writer.write(b"Host: v\r\n\r\n")
    for reader, status in ((proving, 200), (half, 401)):
        reply = await read_reply(reader)
        assert (reply.status, reply.one("Connection")) == (status, "close")
        assert await reader.read() == b""
    await served.close()
    await stopping


async def test_what_does_not_finish_is_cut_off(served: Served) -> None:
    """The time to stop is bounded, whatever a client does."""
    reader, writer = await served.connect()
    writer.write(b"GET /verify HTTP/1.1\r\n")
    await until(lambda: has_half_a_head(served))
    async with asyncio.timeout(2):
        await served.hub.stop(0.1)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)


async def test_a_failure_is_not_an_answer(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should proving ever break off with an error, the connection ends without a verdict, and the log names
    the kind of error and nothing that was received.
    """

    async def fail(*_: object) -> None:
        raise ValueError(KEY.text)

    monkeypatch.setattr(Engine, "prove", fail)
    served.verifier.index.put(api_key(record(KEY, hashed=CHEAP)))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await served.send(GOOD)
    assert "an answer failed: ValueError" in caplog.text
    assert KEY.text not in caplog.text
    assert (await served.ask()).status == 401
