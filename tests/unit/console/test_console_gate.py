"""What a credential is taken for, and whether a browser sends a form of ours."""

import base64
import json
import random

import pytest
from starlette.requests import Request

from keywright.console.callers.gate import _ends_at, _is_like_a_key
from keywright.console.callers.origins import check_origin
from keywright.console.problems import ProblemError
from keywright.domain.plainkey import generate

KEY = generate("kw_live", random.Random(1)).text


def jwt(claims: object, signature: str = "c2ln") -> bytes:
    def part(said: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.{signature}".encode()


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY[:-1],
        KEY[:25],
        f" {KEY} ",
        f'"{KEY}"',
        f"{KEY}.",
        f"key={KEY}",
        KEY.upper(),
        "kw_live_x",
        "kw_",
        f"{KEY}é",
    ],
)
def test_like_a_key(text: str) -> None:
    """Whatever somebody makes of a key is never taken for a token, which the API server would be shown."""
    assert _is_like_a_key(text.encode())


@pytest.mark.parametrize(
    "text",
    [jwt({}), jwt({}, "_0123456789ab_0123456789abcdef"), b"sha256~abc", b"07401b.f395accd246ae52d", b"opaque", b"-_-"],
)
def test_like_a_token(text: bytes) -> None:
    """A JWT, whatever its signature looks like, and what other authenticators give out."""
    assert not _is_like_a_key(text)


def test_when_a_token_ends() -> None:
    """As a JWT says itself; what says nothing of it ends with its session."""
    assert _ends_at(jwt({"exp": 1800000000})) == 1800000000.0
    for text in (jwt({}), jwt([]), jwt({"exp": None}), b"a.b.c", b"opaque", b"a.\xff.c"):
        assert _ends_at(text) is None


def request(method: str, **headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "headers": fields, "path": "/", "query_string": b""})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-origin", "origin": "null", "host": "console.example"},
        {"origin": "https://console.example", "host": "console.example"},
        {"origin": "http://127.0.0.1:8090", "host": "127.0.0.1:8090"},
    ],
)
def test_ours(headers: dict[str, str]) -> None:
    """The browser says that it comes from here, or it is no browser."""
    check_origin(request("POST", **headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "cross-site", "origin": "https://console.example", "host": "console.example"},
        {"origin": "null", "host": "console.example"},
        {"origin": "https://evil.example", "host": "console.example"},
        {"origin": "https://console.example:8443", "host": "console.example"},
        {"origin": "https://console.example.evil.example", "host": "console.example"},
        {"origin": "https://console.example"},
    ],
)
def test_of_another_site(headers: dict[str, str]) -> None:
    """It is refused, unless it only looks."""
    for method in ("POST", "DELETE", "PUT"):
        with pytest.raises(ProblemError):
            check_origin(request(method, **headers))
    check_origin(request("GET", **headers))
