"""``/healthz`` and ``/readyz`` of the operator: not whether the process answers, but whether it still sees."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from keywright.addresses import Tcp
from keywright.errors import KeywrightError
from keywright.exposition import CONTENT_TYPE
from keywright.kube.lease import Alone, Lease
from keywright.kube.reflector import Reflector
from keywright.reconcile.pictures import WatchGuard

__all__ = ["Health", "serve"]

LONGEST_LAG = 60.0  # seconds that the framework may owe an event
LONGEST_SILENCE = 300.0  # seconds without a word from the API server


class Health:
    """Judges the watches. A problem is one printable line."""

    def __init__(self, reflectors: list[Reflector], guards: list[WatchGuard], lease: Lease | Alone) -> None:
        self._reflectors = reflectors
        self._lease = lease
        self._guards = guards
        self._started_at = time.monotonic()

    def problem(self) -> str | None:
        """Why this process should be restarted, if it should."""
        lag = max((guard.lag() for guard in self._guards), default=0.0)
        if lag > LONGEST_LAG:
            return f"the watch of ApiKeys is dead: an event is overdue for {lag:.0f} s"
        if (silence := self.silence()) > LONGEST_SILENCE:
            return f"the API server has not been heard from for {silence:.0f} s"
        return None

    def silence(self) -> float:
        """For how many seconds nothing has been heard on the quietest watch."""
        return time.monotonic() - min(each.heard_at or self._started_at for each in self._reflectors)

    def unready(self) -> str | None:
        """Why this process could not reconcile, or take over when its turn comes. To stand by is to be ready."""
        if not all(each.synced.is_set() for each in self._reflectors):
            return "the first list from the API server is not complete yet"
        if not self._lease.is_known:
            return f"the lease {self._lease} has been neither read nor taken yet"
        return self.problem()


@asynccontextmanager
async def serve(address: Tcp, health: Health, exposition: Callable[[], bytes]) -> AsyncIterator[None]:
    """Answer probes and ``/metrics`` for as long as the context is open.

    Raises:
        KeywrightError: if the address cannot be listened on.

    """

    def answer(judge: Callable[[], str | None]) -> Callable[[web.Request], object]:
        async def handle(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
            found = judge()
            return web.Response(status=503 if found else 200, text=f"{found or 'ok'}\n")

        return handle

    async def metrics(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", answer(health.problem))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(health.unready))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host or None, address.port).start()
    except OSError as error:
        await runner.cleanup()
        raise KeywrightError(f"cannot listen on {address}: {error.strerror}: choose another --health-listen") from None
    try:
        yield
    finally:
        await runner.cleanup()
