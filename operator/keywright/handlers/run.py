"""Assemble the operator and run it until it is told to stop."""

import asyncio
import logging
import random
import signal
import socket
import uuid
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any, cast

import kopf

from keywright.domain.delivery import MANAGED_BY
from keywright.exposition import expose
from keywright.handlers.health import Health, serve
from keywright.handlers.preflight import only, wait_until_usable
from keywright.handlers.registry import build_registry, build_settings
from keywright.handlers.settings import OperatorSettings
from keywright.kube.client import ApiClient, Manifest, connect
from keywright.kube.credentials import Credentials
from keywright.kube.lease import Alone, Lease
from keywright.kube.reflector import Reflector
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, APIKEYUSAGES, NAMESPACES, SECRETS
from keywright.reconcile.concerned import by_class, by_namespace
from keywright.reconcile.echoes import Echoes
from keywright.reconcile.hasher import PooledHasher
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.pictures import ClassPicture, NamespacePicture, SecretPicture, WatchGuard
from keywright.reconcile.ports import Api, Ref
from keywright.reconcile.reconciler import Reconciler
from keywright.reconcile.roster import Roster
from keywright.reconcile.standby import GuardedApi, Standby
from keywright.reconcile.usage import UsagePicture
from keywright.reconcile.workqueue import WorkQueue

__all__ = ["run"]

SECRET_LABEL = ",".join(f"{key}={value}" for key, value in MANAGED_BY.items())
GRACE = 10.0  # seconds that running work gets after the signal to stop

logger = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class _NamespaceView:
    """One namespace of a picture, so that a re-list of it does not remove what is in another."""

    def __init__(self, picture: Echoes | NamespacePicture | UsagePicture, namespace: str | None) -> None:
        self._picture = picture
        self._namespace = namespace

    def put(self, manifest: Manifest) -> None:
        self._picture.put(manifest)

    def remove(self, uid: str) -> None:
        self._picture.remove(uid)

    def uids(self) -> Collection[str]:
        return self._picture.uids_in(self._namespace)


async def run(settings: OperatorSettings, credentials: Credentials) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        KeywrightError: if the process cannot do its work and waiting would not help.

    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    # Four watches a namespace, and each keeps a socket.
    watches = 4 * len(settings.namespaces) + len(settings.usage_namespaces)
    async with connect(credentials, connections=settings.workers + 8 + watches) as client:
        await wait_until_usable(client, settings.namespaces, stop)
        if not stop.is_set():
            await operate(settings, credentials, client, client, stop)


async def operate(
    settings: OperatorSettings, credentials: Credentials, client: ApiClient, api: Api, stop: asyncio.Event
) -> None:
    """Watch through ``client``, write through ``api``, until ``stop`` is set."""
    rng = random.SystemRandom()
    namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
    metrics = Metrics(per_key=settings.per_key_metrics)
    hasher = PooledHasher(metrics)

    def changed(ref: Ref) -> None:
        # At the start no ApiKey is known yet; each will be looked at when its own event comes.
        if ref in roster:
            queue.add(ref)

    def look_at(refs: Iterable[Ref]) -> None:
        for ref in refs:
            queue.add(ref)

    roster = Roster(changed)
    classes = ClassPicture(lambda name: look_at(by_class(roster, name)))
    labelled = NamespacePicture(lambda name: look_at(by_namespace(roster, classes, name)))
    secrets = SecretPicture(changed)
    echoes = Echoes(secrets)
    usage = UsagePicture(roster, changed, clock=_now)
    guards = [WatchGuard(roster, namespace) for namespace in namespaces]
    guarded = GuardedApi(api, lambda: lease.is_held, echoes)
    reconciler = Reconciler(
        api=guarded,
        classes=classes,
        namespaces=labelled,
        secret_uids=secrets,
        uses=usage,
        roster=roster,
        hasher=hasher,
        clock=_now,
        rng=rng,
        metrics=metrics,
        # What the second watch has listed and the framework has shown.
        knows_all=lambda: all(each.synced.is_set() for each in second) and not any(each.lag() for each in guards),
    )
    standby = Standby(leads=lambda: lease.is_held, foresee=reconciler.foresee, work=reconciler.reconcile)
    queue = WorkQueue(
        standby.look,
        clock=_now,
        rng=rng,
        workers=settings.workers,
        metrics=metrics,
        reason_of=roster.reason_of,
    )
    lease = _lease(settings, client, lambda: standby.take_over(queue.add))
    first = [Reflector(client, APIKEYCLASSES, classes)]
    first += [
        Reflector(
            client,
            NAMESPACES,
            _NamespaceView(labelled, namespace),
            field_selector=only(namespace),
            metadata_only=True,
        )
        for namespace in namespaces
    ]
    first += [
        Reflector(
            client,
            SECRETS,
            _NamespaceView(echoes, namespace),
            namespace,
            label_selector=SECRET_LABEL,
            metadata_only=True,
        )
        for namespace in namespaces
    ]
    second = [
        Reflector(client, APIKEYS, guard, namespace, metadata_only=True)
        for guard, namespace in zip(guards, namespaces, strict=True)
    ]
    # Verifiers may publish elsewhere than where the keys are. Nothing waits for these, and no key depends on them.
    publishing = dict.fromkeys((*settings.namespaces, *settings.usage_namespaces)) or (None,)
    third = [Reflector(client, APIKEYUSAGES, _NamespaceView(usage, each), each) for each in publishing]
    health = Health([*first, *second], guards, lease)

    def exposition() -> bytes:
        depth, overdue, age = len(queue), queue.overdue(), health.silence
        return expose(
            metrics.samples(roster=roster, queue_depth=depth, overdue=overdue, watch_age=age, leads=lease.is_held)
        )

    async with serve(settings.health_listen, health, exposition), asyncio.TaskGroup() as tasks:
        background: list[asyncio.Task[Any]] = [tasks.create_task(each.run()) for each in (*first, *second, *third)]
        stopping = tasks.create_task(stop.wait())
        logger.info(
            "watching %s; probes on http://%s/readyz",
            ", ".join(settings.namespaces) or "all namespaces",
            settings.health_listen,
        )
        # Without the Secrets, namespaces and classes every ApiKey would look as if it had lost its own.
        synced = tasks.create_task(_all_synced(first))
        background += [stopping, synced]
        await asyncio.wait([synced, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            listening = asyncio.Event()
            works = (queue.run(), lease.run(), usage.run(guarded), _pass_on(stop, listening))
            background += [tasks.create_task(each) for each in works]
            # The framework ends every task that is younger than itself, so the workers have to exist by now.
            await asyncio.sleep(0.01)
            # It takes over SIGTERM and SIGINT, and returns when one has come.
            await kopf.operator(
                registry=build_registry(credentials, roster, queue, standby.forget),
                settings=build_settings(),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                standalone=True,
                # For peering alone. Without it the framework asks for the account's name; in a container it has none.
                identity=cast("Any", "keywright"),
                ready_flag=listening,
            )
        logger.info("stopping: %d ApiKeys in hand", len(queue))
        await queue.drain(GRACE)
        for task in background:
            task.cancel()
    hasher.close()


async def _pass_on(stop: asyncio.Event, listening: asyncio.Event) -> None:
    """A signal that came to us before the framework listened would be lost, so it is sent once more."""
    await listening.wait()
    if stop.is_set():
        signal.raise_signal(signal.SIGTERM)


async def _all_synced(reflectors: list[Reflector]) -> None:
    for each in reflectors:
        await each.synced.wait()


def _lease(settings: OperatorSettings, client: ApiClient, acquired: Callable[[], None]) -> Lease | Alone:
    if settings.lease is None:
        return Alone()
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    return Lease(client, *settings.lease, identity=identity, acquired=acquired, clock=_now)
