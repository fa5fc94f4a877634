"""What keeps a picture up to date and tells of its use, for whoever judges by it."""

import logging
import random
from collections.abc import Sequence

from keywright.kube.client import ApiClient
from keywright.kube.reflector import Reflector
from keywright.kube.resources import APIKEYCLASSES, APIKEYS
from keywright.verifier.keys.classes import Classes
from keywright.verifier.keys.index import Index, NamespaceView
from keywright.verifier.metrics import Metrics
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.usage import Publisher, Used, name_instance

__all__ = ["publisher_for", "reflectors_for", "report_first_picture"]

logger = logging.getLogger(__name__)


def reflectors_for(
    settings: VerifierSettings, own_namespace: str, client: ApiClient, classes: Classes, index: Index
) -> list[Reflector]:
    """The watches of the classes, and of the keys of each namespace that is trusted."""
    watched = Reflector(client, APIKEYCLASSES, classes)
    if settings.all_namespaces:
        return [watched, Reflector(client, APIKEYS, index)]
    return [watched] + [
        Reflector(client, APIKEYS, NamespaceView(index, namespace), namespace)
        for namespace in settings.namespaces or (own_namespace,)
    ]


def publisher_for(
    settings: VerifierSettings, own_namespace: str, client: ApiClient, used: Used | None, metrics: Metrics
) -> Publisher | None:
    """Publishes what is in ``used``; ``None`` if nobody notes it."""
    if used is None:
        return None
    return Publisher(
        client,
        own_namespace,
        instance=name_instance(),
        used=used,
        interval=settings.usage_interval,
        metrics=metrics,
        rng=random.SystemRandom(),
    )


def report_first_picture(named: Sequence[str], classes: Classes, index: Index) -> None:
    """Say what is there once all watches have their first list, and what is not: whoever mistypes a class, or one of
    the ``named`` namespaces, has a verifier that is in order and refuses everybody.
    """
    for name in classes.missing():
        logger.warning("class %s does not exist: its keys are refused until it is created", name)
    have_keys = {entry.path.partition(b"/")[0].decode() for entry in index.entries.values()}
    for namespace in named:
        if namespace not in have_keys:
            logger.warning("namespace %s has no keys yet: look at --namespace if it should have", namespace)
    logger.info("in sync: %d keys", len(index.entries))
