"""Asking by URL: what the key is never sent to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from keywright.errors import KeywrightError
from keywright.kubectl.asking import ask
from tests.unit.domain.examples import key


@contextmanager
def server(status: int, headers: dict[str, str], body: bytes = b"") -> Iterator[tuple[str, list[str]]]:
    """A server that always answers so: its URL, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/verify", asked
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_a_redirect_is_not_followed() -> None:
    """It would take the key to wherever it points."""
    with server(200, {}) as (other, asked_other), server(302, {"Location": other}) as (url, asked):
        with pytest.raises(KeywrightError, match="answered 302, which is no answer of a verifier"):
            ask(url, key(), "Bearer")
        assert asked == ["/verify"]
        assert asked_other == []


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would see the key."""
    with server(200, {}) as (proxy, asked_proxy), server(200, {"X-Auth-Key": "payments/ci"}) as (url, _):
        monkeypatch.setenv("http_proxy", proxy)
        assert ask(url, key(), "Bearer").text == "allowed: the key of payments/ci"
        assert asked_proxy == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code": 3}', b'{"code": "other"}'])
def test_what_is_no_answer_of_a_verifier_is_no_verdict(body: bytes) -> None:
    """Not even with status 200: a login page answers so."""
    for status in (200, 401):
        with server(status, {}, body) as (url, _), pytest.raises(KeywrightError, match="no answer of a verifier"):
            ask(url, key(), "Bearer")


@pytest.mark.parametrize(
    "url", ["http://example.com/verify", "http://10.0.0.1/", "http://127.0.0.1.example.com/", "http://[fe80::1]/"]
)
def test_a_key_does_not_travel_in_the_clear(url: str) -> None:
    """Plain HTTP is for this machine alone; nothing is sent."""
    with pytest.raises(KeywrightError, match="in the clear"):
        ask(url, key(), "Bearer")


@pytest.mark.parametrize("url", ["example.com/verify", "ftp://127.0.0.1/", "http://", "unix:/run/x", "http://[::1"])
def test_what_is_no_url_is_said_to_be_none(url: str) -> None:
    """With an example."""
    with pytest.raises(KeywrightError, match=r"write it as http://127\.0\.0\.1"):
        ask(url, key(), "Bearer")
