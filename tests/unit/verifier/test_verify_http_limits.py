"""What one client may cost is bounded: sizes, time, connections, answers it does not take."""

import asyncio
import time

import pytest

from keywright.verifier.http.request import Limits
from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import PATIENCE, read_reply, serving, until

KEY = mint()
GOOD = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()
LIMITS = Limits()
QUICK = Limits(head_seconds=0.2, idle_seconds=0.4, linger_seconds=0.2)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /verify/%b HTTP/1.1\r\nHost: v\r\n\r\n" % (b"a" * LIMITS.line_bytes), 414),
        (b"GET /verify/%b" % (b"a" * (LIMITS.line_bytes + 100)), 414),
        (b"GET /verify HTTP/1.1\r\nHost: v\r\n" + b"A: b\r\n" * LIMITS.fields + b"\r\n", 431),
        (b"GET /verify HTTP/1.1\r\nHost: v\r\nA: %b\r\n\r\n" % (b"b" * LIMITS.head_bytes), 431),
        (b"GET /verify HTTP/1.1\r\nHost: v\r\nA: %b" % (b"b" * LIMITS.head_bytes), 431),
        (b"GET /verify HTTP/1.1\r\nHost: v\r\n" + b"A: b\r\n" * LIMITS.head_bytes, 431),
    ],
)
async def test_oversized_heads_are_refused(raw: bytes, status: int) -> None:
    """Whether the head ends or not, it is refused as soon as it is too large, and the connection closed."""
    async with serving() as served:
        answer = await served.send_until_close(raw)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_heads_within_the_limits_pass() -> None:
    """What nginx and Envoy let through by default is not refused here."""
    async with serving() as served:
        served.verifier.index.put(api_key(record(KEY)))
        line = b"GET /verify/%b HTTP/1.1\r\n" % (b"a" * 8000)
        raw = (
            line + GOOD.partition(b"\r\n")[2][:-2] + b"Cookie: %b\r\n" % (b"c" * 8000) * 5 + b"A: b\r\n" * 100 + b"\r\n"
        )
        assert (await served.send(raw)).status == 200


async def test_a_head_has_to_end_in_time() -> None:
    """A trickle of bytes does not extend the time for a head: 408, then the end."""
    async with serving(limits=QUICK) as served:
        reader, writer = await served.connect()
        started = time.monotonic()
        writer.write(b"GET /verify HTTP/1.1\r\n")
        while not reader.at_eof() and time.monotonic() - started < PATIENCE and not reader._buffer:  # type: ignore[attr-defined]
            writer.write(b"A: b\r\n")
            await asyncio.sleep(0.02)
        reply = await read_reply(reader)
        assert reply.status == 408
        assert time.monotonic() - started < PATIENCE


async def test_who_says_nothing_is_closed() -> None:
    """A connection that never asks anything, or asks no more, does not stay."""
    async with serving(limits=QUICK) as served:
        silent, _ = await served.connect()
        asked, writer = await served.connect()
        writer.write(b"GET /verify HTTP/1.1\r\nHost: v\r\n\r\n")
        await read_reply(asked)
        async with asyncio.timeout(PATIENCE):
            assert await silent.read() == b""
            assert await asked.read() == b""
        await until(lambda: not served.hub.connections)


async def test_who_does_not_hang_up_after_the_end_is_cut_off() -> None:
    """A half-open connection is kept no longer than it takes an answer to arrive."""
    async with serving(limits=QUICK) as served:
        _, writer = await served.connect()
        writer.write(b"NONSENSE\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            while served.hub.connections or not served.verifier.metrics.http_errors:
                await asyncio.sleep(0.02)


async def test_connections_are_capped() -> None:
    """One too many is told so and closed; when there is room again the next one is served."""
    async with serving(limits=Limits(connections=3)) as served:
        kept = [await served.connect() for _ in range(3)]
        refused = await served.send_until_close(b"")
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n")
        kept[0][1].close()
        await until(lambda: len(served.hub.connections) == 2)
        assert (await served.ask()).status == 401


async def test_who_does_not_take_answers_gets_no_more() -> None:
    """Unread answers do not pile up: reading stops, and after a while the client is cut off."""
    async with serving(limits=QUICK) as served:
        served.verifier.index.put(api_key(record(KEY)))
        _, writer = await served.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises((ConnectionError, TimeoutError)):  # noqa: PT012 - whichever write it is
            async with asyncio.timeout(PATIENCE):
                while True:
                    writer.write(GOOD * 1000)
                    await writer.drain()
                    assert len(served.hub.connections) <= 1
        await until(lambda: not served.hub.connections)


async def test_a_slow_reader_gets_everything_in_order() -> None:
    """Holding back is not losing: a client that takes its time gets every answer."""
    async with serving() as served:
        served.verifier.index.put(api_key(record(KEY)))
        reader, writer = await served.connect()
        sending = asyncio.get_running_loop().create_task(_send(writer, GOOD * 20_000))
        await asyncio.sleep(0.1)
        for _ in range(20_000):
            assert (await read_reply(reader)).status == 200
        await sending


async def _send(writer: asyncio.StreamWriter, raw: bytes) -> None:
    writer.write(raw)
    await writer.drain()


async def test_a_flood_on_one_connection_does_not_starve_another() -> None:
    """Pipelined requests are answered a few at a time, so that others get their turn."""
    async with serving() as served:
        served.verifier.index.put(api_key(record(KEY)))
        _, flood = await served.connect()
        flood.write(GOOD * 5000)
        assert (await served.present(KEY.text)).status == 200
        assert served.verifier.metrics.allowed < 2500
