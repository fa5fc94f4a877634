"""What a caller may do with keys; REST and pages alike ask here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keywright.api.standing import Uses, exact_uses
from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.console.service.changing import Changing
from keywright.console.service.classes import Classes
from keywright.console.service.creating import Creating, Made
from keywright.console.service.fences import Fences
from keywright.console.service.finding import Cursor, Finder
from keywright.console.service.owners import Outcome, Owners
from keywright.console.service.served import Served
from keywright.console.service.viewing import view_event, view_key
from keywright.console.service.views import ClassView, EventView, KeyView, Page
from keywright.console.service.wanted import NewKey
from keywright.domain.apikey import Phase
from keywright.domain.plainkey import PlainKey
from keywright.kube.resources import APIKEYS, APIKEYUSAGES, EVENTS, NAMESPACES

__all__ = ["Issued", "KeyService", "Outcome", "Rotated"]

LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key. ``plain`` is in nobody else's hands."""

    key: KeyView
    plain: PlainKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """A rotated key; ``plain`` where it is delivered once, else the new one lies in its Secret."""

    key: KeyView
    plain: PlainKey | None


class KeyService:
    """Made for each request. Every method raises :class:`ProblemError`."""

    def __init__(self, served: Served, caller: Caller) -> None:
        self._served = served
        self._caller = caller
        self._acting = Acting(served.client.acting_as(caller.user, caller.groups))
        self._classes = Classes(Acting(served.client))
        self._finder = Finder(self._acting, caller, served.serves)
        self._fences = Fences(self._acting, caller, self._classes)
        fence = self._fences.check_handing_out if caller.bounds is not None else None
        self._changing = Changing(self._acting, fence)
        self._owners = Owners(self._acting, caller, served.namespaces)
        self._known_uses: dict[str, Uses] = {}

    async def list(
        self,
        namespace: str,
        *,
        display_name: str | None = None,
        status: Phase | None = None,
        owner: str | None = None,
        limit: int = LIMIT,
        cursor: str | None = None,
    ) -> Page:
        """Keys of a namespace by name: of exactly this display name, of this status, of this owner."""
        self._finder.check_namespace(namespace)
        uses, now = await self._uses(namespace), datetime.now(UTC)

        def is_wanted(found: Manifest) -> bool:
            if display_name is None and status is None:
                return True
            seen = view_key(found, uses, now)
            is_named = display_name in (None, seen.display_name)
            return is_named and (status is None or seen.status.partition(" ")[0] == status)

        start = Cursor.read(cursor)
        found, ahead = await self._finder.page(namespace, owner=owner, limit=limit, cursor=start, wanted=is_wanted)
        items = tuple(view_key(each, uses, now) for each in found)
        return Page(items=items, next=str(ahead) if ahead is not None else None)

    async def get(self, namespace: str, key: str) -> KeyView:
        """One key, by name, key id or UID."""
        return await self._view(await self._finder.find(namespace, key))

    async def events(self, key: KeyView) -> tuple[EventView, ...]:
        """What happened to a key, newest first; nothing if the caller may not list events."""
        selector = f"involvedObject.uid={key.uid}"
        try:
            events = [view_event(each) async for each in self._acting.all(EVENTS, key.namespace, selector=selector)]
        except ProblemError as problem:
            if problem.status != 403:
                raise
            return ()
        return tuple(sorted(events, key=lambda each: each.at, reverse=True))

    async def create(self, namespace: str, new: NewKey, *, idempotency_key: str | None = None) -> Issued:
        """Make a key and have it. Nothing is left behind of one that cannot be had."""
        self._finder.check_namespace(namespace)
        self._fences.check_changes()
        if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
            raise ProblemError(422, "invalid_request", "expiresAt: that is over already.")
        fitted = await self._fences.fit(new)
        made = await self._creating().create(namespace, fitted, idempotency_key, self._fences.check_standing)
        return Issued(key=view_key(made.found, {}, datetime.now(UTC)), plain=made.plain)

    async def discard(self, issued: Issued) -> None:
        """Take a new key back that has not reached who asked for it."""
        found = await self._acting.find(APIKEYS, issued.key.namespace, issued.key.name)
        if found is not None and found["metadata"]["uid"] == issued.key.uid:
            await self._creating().take_back(Made(found, issued.plain))

    async def rotate(
        self, namespace: str, key: str, *, grace: timedelta | None = None, version: str | None = None
    ) -> Rotated:
        """Have a new key put beside the old one, which works on for ``grace``."""
        found = await self._to_change(namespace, key)
        await self._fences.check_handing_out(found)
        rotated, plain = await self._changing.rotate(found, grace, version)
        await self._fences.check_standing()
        return Rotated(key=await self._view(rotated), plain=plain)

    async def suspend(self, namespace: str, key: str, *, version: str | None = None) -> KeyView:
        """Have a key refused until it is resumed."""
        found = await self._to_change(namespace, key)
        return await self._view(await self._changing.suspend(found, version))

    async def resume(self, namespace: str, key: str, *, version: str | None = None) -> KeyView:
        """Have a suspended key accepted again."""
        found = await self._to_change(namespace, key)
        await self._fences.check_handing_out(found)
        return await self._view(await self._changing.resume(found, version))

    async def revoke(
        self, namespace: str, key: str, *, reason: str | None = None, version: str | None = None
    ) -> KeyView:
        """Have a key refused for ever."""
        found = await self._to_change(namespace, key)
        return await self._view(await self._changing.revoke(found, reason, version))

    async def delete(self, namespace: str, key: str, *, version: str | None = None) -> None:
        """Delete a key; it is refused from then on."""
        await self._changing.delete(await self._to_change(namespace, key), version)

    async def keys_of(self, owner: str) -> tuple[KeyView, ...]:
        """The keys of an owner wherever the caller may list; 403 if he may nowhere."""
        found = await self._owners.find(owner)
        uses: dict[str, Uses] = {}
        for namespace in {each["metadata"]["namespace"] for each in found}:
            uses[namespace] = await self._uses(namespace)
        now = datetime.now(UTC)
        return tuple(view_key(each, uses[each["metadata"]["namespace"]], now) for each in found)

    async def revoke_all_of(self, owner: str, reason: str | None = None) -> tuple[Outcome, ...]:
        """Revoke every key of an owner that is not revoked yet; none if the caller may not list them everywhere."""
        self._fences.check_changes()
        return await self._owners.revoke(owner, reason)

    async def classes(self) -> tuple[ClassView, ...]:
        """The classes that keys can be of: for a key, its own."""
        views = await self._classes.views()
        bounds = self._caller.bounds
        return tuple(each for each in views if bounds is None or each.name == bounds.class_name)

    async def namespaces(self) -> tuple[str, ...]:
        """Those served; where that is all of them, those that the caller may list, which may be none."""
        if self._caller.bounds is not None:
            return (self._caller.bounds.namespace,)
        if self._served.namespaces is not None:
            return tuple(sorted(self._served.namespaces))
        try:
            return tuple(sorted([each["metadata"]["name"] async for each in self._acting.all(NAMESPACES, None)]))
        except ProblemError as problem:
            if problem.status not in (403, 503):
                raise
            return ()

    def _creating(self) -> Creating:
        return Creating(self._acting, self._caller, self._finder, self._served.undoing)

    async def _to_change(self, namespace: str, key: str) -> Manifest:
        self._fences.check_changes()
        return await self._finder.find(namespace, key)

    async def _view(self, found: Manifest) -> KeyView:
        return view_key(found, await self._uses(found["metadata"]["namespace"]), datetime.now(UTC))

    async def _uses(self, namespace: str) -> Uses:
        """When keys were last used, as far as the caller may know; status has it to the hour all the same. It is asked
        for once in a request, however many pages of a list that takes.
        """
        if namespace not in self._known_uses:
            try:
                found = exact_uses([each async for each in self._acting.all(APIKEYUSAGES, namespace)])
            except ProblemError as problem:
                if problem.status not in (403, 404):
                    raise
                found = {}
            self._known_uses[namespace] = found
        return self._known_uses[namespace]
