"""The verifier as a process: put the parts together, serve until told to stop, stop gracefully."""

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from keywright.errors import KeywrightError
from keywright.kube import credentials
from keywright.kube.client import connect
from keywright.kube.reflector import Reflector
from keywright.verifier.acceptance import Acceptance
from keywright.verifier.admin import AdminEndpoint
from keywright.verifier.answers import Answers
from keywright.verifier.audit import Audit
from keywright.verifier.audit_sink import AuditSink
from keywright.verifier.audited import AuditedEndpoint
from keywright.verifier.classes import Classes
from keywright.verifier.engine import Engine
from keywright.verifier.freshness import Freshness, Watched
from keywright.verifier.gate import Gate
from keywright.verifier.hub import Hub
from keywright.verifier.index import Index
from keywright.verifier.introspection import Introspection
from keywright.verifier.judgement import Judge
from keywright.verifier.limiter import Limiter, OnFailure, SharedStore
from keywright.verifier.listener import Address, listen, tls_context
from keywright.verifier.metrics import Metrics
from keywright.verifier.owners import CONCURRENT, Owners
from keywright.verifier.prover import Prover
from keywright.verifier.request import Limits
from keywright.verifier.responses import Dater
from keywright.verifier.rules_file import RulesFile
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.store_address import StoreAddress, parse_store
from keywright.verifier.timed import TimedHandler
from keywright.verifier.upkeep import publisher_for, reflectors_for
from keywright.verifier.usage import Used
from keywright.verifier.verify_endpoint import VerifyEndpoint

__all__ = ["Verifier", "assemble", "run"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
FLUSH_SECONDS = 5.0
# Sockets to the API server, log files and the like, beside the clients' connections.
SPARE_DESCRIPTORS = 64


def run(settings: VerifierSettings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        KeywrightError: if the start fails for a reason that a person has to mend.

    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """The parts of one verifier, connected, without sockets."""

    index: Index
    classes: Classes
    prover: Prover
    limiter: Limiter
    owners: Owners
    metrics: Metrics
    rules: RulesFile | None
    judge: Judge[bytes]
    gate: Gate | None
    verify_hub: Hub
    admin_hub: Hub
    used: Used | None
    audit: Audit | None


def assemble(settings: VerifierSettings, watches: Sequence[Watched]) -> Verifier:
    """Connect the parts. ``watches`` may be filled until the first request, and :class:`Owners` given its client.

    Raises:
        KeywrightError: if the audit log or the rate limit store that was asked for cannot be used as things are.

    """
    metrics, dater, index = Metrics(), Dater(), Index(with_agents=settings.audit is not None)
    prover = Prover(index.entries, workers=settings.argon2_workers, capacity=settings.argon2_queue, metrics=metrics)
    freshness = Freshness(watches, settings.max_staleness)
    rules = RulesFile(settings.rules, metrics) if settings.rules is not None else None
    gate = Gate(settings.request_from, rules) if rules is not None else None
    limiter = Limiter(_shared_store(settings, metrics), settings.rate_limit_on_failure, metrics)
    used: Used | None = {} if settings.usage else None
    owners = Owners(metrics, keep=settings.owner_cache)
    engine = Engine(index, prover, metrics)
    judge = Judge(engine, limiter, owners, freshness, metrics, lambda each: Answers(each, dater), used=used)
    audit = _audit(settings, index)
    watched = AuditedEndpoint.headers(settings.request_from, rules) if audit is not None else ()
    endpoint = VerifyEndpoint(judge, gate, dater, also_watched=watched)
    introspection = None
    if settings.introspect is not None:
        introspection = Introspection(
            engine,
            freshness,
            metrics,
            dater,
            scope=settings.introspect,
            callers=settings.introspect_callers,
            used=used,
        )

    def publish(acceptance: Acceptance) -> None:
        endpoint.publish(acceptance)
        if introspection is not None:
            introspection.publish(acceptance)

    classes = Classes(settings.classes, publish)
    handler = AuditedEndpoint(endpoint, audit, settings.request_from, rules) if audit is not None else endpoint
    timed = TimedHandler(handler, metrics.answer_seconds)
    verify_hub = Hub(timed, Limits(connections=settings.max_connections), metrics, dater)
    admin = AdminEndpoint(
        freshness=freshness,
        index=index,
        prover=prover,
        limiter=limiter,
        metrics=metrics,
        dater=dater,
        verify_hub=verify_hub,
        rules=rules,
        introspection=introspection,
        audit=audit,
    )
    return Verifier(
        index=index,
        classes=classes,
        prover=prover,
        limiter=limiter,
        owners=owners,
        metrics=metrics,
        rules=rules,
        judge=judge,
        gate=gate,
        verify_hub=verify_hub,
        # Its traffic is nobody's business but its own, so it has counters that nobody reads.
        admin_hub=Hub(admin, Limits(connections=64), Metrics(), dater),
        used=used,
        audit=audit,
    )


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
        stack.push_async_callback(_cancel, tasks)
        publisher = publisher_for(settings, cluster.namespace, client, verifier.used, verifier.metrics)
        publishing = [loop.create_task(publisher.run())] if publisher is not None else []
        stack.push_async_callback(_cancel, publishing)
        admin = await listen(settings.admin_listen, verifier.admin_hub.open)
        stack.callback(admin.close)
        listener = await listen(settings.listen, verifier.verify_hub.open, context)
        stack.callback(listener.close)
        over_grpc = await _serve_grpc(settings.grpc_listen, verifier) if settings.grpc_listen is not None else None
        if over_grpc is not None:
            stack.push_async_callback(over_grpc, 0)
        logger.info("serving /verify on %s, health and metrics on %s", listener.address, admin.address)
        settling = loop.create_task(_settle(verifier, watches))
        stopping = loop.create_task(stop.wait())
        stack.push_async_callback(_cancel, [settling, stopping])
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        status = 0 if stopping.done() else _report(tasks)
        listener.close()
        await verifier.verify_hub.stop(GRACE_SECONDS)
        if over_grpc is not None:
            await over_grpc(GRACE_SECONDS)
        await _cancel(publishing)
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
        from keywright.verifier.envoy_grpc import serve  # noqa: PLC0415
    except ImportError:
        raise KeywrightError("--grpc-listen needs more packages: pip install 'keywright[grpc]'") from None
    return await serve(address, verifier.judge, verifier.gate)


def _for_ever(verifier: Verifier, watches: Sequence[Reflector]) -> list[Coroutine[Any, Any, None]]:
    return [
        *(watch.run() for watch in watches),
        verifier.verify_hub.keep_sweeping(),
        verifier.admin_hub.keep_sweeping(),
        *([verifier.rules.keep_looking()] if verifier.rules is not None else []),
        *verifier.limiter.chores(),
        *([verifier.audit.keep_summarising()] if verifier.audit is not None else []),
    ]


def _audit(settings: VerifierSettings, index: Index) -> Audit | None:
    if settings.audit is None:
        return None
    return Audit(AuditSink(settings.audit), index.entries, allowed=settings.audit_allowed)


_MEANWHILE = {
    OnFailure.LOCAL: "each verifier counts for itself",
    OnFailure.OPEN: "nothing is limited",
    OnFailure.CLOSED: "keys with limits are answered 503",
}


def _shared_store(settings: VerifierSettings, metrics: Metrics) -> SharedStore | None:
    address, file = settings.rate_limit_store, settings.rate_limit_store_file
    if address is None and file is None:
        return None
    try:
        # Here and not above: only who shares limits pays for it.
        from keywright.verifier.redis_store import RedisStore  # noqa: PLC0415
    except ImportError:
        raise KeywrightError("a rate limit store needs one more package: pip install 'keywright[redis]'") from None

    def locate() -> StoreAddress:
        return address if address is not None else _read_store_file(cast(Path, file))

    locate()
    return RedisStore(locate, metrics, meanwhile=_MEANWHILE[settings.rate_limit_on_failure])


def _read_store_file(path: Path) -> StoreAddress:
    try:
        return parse_store(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise KeywrightError(f"cannot read {path}: {why}: check --rate-limit-store-file") from None
    except ValueError as error:
        raise KeywrightError(f"{path} is {error}: check --rate-limit-store-file") from None


async def _settle(verifier: Verifier, watches: Sequence[Reflector]) -> None:
    """Once in sync: say so, and take the picture out of the garbage collector's rounds, which would stop
    requests for as long as it takes to walk a hundred thousand entries.
    """
    for watch in watches:
        await watch.synced.wait()
    for name in verifier.classes.missing():
        logger.warning("class %s does not exist: its keys are refused until it is created", name)
    gc.collect()
    gc.freeze()
    logger.info("in sync: %d keys", len(verifier.index.entries))


def _report(tasks: Sequence[asyncio.Task[None]]) -> int:
    """Something that runs for ever has ended. Restarting is better than verdicts from a picture that stands still."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("stopping: %s", error if isinstance(error, KeywrightError) else type(error).__name__)
    return 1


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


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
