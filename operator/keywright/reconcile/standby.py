"""What a replica does with news while another one leads, and the gate through which every write passes.

A standby decides on what watches tell, as the leader does, and takes no step: what is in order leaves its due time in
the schedule, the rest is remembered until the leader has seen to it, which the next event shows. So a takeover begins
with what the last leader left undone, and with nothing else.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime

from keywright.domain.plan import Plan
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiUnavailableError
from keywright.kube.resources import SECRETS, Resource
from keywright.reconcile.echoes import Echoes
from keywright.reconcile.ports import Api, Ref

__all__ = ["GuardedApi", "Standby"]

Leads = Callable[[], bool]


class GuardedApi:
    """The API server as long as this replica leads: asked before each write, so a pass in hand stops where it is.
    The echoes learn which Secrets are being written.
    """

    def __init__(self, api: Api, leads: Leads, echoes: Echoes) -> None:
        self._api = api
        self._leads = leads
        self._echoes = echoes

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return await self._api.get(resource, namespace, name)

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest:
        with self._writing(resource, namespace, manifest["metadata"]["name"]):
            return await self._api.create(resource, namespace, manifest)

    async def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, subresource: str | None = None
    ) -> Manifest:
        with self._writing(resource, namespace, name):
            return await self._api.update(resource, namespace, name, manifest, subresource)

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, resource_version: str | None = None
    ) -> None:
        with self._writing(resource, namespace, name):
            await self._api.delete(resource, namespace, name, uid=uid, resource_version=resource_version)

    @contextmanager
    def _writing(self, resource: Resource, namespace: str | None, name: str) -> Iterator[None]:
        if not self._leads():
            raise ApiUnavailableError(0, "NotLeading", f"write {resource.plural}")
        with self._echoes.writing(Ref(namespace, name)) if resource == SECRETS and namespace else nullcontext():
            yield


class Standby:
    """Stands between the queue and the reconciler. ``foresee`` decides without a request, ``work`` does the work."""

    def __init__(
        self,
        *,
        leads: Leads,
        foresee: Callable[[Ref, Manifest], Plan | None],
        work: Callable[[Ref, Manifest | None], Awaitable[datetime | None]],
    ) -> None:
        self._leads = leads
        self._foresee = foresee
        self._work = work
        self._undone: dict[Ref, Manifest | None] = {}

    async def look(self, ref: Ref, seen: Manifest | None) -> datetime | None:
        """Do what the queue asks for: the work, or while another leads the part of it that needs no request."""
        if self._leads():
            return await self._work(ref, seen)
        # A Secret may be shown after the ApiKey that tells of it: with both, the key may turn out to be in order.
        newest = seen or self._undone.get(ref)
        plan = self._foresee(ref, newest) if newest is not None else None
        if plan is not None and plan.is_noop:
            self._undone.pop(ref, None)
            return plan.wake_at
        self._undone[ref] = newest
        return None

    def forget(self, ref: Ref) -> None:
        """The ApiKey is gone."""
        self._undone.pop(ref, None)

    def take_over(self, add: Callable[[Ref], None]) -> None:
        """Hand over what was left undone."""
        undone, self._undone = self._undone, {}
        for ref in undone:
            add(ref)
