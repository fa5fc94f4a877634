"""The admin listener: is it alive, is it ready, what has it answered."""

import math
from collections import Counter

from starlette.types import Receive, Scope, Send

from keywright.exposition import CONTENT_TYPE, Sample, expose, labels
from keywright.verifier.in_process import InProcess

__all__ = ["Admin"]

_TEXT = "text/plain; charset=utf-8"


class Admin:
    """``/healthz``, ``/readyz`` and ``/metrics``. ``engine`` is ``None`` where no keys are taken."""

    def __init__(self, engine: InProcess | None, answered: Counter[int]) -> None:
        self._engine = engine
        self._answered = answered
        self.is_stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """One request."""
        if scope["type"] != "http":
            return
        status, kind, body = self._answer(scope["path"])
        if scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, _TEXT, b"GET it\n"
        headers = [(b"content-type", kind.encode("ascii")), (b"content-length", str(len(body)).encode("ascii"))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        match path:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz" if self._is_ready():
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                return 503, _TEXT, b"stopping\n" if self.is_stopping else b"not in sync with the API server\n"
            case "/metrics":
                return 200, CONTENT_TYPE, expose(self._samples())
            case _:
                return 404, _TEXT, b"/healthz, /readyz or /metrics\n"

    def _is_ready(self) -> bool:
        return not self.is_stopping and (self._engine is None or self._engine.is_ready)

    def _samples(self) -> list[Sample]:
        counts = {labels(status=str(status)): float(count) for status, count in sorted(self._answered.items())}
        samples: list[Sample] = [
            ("keywright_console_answers_total", "counter", "Answers by status; 0 for a client that went away.", counts),
            _gauge("ready", "Whether requests are served.", self._is_ready()),
            _gauge("keys", "Key records that may ask.", self._engine.known if self._engine is not None else 0),
        ]
        if self._engine is not None:
            samples += self._engine.samples()
            if math.isfinite(age := self._engine.watch_age):
                samples.append(_gauge("watch_age_seconds", "Since the API server was last heard of.", age))
        return samples


def _gauge(name: str, text: str, value: float) -> Sample:
    return (f"keywright_console_{name}", "gauge", text, {"": float(value)})
