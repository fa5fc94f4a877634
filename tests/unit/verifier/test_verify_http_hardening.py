"""Requests that are shaped to be read differently by two servers are refused, and nothing after them is read."""

import asyncio

import pytest

from tests.unit.verifier.builders import CHEAP, api_key, mint, record
from tests.unit.verifier.wire import Served, read_reply

KEY = mint()
GOOD = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()


@pytest.fixture(autouse=True)
def _issued(served: Served) -> None:
    served.verifier.index.put(api_key(record(KEY)))


def request(*lines: bytes, first: bytes = b"GET /verify HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"Host: v", b"X-API-Key: " + KEY.text.encode(), *lines)) + b"\r\n\r\n"


SHAPES = {
    "content-length and transfer-encoding": request(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "transfer-encoding and content-length": request(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two equal lengths": request(b"Content-Length: 5", b"Content-Length: 5"),
    "two lengths": request(b"Content-Length: 0", b"Content-Length: 5"),
    "length list": request(b"Content-Length: 5, 5"),
    "signed length": request(b"Content-Length: +5"),
    "negative length": request(b"Content-Length: -1"),
    "hexadecimal length": request(b"Content-Length: 0x5"),
    "empty length": request(b"Content-Length:"),
    "length with a gap": request(b"Content-Length: 1 0"),
    "overflowing length": request(b"Content-Length: 99999999999999999999999999"),
    "unknown transfer coding": request(b"Transfer-Encoding: xchunked"),
    "chunked is not last": request(b"Transfer-Encoding: chunked, identity"),
    "two codings": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "obs-fold": request(b"X-A: b", b" c"),
    "obs-fold with tab": request(b"X-A: b", b"\tc"),
    "fold after the request line": b"GET /verify HTTP/1.1\r\n Host: v\r\n\r\n",
    "bare LF after a field": b"GET /verify HTTP/1.1\r\nHost: v\nX-A: b\r\n\r\n",
    "bare LF only": b"GET /verify HTTP/1.1\nHost: v\n\n",
    "bare LF after the request line": b"GET /verify HTTP/1.1\nHost: v\r\n\r\n",
    "bare CR in a value": request(b"X-A: b\rX-B: c"),
    "bare CR at the end": request(b"X-A: b\r"),
    "NUL in a value": request(b"X-A: b\0c"),
    "NUL in a name": request(b"X-\0A: b"),
    "NUL in the target": request(first=b"GET /verify/\0 HTTP/1.1"),
    "control in a value": request(b"X-A: \x01"),
    "DEL in a value": request(b"X-A: \x7f"),
    "control in the target": request(first=b"GET /verify/\x1f HTTP/1.1"),
    "tab in the request line": request(first=b"GET\t/verify HTTP/1.1"),
    "space before the colon": request(b"X-A : b"),
    "tab before the colon": request(b"X-A\t: b"),
    "no name": request(b": b"),
    "no colon": request(b"X-A"),
    "a name that is no token": request(b"X(A): b"),
    "non-ASCII name": request(b"X-\xc3\xa9: b"),
    "two spaces": request(first=b"GET  /verify HTTP/1.1"),
    "trailing space": request(first=b"GET /verify HTTP/1.1 "),
    "leading space": request(first=b" GET /verify HTTP/1.1"),
    "leading empty line": b"\r\n" + GOOD,
    "no version": request(first=b"GET /verify"),
    "HTTP/0.9": request(first=b"GET /verify HTTP/0.9"),
    "HTTP/1.2": request(first=b"GET /verify HTTP/1.2"),
    "HTTP/2.0": request(first=b"GET /verify HTTP/2.0"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.10": request(first=b"GET /verify HTTP/1.10"),
    "HTTP/01.1": request(first=b"GET /verify HTTP/01.1"),
    "lower-case version": request(first=b"GET /verify http/1.1"),
    "absolute form": request(first=b"GET http://v/verify HTTP/1.1"),
    "asterisk form": request(first=b"OPTIONS * HTTP/1.1"),
    "authority form": request(first=b"GET v:80 HTTP/1.1"),
    "CONNECT": request(first=b"CONNECT v:80 HTTP/1.1"),
    "CONNECT with a path": request(first=b"CONNECT /verify HTTP/1.1"),
    "a method that is no token": request(first=b"G(T /verify HTTP/1.1"),
    "an endless method": request(first=b"G" * 33 + b" /verify HTTP/1.1"),
    "no method": request(first=b" /verify HTTP/1.1"),
    "no host": b"GET /verify HTTP/1.1\r\nX-A: b\r\n\r\n",
    "two hosts": request(b"Host: w"),
    "two hosts in HTTP/1.0": request(b"Host: w", first=b"GET /verify HTTP/1.0"),
    "chunks in HTTP/1.0": request(b"Transfer-Encoding: chunked", first=b"GET /verify HTTP/1.0"),
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "only line ends": b"\r\n\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_ambiguous_shapes_are_400_and_the_end(served: Served, shape: str) -> None:
    """One plain 400, the connection closed, and the good request behind it never answered."""
    answer = await served.send_until_close(SHAPES[shape] + GOOD)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"X-Auth-" not in answer


@pytest.mark.parametrize("size", [1, 2, 7, 64])
async def test_shapes_are_refused_in_pieces_too(served: Served, size: int) -> None:
    """How the bytes are cut up on their way makes no difference."""
    for shape in ("bare LF only", "obs-fold", "two lengths", "content-length and transfer-encoding"):
        reader, writer = await served.connect()
        raw = SHAPES[shape]
        for start in range(0, len(raw), size):
            writer.write(raw[start : start + size])
            await asyncio.sleep(0)
        assert (await read_reply(reader)).status == 400


@pytest.mark.parametrize(
    "announcement",
    [b"Content-Length: 3", b"Content-Length: 100000", b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING: Chunked"],
)
@pytest.mark.parametrize("expect", [b"X-A: b", b"Expect: 100-continue"])
async def test_an_announced_body_ends_the_connection(served: Served, announcement: bytes, expect: bytes) -> None:
    """nginx announces bodies that never come: what follows must not be taken for one, nor for a request.
    100 Continue is never sent, because no body is ever wanted.
    """
    answer = await served.send_until_close(request(announcement, expect, first=b"POST /verify HTTP/1.1") + GOOD)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_large_body_does_not_cost_the_answer(served: Served) -> None:
    """A client that is still sending when we close must not lose its answer to a reset."""
    raw = request(b"Content-Length: 200000", first=b"POST /verify HTTP/1.1") + b"x" * 200_000
    assert (await served.send_until_close(raw)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_body_without_end_is_cut_off(served: Served) -> None:
    """Whoever does not stop sending after the answer is cut off."""
    reader, writer = await served.connect()
    writer.write(request(b"Transfer-Encoding: chunked"))
    await read_reply(reader)
    with pytest.raises(ConnectionError):  # noqa: PT012 - any of the writes may be the one that fails
        for _ in range(200):
            writer.write(b"x" * 65536)
            await writer.drain()
            await asyncio.sleep(0.001)


async def test_a_length_of_zero_announces_nothing(served: Served) -> None:
    """Envoy sends `content-length: 0` with every check and reuses the connection."""
    reader, writer = await served.connect()
    for _ in range(3):
        writer.write(request(b"content-length: 0"))
        assert (await read_reply(reader)).status == 200


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_upgrades_are_not_taken(served: Served, upgrade: bytes) -> None:
    """A request for another protocol is answered as if it had not asked, then closed."""
    raw = request(b"Connection: Upgrade", b"Upgrade: " + upgrade)
    answer = await served.send_until_close(raw + GOOD)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    """Also when the first of them has to wait for an argon2 run and there are more than one turn's worth."""
    slow = mint(2)
    served.verifier.index.put(api_key(record(slow, hashed=CHEAP), uid="uid-2"))
    bad = b"GET /verify/2 HTTP/1.1\r\nHost: v\r\n\r\n"
    first = b"GET /verify/1 HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % slow.text.encode()
    reader, writer = await served.connect()
    writer.write(first + (bad + GOOD) * 100)
    replies = [await read_reply(reader) for _ in range(201)]
    assert replies[0].one("X-Auth-Key-Id") == slow.key_id
    assert [each.status for each in replies[1:]] == [401, 200] * 100
    assert {each.one("X-Auth-Key-Id") for each in replies[2::2]} == {KEY.key_id}


async def test_a_client_that_hangs_up_halfway_still_gets_its_answer(served: Served) -> None:
    """Ending one's own side of the connection is not hanging up."""
    slow = mint(2)
    served.verifier.index.put(api_key(record(slow, hashed=CHEAP), uid="uid-2"))
    reader, writer = await served.connect()
    writer.write(b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % slow.text.encode())
    writer.write_eof()
    assert (await read_reply(reader)).status == 200
    assert await reader.read() == b""


async def test_two_clients_on_one_connection_keep_their_own_verdicts(served: Served) -> None:
    """A keep-alive connection holds nothing of the request before: neither key nor flags."""
    reader, writer = await served.connect()
    for raw, status in ((GOOD, 200), (b"GET /verify HTTP/1.1\r\nHost: v\r\n\r\n", 401)) * 3:
        writer.write(raw)
        assert (await read_reply(reader)).status == status


@pytest.mark.parametrize("name", [b"Proxy-Connection", b"proxy-connection", b"Connection"])
async def test_no_header_of_one_request_spoils_the_next(served: Served, name: bytes) -> None:
    """A connection that a proxy shares between clients is either closed or good for the next request."""
    reader, writer = await served.connect()
    writer.write(request(name + b": close"))
    assert (await read_reply(reader)).status == 200
    writer.write(GOOD)
    assert await reader.read(15) in (b"", b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
async def test_a_short_first_segment_is_no_request(served: Served, size: int) -> None:
    """However the bytes of a request are cut, also those of a later one on the same connection."""
    reader, writer = await served.connect()
    for _ in range(2):
        writer.write(GOOD[:size])
        await asyncio.sleep(0.02)
        writer.write(GOOD[size:])
        assert (await read_reply(reader)).status == 200
