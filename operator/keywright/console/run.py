"""The key service as a process: put the parts together, serve until told to stop, stop gracefully."""

import asyncio
import logging
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import uvicorn
from starlette.types import ASGIApp

from keywright.console.admin import Admin
from keywright.console.app import create_app
from keywright.console.callers.gate import Callers
from keywright.console.callers.keys import Keys
from keywright.console.callers.proxy import FrontProxy
from keywright.console.callers.rates import Rates
from keywright.console.callers.sessions import Sessions, read_session_key
from keywright.console.callers.tokens import Tokens
from keywright.console.connections.heads import HEAD_BYTES, PromptProtocol
from keywright.console.service.served import Served
from keywright.console.settings import ConsoleSettings
from keywright.kube import credentials
from keywright.kube.client import ApiClient, connect
from keywright.tasks import cancel, report
from keywright.verifier.http.listener import bind_tcp, tls_context
from keywright.verifier.in_process import InProcess
from keywright.verifier.settings import VerifierSettings

__all__ = ["run"]

logger = logging.getLogger(__name__)

# For clients to ask once more on each connection that they keep. A second passes until all answers end theirs.
PARTING_SECONDS = 3.0
# A creation takes 20 at the most.
GRACE_SECONDS = 25
CONNECTIONS = 256
# Bytes that the kernel keeps for a client that does not read: by itself it allows for megabytes, which are the pod's.
SEND_BUFFER = 64 * 1024


def run(settings: ConsoleSettings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        KeywrightError: if the start fails for a reason that a person has to mend.

    """
    # It tells of its starts and stops, which is done here.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return asyncio.run(_serve(settings))


async def _serve(settings: ConsoleSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    context = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        context = tls_context(settings.tls_cert, settings.tls_key, settings.client_ca)
    session_key = read_session_key(settings.session_key_file)
    cluster = credentials.load()
    engine = InProcess(_engine_settings(settings), acts_as_owner=True) if settings.keys else None
    answered: Counter[int] = Counter()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(cluster, connections=CONNECTIONS))
        callers = _callers(settings, client, engine, session_key)
        front = bind_tcp(settings.listen)
        stack.callback(front.close)
        front.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        side = bind_tcp(settings.admin_listen)
        stack.callback(side.close)
        served = Served(client=client, settings=settings)
        # Requests that outlast the stop are cancelled, and take back what they have begun.
        stack.push_async_callback(served.settle)
        admin = Admin(engine, answered)
        server = _server(create_app(served, callers, answered), context)
        admin_server = _server(admin)
        watching = [loop.create_task(engine.run(lambda: None))] if engine is not None else []
        serving = [loop.create_task(each.serve([at])) for each, at in ((server, front), (admin_server, side))]
        stack.push_async_callback(cancel, [*watching, *serving])
        logger.info("serving on %s, health and metrics on %s", settings.listen, settings.admin_listen)
        stopping = loop.create_task(stop.wait())
        stack.push_async_callback(cancel, [stopping])
        await asyncio.wait({stopping, *watching, *serving}, return_when=asyncio.FIRST_COMPLETED)
        # Restarting is better than half a service.
        status = 0 if stopping.done() else report([*watching, *serving], logger)
        admin.is_stopping = True
        if stopping.done():
            await _part(server)
        server.should_exit = True
        await asyncio.wait(serving[:1], timeout=GRACE_SECONDS + 5)
        admin_server.should_exit = True
        await asyncio.wait(serving[1:], timeout=5)
    logger.info("stopped")
    return status


class _Server(uvicorn.Server):
    """Stops when it is told to, and leaves signals to who tells it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _part(server: uvicorn.Server) -> None:
    """Have answers end their connections, before idle ones are closed: on these a request may be on its way."""
    server.config.encoded_headers.append((b"connection", b"close"))
    for _ in range(int(PARTING_SECONDS * 10)):
        if not server.server_state.connections:
            return
        await asyncio.sleep(0.1)


def _server(app: ASGIApp, context: ssl.SSLContext | None = None) -> _Server:
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # What a front proxy says of its clients is believed by the callers' own rules, and of nothing else.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.load()
    config.ssl = context
    return _Server(config)


def _callers(settings: ConsoleSettings, client: ApiClient, engine: InProcess | None, session_key: bytes) -> Callers:
    return Callers(
        keys=Keys(engine) if engine is not None else None,
        tokens=Tokens(client) if settings.tokens else None,
        proxy=FrontProxy(settings),
        rates=Rates(settings.rate_limit),
        sessions=Sessions(session_key, minutes=settings.session_minutes, is_secure=settings.is_secure),
    )


def _engine_settings(settings: ConsoleSettings) -> VerifierSettings:
    """The engine of a verifier for the same namespaces. What it publishes of use goes the verifier's way."""
    return VerifierSettings(
        namespaces=settings.namespaces,
        all_namespaces=settings.all_namespaces,
        classes=settings.classes,
        usage=settings.usage,
        usage_interval=settings.usage_interval,
    )
