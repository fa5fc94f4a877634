"""Whatever bytes arrive, the answer is a verdict or a plain HTTP error, promptly, and only a right key is allowed."""

import asyncio
import re
from contextlib import suppress

import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keywright.verifier.http.request import Limits
from tests.unit.verifier.builders import CHEAP, api_key, mint, record
from tests.unit.verifier.wire import Served, serving

KEY = mint()
GOOD = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()
STATUSES = {200, 400, 401, 403, 404, 408, 414, 431}

PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            *(b"GET", b"HEAD", b"POST", b"CONNECT", b" ", b"/verify", b"/verify/", b"/verify?deny=nginx", b"*"),
            *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b":", b": ", b"\t", b"\0"),
            *(b"Host: v\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
            *(b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Connection: close\r\n"),
            *(b"Authorization: Bearer ", b"X-API-Key: ", KEY.text.encode(), mint(2).text.encode(), b"\xff", GOOD),
        ]
    ),
)
REQUEST_LINES = st.builds(
    lambda method, target, version: method + b" " + target + version + b"\r\nHost: v\r\n",
    st.sampled_from([b"GET", b"HEAD", b"POST", b"BREW", b"CONNECT", b""]),
    st.sampled_from([b"/verify", b"/verify/a", b"/verify?deny=nginx", b"/", b"http://v/verify"])
    | st.binary(max_size=20),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/3", b""]),
)
STREAMS = st.one_of(
    st.lists(PIECES, max_size=25).map(b"".join),
    st.builds(lambda line, pieces: line + b"".join(pieces) + b"\r\n\r\n", REQUEST_LINES, st.lists(PIECES, max_size=8)),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STREAMS, min_size=1, max_size=4), st.integers(1, 2000))
def test_any_bytes(streams: list[bytes], size: int) -> None:
    """No 5xx, no traceback, no hang, no answer without end; and 200 only where the right key was sent."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_try_all(streams, size))


async def _try_all(streams: list[bytes], size: int) -> None:
    broken: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    limits = Limits(head_seconds=0.2, idle_seconds=0.2, linger_seconds=0.2)
    async with serving(limits=limits) as served:
        served.verifier.index.put(api_key(record(KEY, hashed=CHEAP)))
        for stream in streams:
            raw = await _answers(served, stream, size)
            statuses = [int(each) for each in re.findall(rb"^HTTP/1\.1 (\d{3}) ", raw, re.MULTILINE)]
            assert set(statuses) <= STATUSES
            assert 200 not in statuses or KEY.text.encode() in stream
            assert raw == b"" or raw.startswith(b"HTTP/1.1 ")
            assert KEY.text.encode() not in raw
        # Whatever came before, the next client is served as ever.
        assert (await served.present(KEY.text)).status == 200
    assert not broken


async def _answers(served: Served, stream: bytes, size: int) -> bytes:
    reader, writer = await served.connect()
    with suppress(ConnectionError):
        for start in range(0, len(stream), size):
            writer.write(stream[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionError:
            # Bytes that we still send into a closed connection may be answered by a reset.
            return b""
