"""A service behind a proxy: it takes every request and remembers it exactly as it came."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Answer", "Backend", "Header", "Received", "ask", "ask_in_bytes", "backend"]

Header = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as the backend saw it. ``target`` is what stood in the request line."""

    method: str
    target: str
    headers: tuple[Header, ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def names(self) -> set[str]:
        """The names of all headers, in lower case, an underscore as many a framework reads it."""
        return {key.lower().replace("_", "-") for key, _ in self.headers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client got. Names of headers are in lower case; ``headers`` joins those that came more than once."""

    status: int
    headers: dict[str, str]
    body: str


class Backend:
    """What a running backend has received, and where it listens."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._received: list[Received] = []
        self._lock = threading.Lock()

    def note(self, received: Received) -> None:
        with self._lock:
            self._received.append(received)

    def take(self) -> list[Received]:
        """What has been received since the last look."""
        with self._lock:
            taken, self._received = self._received, []
        return taken

    def take_one(self) -> Received:
        (received,) = self.take()
        return received


@contextlib.contextmanager
def backend() -> Iterator[Backend]:
    """A backend that runs as long as the context is open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            # The base class answers 501 to methods it has no function for; this service takes all of them.
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            method, target, _ = self.raw_requestline.decode("latin-1").rstrip("\r\n").split(" ", 2)
            body = _read_body(self)
            headers = tuple((name, str(value)) for name, value in self.headers.items())
            seen.note(Received(method=method, target=target, headers=headers, body=body))
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.send_header("X-From", "backend")
            self.end_headers()
            if method != "HEAD":
                self.wfile.write(b"served\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            # A proxy that is stopped resets its connections.
            pass

    server = Server(("127.0.0.1", 0), Handler)
    seen = Backend(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline() not in (b"\r\n", b"\n", b""):
        pass
    return body


def ask(
    where: str | http.client.HTTPConnection,
    headers: Sequence[Header] = (),
    *,
    method: str = "GET",
    target: str = "/",
    body: bytes | None = None,
) -> Answer:
    """One request with exactly these headers (beside Host and the length of a body), on a connection of its own
    unless one is given.
    """
    connection = http.client.HTTPConnection(where, timeout=15) if isinstance(where, str) else where
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        joined: dict[str, str] = {}
        for name, value in response.getheaders():
            joined[name.lower()] = f"{joined[name.lower()]}, {value}" if name.lower() in joined else value
        return Answer(status=response.status, headers=joined, body=response.read().decode())
    finally:
        if connection is not where:
            connection.close()


def ask_in_bytes(where: str, request: bytes) -> int:
    """The status of the answer to exactly these bytes; 0 if the connection was closed without one."""
    host, _, port = where.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while b"\r\n" not in answer and (more := connection.recv(65536)):
                answer += more
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0
