"""An API server in memory, as far as reconciling uses one, and a client with failpoints.

:class:`FakeCluster` holds the objects and the rules: optimistic locking, UIDs, generations, the status
subresource, preconditions, finalizers, owner references. :class:`FakeApi` is one operator's connection to it and
implements :class:`keywright.reconcile.ports.Api`; what goes wrong on the way goes wrong there.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from keywright.domain.times import format_instant
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ApiUnavailableError, from_response
from keywright.kube.resources import (
    APIKEYCLASSES,
    APIKEYS,
    APIKEYUSAGES,
    EVENTS,
    LEASES,
    NAMESPACES,
    SECRETS,
    Resource,
)
from keywright.reconcile.ports import Clock, Ref

__all__ = ["Call", "Cluster", "FakeApi", "FakeCluster", "SimulatedDeathError", "ref_of"]

KINDS = {
    APIKEYS: "ApiKey",
    APIKEYCLASSES: "ApiKeyClass",
    APIKEYUSAGES: "ApiKeyUsage",
    SECRETS: "Secret",
    EVENTS: "Event",
    NAMESPACES: "Namespace",
    LEASES: "Lease",
}
COUNTS_GENERATIONS = (APIKEYS, APIKEYCLASSES, APIKEYUSAGES)

Watcher = Callable[[str, Resource, Manifest], None]
Hook = Callable[[], Awaitable[None]]


class SimulatedDeathError(BaseException):
    """The process died here. Not an ``Exception``: nothing that runs in a dead process may handle it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a client sent it. ``manifest`` is what it carried."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str
    subresource: str | None = None
    manifest: Manifest | None = field(default=None, repr=False, compare=False)

    @property
    def is_write(self) -> bool:
        return self.verb != "get"

    def __str__(self) -> str:
        parts = [self.verb, self.resource.plural, self.subresource]
        return " ".join(part for part in parts if part)


class Cluster(Protocol):
    """What carries out the requests of a client."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest: ...

    def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest: ...

    def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, subresource: str | None = None
    ) -> Manifest: ...

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None: ...

    def edit(
        self, resource: Resource, namespace: str | None, name: str, change: Callable[[Manifest], None]
    ) -> Manifest:
        """Read, change, write, as ``kubectl edit`` does. The status is changed as its subresource."""
        before = self.get(resource, namespace, name)
        after = _copy(before)
        change(after)
        if resource == APIKEYS and after.get("status") != before.get("status"):
            written = self.update(resource, namespace, name, after, "status")
            after["metadata"]["resourceVersion"] = written["metadata"]["resourceVersion"]
        return self.update(resource, namespace, name, after)


class FakeCluster(Cluster):
    """Objects by resource, namespace and name. Every manifest that goes in or out is a copy."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.history: list[tuple[str, Resource, Manifest]] = []
        """Every watch event, oldest first."""
        self._objects: dict[tuple[Resource, str | None, str], Manifest] = {}
        self._version = 0
        self._uids = 0
        self._watchers: list[Watcher] = []

    # What a client asks for.

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return _copy(self._found(resource, namespace, name))

    def find(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """The object, or ``None``."""
        found = self._objects.get((resource, namespace, name))
        return _copy(found) if found is not None else None

    def list_all(self, resource: Resource) -> list[Manifest]:
        return [_copy(each) for (kind, _, _), each in self._objects.items() if kind == resource]

    def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest:
        made = _copy(manifest)
        metadata = made.setdefault("metadata", {})
        name = metadata["name"]
        what = f"create {resource.plural} {name}"
        self._check_form(resource, namespace, made, what)
        if metadata.get("resourceVersion"):
            raise from_response(400, "BadRequest", what)
        if (resource, namespace, name) in self._objects:
            raise from_response(409, "AlreadyExists", what)
        self._uids += 1
        metadata["uid"] = f"00000000-0000-4000-8000-{self._uids:012d}"
        metadata["creationTimestamp"] = format_instant(self.clock())
        metadata.pop("deletionTimestamp", None)
        if namespace is not None:
            metadata["namespace"] = namespace
        if resource in COUNTS_GENERATIONS:
            metadata["generation"] = 1
        if resource == APIKEYS:
            made.pop("status", None)
        if resource == SECRETS:
            made.setdefault("type", "Opaque")
        return self._store("ADDED", resource, namespace, made)

    def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, subresource: str | None = None
    ) -> Manifest:
        what = f"update {resource.plural} {name}"
        sent = _copy(manifest)
        self._check_form(resource, namespace, sent, what)
        if sent["metadata"].get("name") != name:
            raise from_response(400, "BadRequest", what)
        before = self._found(resource, namespace, name)
        old, new = before["metadata"], sent["metadata"]
        if new.get("uid", old["uid"]) != old["uid"]:
            raise from_response(409, "Conflict", what)
        version = new.get("resourceVersion")
        if version is None and resource in COUNTS_GENERATIONS:
            raise from_response(422, "Invalid", what)
        if version is not None and version != old["resourceVersion"]:
            raise from_response(409, "Conflict", what)
        if subresource == "status":
            after = before | {"status": sent.get("status", {})}
        else:
            after = sent | {"metadata": new | {key: old[key] for key in _KEPT if key in old}}
            for key in _KEPT:
                if key not in old:
                    after["metadata"].pop(key, None)
            if resource == APIKEYS:
                after.pop("status", None)
                if "status" in before:
                    after["status"] = before["status"]
            if resource == SECRETS:
                self._check_secret(before, after, what)
            if resource in COUNTS_GENERATIONS and after.get("spec") != before.get("spec"):
                after["metadata"] = after["metadata"] | {"generation": old["generation"] + 1}
        after["metadata"] = after["metadata"] | {"resourceVersion": old["resourceVersion"]}
        if after == before:
            return _copy(before)
        if "deletionTimestamp" in old and not after["metadata"].get("finalizers"):
            return self._remove(resource, namespace, name)
        return self._store("MODIFIED", resource, namespace, after)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        found = self._found(resource, namespace, name)
        metadata = found["metadata"]
        if uid not in (None, metadata["uid"]) or resource_version not in (None, metadata["resourceVersion"]):
            raise from_response(409, "Conflict", f"delete {resource.plural} {name}")
        if not metadata.get("finalizers"):
            self._remove(resource, namespace, name)
        elif "deletionTimestamp" not in metadata:
            going = _copy(found)
            going["metadata"]["deletionTimestamp"] = format_instant(self.clock())
            self._store("MODIFIED", resource, namespace, going)

    # What users, the garbage collector and tests do.

    def collect_garbage(self) -> list[str]:
        """Remove every object all of whose owners are gone, as the garbage collector does; return their names."""
        collected = []
        while orphans := [each for each in self._objects.items() if self._is_orphan(each[1])]:
            for (resource, namespace, name), manifest in orphans:
                manifest["metadata"].pop("finalizers", None)
                self._remove(resource, namespace, name)
                collected.append(name)
        return collected

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher`` with every event from now on; the returned function ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _is_orphan(self, manifest: Manifest) -> bool:
        owners = manifest["metadata"].get("ownerReferences") or []
        alive = {each["metadata"]["uid"] for each in self._objects.values()}
        return bool(owners) and not any(each["uid"] in alive for each in owners)

    def _found(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        try:
            return self._objects[resource, namespace, name]
        except KeyError:
            raise from_response(404, "NotFound", f"get {resource.plural} {name}") from None

    @staticmethod
    def _check_form(resource: Resource, namespace: str | None, manifest: Manifest, what: str) -> None:
        is_right = manifest.get("kind") == KINDS[resource] and manifest.get("apiVersion") == resource.api_version
        if not is_right or manifest["metadata"].get("namespace", namespace) != namespace:
            raise from_response(400, "BadRequest", what)

    @staticmethod
    def _check_secret(before: Manifest, after: Manifest, what: str) -> None:
        after.setdefault("type", "Opaque")
        is_frozen = before.get("immutable") and (after.get("data") != before.get("data") or not after.get("immutable"))
        if after["type"] != before["type"] or is_frozen:
            raise from_response(422, "Invalid", what)

    def _store(self, event: str, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest:
        self._version += 1
        manifest["metadata"] = manifest["metadata"] | {"resourceVersion": str(self._version)}
        self._objects[resource, namespace, manifest["metadata"]["name"]] = manifest
        self._tell(event, resource, manifest)
        return _copy(manifest)

    def _remove(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        gone = self._objects.pop((resource, namespace, name))
        self._version += 1
        gone["metadata"] = gone["metadata"] | {"resourceVersion": str(self._version)}
        self._tell("DELETED", resource, gone)
        return _copy(gone)

    def _tell(self, event: str, resource: Resource, manifest: Manifest) -> None:
        self.history.append((event, resource, _copy(manifest)))
        for watcher in list(self._watchers):
            watcher(event, resource, _copy(manifest))


_KEPT = ("uid", "creationTimestamp", "generation", "namespace", "deletionTimestamp")


class FakeApi:
    """One client. Calls are counted from 0; ``rewind`` starts the count anew."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.calls: list[Call] = []
        self.refused: list[ApiError] = []
        self._first = 0
        self._dies_before: int | None = None
        self._dies_after: int | None = None
        self._is_dead = False
        self._unavailable = 0
        self._mute = 0
        self._hooks: dict[int, Hook] = {}

    # Failpoints.

    def rewind(self) -> None:
        """The next call is number 0."""
        self._first = len(self.calls)

    def die_before(self, number: int) -> None:
        """The process dies before that call is sent."""
        self._dies_before = number

    def die_after(self, number: int) -> None:
        """The process dies after the API server has carried out that call, before it learns of it."""
        self._dies_after = number

    def be_unavailable(self, calls: int) -> None:
        """The next calls do not reach the API server."""
        self._unavailable = calls

    def lose_answers(self, calls: int) -> None:
        """The next calls are carried out, and look as if they had not reached the API server."""
        self._mute = calls

    def before(self, number: int, hook: Hook) -> None:
        """Run ``hook`` once, before that call is sent."""
        self._hooks[number] = hook

    def heal(self) -> None:
        """Take back every failpoint that has not fired."""
        self._dies_before = self._dies_after = None
        self._unavailable = self._mute = 0
        self._hooks.clear()

    @property
    def recent(self) -> list[Call]:
        """The calls since ``rewind``."""
        return self.calls[self._first :]

    @property
    def writes(self) -> list[Call]:
        """The writes since ``rewind``."""
        return [each for each in self.recent if each.is_write]

    # The port.

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        call = Call("get", resource, namespace, name)
        found: Manifest = await self._send(call, lambda: self.cluster.get(resource, namespace, name))
        return found

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest:
        call = Call("create", resource, namespace, manifest["metadata"]["name"], None, _copy(manifest))
        made: Manifest = await self._send(call, lambda: self.cluster.create(resource, namespace, manifest))
        return made

    async def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, subresource: str | None = None
    ) -> Manifest:
        call = Call("update", resource, namespace, name, subresource, _copy(manifest))
        written: Manifest = await self._send(
            call, lambda: self.cluster.update(resource, namespace, name, manifest, subresource)
        )
        return written

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, resource_version: str | None = None
    ) -> None:
        call = Call("delete", resource, namespace, name)
        preconditions = {"uid": uid, "resource_version": resource_version}
        await self._send(call, lambda: self.cluster.delete(resource, namespace, name, **preconditions))

    async def _send(self, call: Call, carry_out: Callable[[], Any]) -> Any:
        if self._is_dead:
            raise AssertionError(f"a dead process sent {call}")
        number = len(self.calls) - self._first
        if (hook := self._hooks.pop(number, None)) is not None:
            await hook()
        if number == self._dies_before:
            self._die()
        self.calls.append(call)
        await asyncio.sleep(0)
        if self._unavailable > 0:
            self._unavailable -= 1
            raise ApiUnavailableError(0, "ClientConnectorError", str(call))
        try:
            answer = carry_out()
        except ApiError as error:
            self.refused.append(error)
            raise
        finally:
            if number == self._dies_after:
                self._die()
        if self._mute > 0:
            self._mute -= 1
            raise ApiUnavailableError(0, "TimeoutError", str(call))
        return answer

    def _die(self) -> None:
        self._is_dead = True
        raise SimulatedDeathError


def ref_of(manifest: Manifest) -> Ref:
    """The coordinates of an object that came out of the cluster."""
    return Ref(manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _copy(manifest: Manifest) -> Manifest:
    """A deep copy that is JSON, as everything is on its way to and from an API server."""
    copied: Manifest = json.loads(json.dumps(manifest))
    return copied
