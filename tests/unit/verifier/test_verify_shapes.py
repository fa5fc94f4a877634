"""A head that is known but for its key says what it would say if it were read anew, and keeps no secret."""

from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keywright.verifier.http.request import Limits, Request
from keywright.verifier.http.shapes import LONGEST
from keywright.verifier.http.watched import Watched
from keywright.verifier.rules.originals import Source
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, api_key_class, mint, record
from tests.unit.verifier.wire import Served, serving

KEY, OTHER = mint(1), mint(2)
TEXT = KEY.text.encode()
# Enough that one of them is learnt, wherever the count stands.
OFTEN = 40

LINES = st.sampled_from(
    [
        b"GET /verify HTTP/1.1",
        b"POST /verify/a%20b HTTP/1.1",
        b"GET /verify HTTP/1.0",
        b"HEAD /verify/ HTTP/1.1",
        b"GET",
    ]
)
OTHERS = st.lists(
    st.sampled_from(
        [
            *(
                b"Host: v",
                b"host:w",
                b"Accept: */*",
                b"X-Original-URI: /a",
                b"x-original-uri: /b",
                b"Content-Length: 0",
            ),
            *(b"Content-Length: 5", b"Connection: close", b"Connection: keep-alive", b"Cookie: a=b", b"Bad Name: x"),
            *(b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"X-API-Key: x", b"Authorization: Basic x"),
            *(b"User-Agent: " + TEXT, b"X-API-Key: " + TEXT, b"Proxy-Connection: close"),
        ]
    ),
    max_size=4,
)
CARRIERS = st.sampled_from(
    [b"Authorization: Bearer ", b"authorization: apikey ", b"X-API-Key: ", b"X-API-Key:", b"Authorization:  Bearer "]
)
TEXTS = st.one_of(
    st.sampled_from(
        [
            *(
                TEXT,
                OTHER.text.encode(),
                b"",
                b"close",
                b" " + TEXT,
                TEXT + b" ",
                TEXT + b"\t",
                TEXT + b"\0",
                b"_" * 90,
            ),
            *(
                b"x" * LONGEST,
                TEXT + b"\r",
                TEXT + b"\n",
                TEXT + b"\r\nHost: w",
                b"x\r\nX-API-Key: " + TEXT,
                b"\xe9" * 70,
            ),
        ]
    ),
    st.binary(max_size=90),
)


def reading(request: Request, head: bytes) -> tuple[object, ...]:
    """All that a reading leaves behind."""
    error = request.read(head)
    if error is not None:
        return (error,)
    said = (request.method, request.target, request.host, request.credentials, list(request.told))
    return (*said, request.is_plain, request.wants_close, request.has_body, request.length if request.has_body else 0)


def watched() -> Watched:
    found = Watched({b"x-original-uri"})
    found.carry({b"authorization", b"x-api-key"})
    return found


def put_together(line: bytes, before: list[bytes], carrier: bytes, text: bytes, behind: list[bytes]) -> bytes:
    return b"\r\n".join([line, *before, carrier + text, *behind, b"", b""])


@given(LINES, OTHERS, CARRIERS, st.lists(TEXTS, max_size=6), OTHERS)
@example(
    b"GET /verify HTTP/1.1", [b"Host: v"], b"X-API-Key: ", [OTHER.text.encode(), TEXT + b"\rx: y"], [b"Accept: */*"]
)
def test_it_reads_as_if_it_were_new(
    line: bytes, before: list[bytes], carrier: bytes, texts: list[bytes], behind: list[bytes]
) -> None:
    """Whatever stands in the place of the key, and wherever the last one was found."""
    known = watched()
    first = put_together(line, before, carrier, TEXT, behind)
    for _ in range(OFTEN):
        if Request(known, Limits()).read(first) is not None:
            break
    for opening in (known.shapes.opening, b"PI-Key: ", b": v", b" HTTP/1.1"):
        known.shapes.opening = opening
        for text in (TEXT, *texts):
            head = put_together(line, before, carrier, text, behind)
            assert reading(Request(known, Limits()), head) == reading(Request(watched(), Limits()), head)


@pytest.mark.parametrize("carrier", [b"Authorization: Bearer ", b"authorization: ApiKey ", b"x-api-key: "])
def test_one_key_is_enough_for_all(carrier: bytes) -> None:
    """What was read for one key is known for the next one, however the proxy writes the header."""
    known = watched()
    request = Request(known, Limits())
    for _ in range(OFTEN):
        request.read(put_together(b"GET /verify/a HTTP/1.1", [b"Host: v"], carrier, TEXT, [b"Accept: */*"]))
    request.read(put_together(b"GET /verify/a HTTP/1.1", [b"Host: v"], carrier, OTHER.text.encode(), [b"Accept: */*"]))
    assert request.shape is not None
    assert request.credentials[0][1].endswith(OTHER.text.encode())
    request.read(put_together(b"GET /verify/b HTTP/1.1", [b"Host: v"], carrier, TEXT, [b"Accept: */*"]))
    assert request.shape is None


@pytest.mark.parametrize(
    "secret",
    [
        b"Cookie: session=1",
        b"X-Unknown: 1",
        b"Proxy-Authorization: x",
        b"User-Agent: " + TEXT,
        b"Accept: /a/" + OTHER.text.encode() + b"/b",
        b"X-Original-URI: /a?b=c",
    ],
)
def test_no_secret_stays_behind(secret: bytes) -> None:
    """Neither the key, nor what a client may want to be kept secret beside it."""
    known = watched()
    for more, count in (([secret], 0), ([], 1)):
        for _ in range(OFTEN):
            request = Request(known, Limits())
            request.read(put_together(b"GET /verify HTTP/1.1", [b"Host: v", *more], b"X-API-Key: ", TEXT, []))
        assert len(known.shapes.known) == count
    ((before, behind),) = known.shapes.known
    assert TEXT not in before + behind


def test_what_is_known_is_bounded() -> None:
    """A client that asks for ever new paths fills no memory, and where nothing comes again nothing is looked for."""
    known, most = watched(), 0
    request = Request(known, Limits())
    for number in range(36_000):
        request.read(put_together(b"GET /verify/%d HTTP/1.1" % number, [b"Host: v"], b"X-API-Key: ", TEXT, []))
        most = max(most, len(known.shapes.known))
    assert most == 1024
    assert not known.shapes.known


def test_what_comes_again_is_known_among_what_does_not() -> None:
    """As long as it is enough of all."""
    known, count = watched(), 0
    request = Request(known, Limits())
    for number in range(150_000):
        path = b"often" if number % 4 else b"%d" % number
        request.read(put_together(b"GET /verify/%b HTTP/1.1" % path, [b"Host: v"], b"X-API-Key: ", TEXT, []))
        count += request.shape is not None
    assert count > 110_000


async def test_a_class_that_changes_is_heeded(served: Served) -> None:
    """A header that carries keys no longer does so at once, on connections too that are open."""
    served.verifier.index.put(api_key(record(KEY)))
    request = Request(served.hub.watched, Limits())
    head = put_together(b"GET /verify HTTP/1.1", [b"Host: v"], b"X-API-Key: ", TEXT, [])
    for _ in range(OFTEN):
        assert (await served.send(head)).status == 200
        request.read(head)
    assert request.shape is not None
    served.verifier.classes.put(api_key_class("standard", credentials={"headers": ["X-Other"]}))
    assert (await served.send(head)).code == "missing_key"
    request.read(head)
    assert request.credentials == []


async def test_rules_that_change_are_heeded(tmp_path: Path) -> None:
    """What a rule said of a known head counts for as long as these rules do."""
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{path: /a/*}]")
    head = put_together(b"GET /verify/a/1 HTTP/1.1", [b"Host: v"], b"X-API-Key: ", TEXT, [])
    async with serving(VerifierSettings(rules=file, request_from=Source.PATH)) as served:
        rules = served.verifier.rules
        assert rules is not None
        served.verifier.index.put(api_key(record(KEY)))
        for _ in range(OFTEN):
            assert (await served.send(head)).status == 200
        assert served.hub.watched.shapes.known
        for text, status in (
            ("rules: [{path: /b}]", 403),
            ("rules: [{path: /a/*, roles: [x]}]", 403),
            ("rules: [{path: /*}]", 200),
        ):
            file.write_text(text)
            rules.look()
            rules.look()
            for _ in range(3):
                assert (await served.send(head)).status == status


def test_a_known_head_that_is_too_large_is_refused() -> None:
    """The limits hold for what stands in the place of the key too."""
    known, limits = watched(), Limits(head_bytes=300)
    request = Request(known, limits)
    for size, expected in ((70, None), (400, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)):
        for _ in range(OFTEN):
            head = put_together(b"GET /verify HTTP/1.1", [b"Host: v"], b"X-API-Key: ", b"x" * size, [])
            assert request.read(head) is expected
    assert known.shapes.known
