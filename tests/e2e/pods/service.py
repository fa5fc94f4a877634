"""A service that says who asks, as the proxy in front of it has said. It knows nothing of keys. Listens where only its
own pod gets to.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        identity = {name.lower(): value for name, value in self.headers.items() if name.lower().startswith("x-auth-")}
        body = json.dumps(identity).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The proxy logs."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 3000), Service).serve_forever()
