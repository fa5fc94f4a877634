"""The few questions the control plane asks its own API server, as administrator.

A Kubernetes client library would be a dependency and a second of start time;
three calls do not need one.
"""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from keywright_local.components import LOOPBACK
from keywright_local.layout import Layout

__all__ = ["AdminClient"]


class AdminClient:
    """Requests to one API server with the administrator's certificate."""

    def __init__(self, layout: Layout, port: int) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(layout.authority))
        self._context.load_cert_chain(layout.admin_certificate, layout.admin_key)

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = 10.0
    ) -> tuple[int, bytes]:
        """Status and content of the answer. Raises OSError when there is none."""
        connection = http.client.HTTPSConnection(LOOPBACK, self._port, context=self._context, timeout=timeout)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def is_found(self, path: str) -> bool:
        """Whether a GET is answered with 200; no answer within 3 seconds counts as no."""
        try:
            return self.request("GET", path, timeout=3.0)[0] == http.HTTPStatus.OK
        except OSError:
            return False
