"""The verifier as a process: put the parts together, serve until told to stop, stop gracefully."""

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from keywright.errors import KeywrightError
from keywright.kube import credentials
from keywright.kube.client import connect
from keywright.kube.reflector import Reflector
from keywright.tasks import cancel, report
from keywright.verifier.assembly import Verifier, assemble
from keywright.verifier.http.listener import Address, listen, tls_context
from keywright.verifier.owners.owners import CONCURRENT
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.upkeep import publisher_for, reflectors_for, report_first_picture

__all__ = ["run"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
FLUSH_SECONDS = 5.0
# Objects that may gather before the garbage collector walks over them, until the first picture is whole. It would walk
# over that picture time and again while it grows: a quarter of the time until the verifier is ready.
GATHERING = 100_000
USUALLY = gc.get_threshold()
# Sockets to the API server, log files and the like, beside the clients' connections.
SPARE_DESCRIPTORS = 64


def run(settings: VerifierSettings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        KeywrightError: if the start fails for a reason that a person has to mend.

    """
    gc.set_threshold(GATHERING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: VerifierSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _allow_descriptors(settings.max_connections)
    context = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        context = tls_context(settings.tls_cert, settings.tls_key, settings.client_ca)
    cluster = credentials.load()
    watches: list[Reflector] = []
    verifier = assemble(settings, watches)
    if verifier.rules is not None:
        verifier.rules.look()
    async with AsyncExitStack() as stack:
        stack.callback(verifier.prover.close)
        if verifier.audit is not None:
            verifier.audit.start()
            stack.callback(verifier.audit.close)
        client = await stack.enter_async_context(connect(cluster))
        if verifier.rules is not None:
            # Only rules ask for owners. With sockets of their own, for watches keep theirs.
            verifier.owners.client = await stack.enter_async_context(connect(cluster, connections=CONCURRENT))
        watches += reflectors_for(settings, cluster.namespace, client, verifier.classes, verifier.index)
        tasks = [loop.create_task(each) for each in _for_ever(verifier, watches)]
        stack.push_async_callback(cancel, tasks)
        publisher = publisher_for(settings, cluster.namespace, client, verifier.used, verifier.metrics)
        publishing = [loop.create_task(publisher.run())] if publisher is not None else []
        stack.push_async_callback(cancel, publishing)
        admin = await listen(settings.admin_listen, verifier.admin_hub.open)
        stack.callback(admin.close)
        listener = await listen(settings.listen, verifier.verify_hub.open, context)
        stack.callback(listener.close)
        over_grpc = await _serve_grpc(settings.grpc_listen, verifier) if settings.grpc_listen is not None else None
        if over_grpc is not None:
            stack.push_async_callback(over_grpc, 0)
        logger.info("serving /verify on %s, health and metrics on %s", listener.address, admin.address)
        settling = loop.create_task(_settle(verifier, watches, settings.namespaces))
        stopping = loop.create_task(stop.wait())
        stack.push_async_callback(cancel, [settling, stopping])
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        # Restarting is better than verdicts from a picture that stands still.
        status = 0 if stopping.done() else report(tasks, logger)
        listener.close()
        await verifier.verify_hub.stop(GRACE_SECONDS)
        if over_grpc is not None:
            await over_grpc(GRACE_SECONDS)
        await cancel(publishing)
        if publisher is not None:
            await publisher.flush(FLUSH_SECONDS)
        admin.close()
        await verifier.admin_hub.stop(0)
    logger.info("stopped")
    return status


async def _serve_grpc(address: Address, verifier: Verifier) -> Callable[[float], Awaitable[None]]:
    """Answer Envoy over gRPC from now on; what is returned stops that, after so many seconds of grace at the most."""
    try:
        # Here and not above: only who asks for it pays for it.
        from keywright.verifier.envoy.endpoint import serve  # noqa: PLC0415
    except ImportError:
        raise KeywrightError("--grpc-listen needs more packages: pip install '.[grpc]' in the checkout") from None
    return await serve(address, verifier.judge, verifier.gate, verifier.audit, verifier.rules)


def _for_ever(verifier: Verifier, watches: Sequence[Reflector]) -> list[Coroutine[Any, Any, None]]:
    return [
        *(watch.run() for watch in watches),
        verifier.verify_hub.keep_sweeping(),
        verifier.admin_hub.keep_sweeping(),
        *([verifier.rules.keep_looking()] if verifier.rules is not None else []),
        *verifier.limiter.chores(),
        *([verifier.audit.keep_summarising()] if verifier.audit is not None else []),
    ]


async def _settle(verifier: Verifier, watches: Sequence[Reflector], named: Sequence[str]) -> None:
    """Once in sync: say so, and take the picture out of the garbage collector's rounds, which would stop
    requests for as long as it takes to walk a hundred thousand entries.
    """
    for watch in watches:
        await watch.synced.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*USUALLY)
    report_first_picture(named, verifier.classes, verifier.index)


def _allow_descriptors(connections: int) -> None:
    """Raise the soft limit of open files as far as the connections need."""
    wanted = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        if possible < wanted:
            logger.warning(
                "only %d files may be open: lower --max-connections to %d, or raise the limit",
                possible,
                max(1, possible - SPARE_DESCRIPTORS),
            )
