"""A real API server behind the interface of :class:`tests.support.fake_api.FakeCluster`.

So that what holds in memory can be tried where schemas, CEL rules, defaults and pruning are the real ones. Time is the
test's own; garbage is collected when the test says so, which takes a control plane without its garbage collector.
"""

import json
from collections.abc import Callable

from kubernetes.client.exceptions import ApiException

from keywright.kube.errors import ApiError, NotFoundError, from_response
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, APIKEYUSAGES, EVENTS, NAMESPACES, SECRETS, Resource
from keywright.reconcile.ports import Clock
from tests.support.fake_api import Cluster, Watcher
from tests.support.kube import Kube, Manifest

__all__ = ["RealCluster"]

CLUSTERED = (APIKEYCLASSES, NAMESPACES)
REMOVED = (APIKEYS, SECRETS, EVENTS, APIKEYUSAGES, APIKEYCLASSES)


class RealCluster(Cluster):
    """One namespace of a real API server. Watchers are told of what goes through here."""

    def __init__(self, kube: Kube, namespace: str, clock: Clock) -> None:
        self.clock = clock
        self.history: list[tuple[str, Resource, Manifest]] = []
        self._kube = kube
        self._namespace = namespace
        self._watchers: list[Watcher] = []
        for resource in REMOVED:
            kube.request("DELETE", resource.path(None if resource in CLUSTERED else namespace))

    # What a client asks for.

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return self._request("GET", resource.path(namespace, name))

    def find(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        try:
            return self.get(resource, namespace, name)
        except NotFoundError:
            return None

    def list_all(self, resource: Resource) -> list[Manifest]:
        found = self._request("GET", resource.path(None if resource in CLUSTERED else self._namespace))
        about = {"apiVersion": resource.api_version, "kind": found["kind"].removesuffix("List")}
        return [about | each for each in found["items"]]

    def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest:
        if resource == NAMESPACES:
            # It outlives the world it was made for, and begins anew without labels.
            name, labels = manifest["metadata"]["name"], manifest["metadata"].get("labels") or {}
            return self.edit(NAMESPACES, None, name, lambda each: each["metadata"].update(labels=labels))
        made = self._request("POST", resource.path(namespace), manifest)
        return self._tell("ADDED", resource, made)

    def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, subresource: str | None = None
    ) -> Manifest:
        written = self._request("PUT", resource.path(namespace, name, subresource), manifest)
        return self._tell("MODIFIED", resource, written)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        found = self.get(resource, namespace, name)
        body = {"preconditions": {"uid": uid, "resourceVersion": resource_version}}
        self._request("DELETE", resource.path(namespace, name), body)
        self._tell("DELETED", resource, found)

    # What users, the garbage collector and tests do.

    def collect_garbage(self) -> list[str]:
        """Remove every Secret all of whose owners are gone; return their names."""
        alive = {each["metadata"]["uid"] for each in self.list_all(APIKEYS)}
        collected = []
        for secret in self.list_all(SECRETS):
            owners = secret["metadata"].get("ownerReferences") or []
            if owners and not any(each["uid"] in alive for each in owners):
                self.delete(SECRETS, self._namespace, secret["metadata"]["name"])
                collected.append(secret["metadata"]["name"])
        return collected

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _tell(self, event: str, resource: Resource, manifest: Manifest) -> Manifest:
        self.history.append((event, resource, manifest))
        for watcher in list(self._watchers):
            watcher(event, resource, manifest)
        return manifest

    def _request(self, method: str, path: str, body: Manifest | None = None) -> Manifest:
        try:
            return self._kube.request(method, path, body)
        except ApiException as error:
            translated = _translate(error, f"{method} {path}")
        raise translated


def _translate(error: ApiException, what: str) -> ApiError:
    reason = json.loads(error.body)["reason"] if error.body else str(error.reason)
    return from_response(int(error.status or 0), reason, what)
