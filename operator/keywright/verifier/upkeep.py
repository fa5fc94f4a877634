"""What keeps a picture up to date and tells of its use, for whoever judges by it."""

import random

from keywright.kube.client import ApiClient
from keywright.kube.reflector import Reflector
from keywright.kube.resources import APIKEYCLASSES, APIKEYS
from keywright.verifier.keys.classes import Classes
from keywright.verifier.keys.index import Index, NamespaceView
from keywright.verifier.metrics import Metrics
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.usage import Publisher, Used, name_instance

__all__ = ["publisher_for", "reflectors_for"]


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
