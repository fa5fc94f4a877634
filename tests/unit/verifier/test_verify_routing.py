"""The verify listener serves /verify and what is below it, by raw bytes, whatever the method."""

import pytest

from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import Served

KEY = mint()


@pytest.fixture(autouse=True)
def _issued(served: Served) -> None:
    served.verifier.index.put(api_key(record(KEY)))


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "BREW", "get", "M-X!"]
)
@pytest.mark.parametrize("target", ["/verify", "/verify/", "/verify/api/agents/1?q=%2e", "/verify//../x;y", "/verify?"])
async def test_any_method_on_any_path_below(served: Served, method: str, target: str) -> None:
    """A proxy passes the original method and path, and gets the verdict on the key."""
    assert (await served.present(KEY.text, method=method, target=target)).status == 200


async def test_a_path_may_hold_bytes_above_ascii(served: Served) -> None:
    """Clients do send them, and Envoy passes them on."""
    raw = b"GET /verify/caf\xc3\xa9 HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()
    assert (await served.send(raw)).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/Verify",
        "/verifyx",
        "/%76erify",
        "//verify",
        "/./verify",
        "/metrics",
        "/healthz",
        "/introspect",
        "/verify#a",
    ],
)
async def test_nothing_else_is_served(served: Served, target: str) -> None:
    """Everything else is 404, a plain HTTP error without a verdict."""
    reply = await served.present(KEY.text, target=target)
    assert reply.status == 404
    assert "code" not in reply.problem


async def test_head_is_answered_without_body(served: Served) -> None:
    """HEAD gets the headers of the answer and nothing after them, so the next answer is not shifted."""
    reader, writer = await served.connect()
    writer.write(b"HEAD /verify HTTP/1.1\r\nHost: v\r\n\r\nGET /other HTTP/1.1\r\nHost: v\r\nConnection: close\r\n\r\n")
    raw = await reader.read()
    first, _, second = raw.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 401 ")
    assert b"Content-Length: 0" not in first
    assert second.startswith(b"HTTP/1.1 404 ")


async def test_http_1_0_is_answered_and_closed(served: Served) -> None:
    """nginx's auth_request speaks HTTP/1.0 unless told otherwise."""
    raw = b"GET /verify HTTP/1.0\r\nConnection: keep-alive\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()
    answer = await served.send_until_close(raw)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")


async def test_close_is_honoured(served: Served) -> None:
    """`Connection: close` in any case and among other options closes after the answer."""
    for value in (b"close", b"Close", b"x , CLOSE"):
        raw = (
            b"GET /verify HTTP/1.1\r\nHost: v\r\nConnection: %b\r\n\r\nGET /verify HTTP/1.1\r\nHost: v\r\n\r\n" % value
        )
        answer = await served.send_until_close(raw)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer
