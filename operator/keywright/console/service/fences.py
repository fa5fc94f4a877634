"""Holding what a caller by key asks for against what its key has. Others are held by Kubernetes alone."""

from datetime import UTC, datetime

from keywright.api.apikey import read_spec
from keywright.api.status import read_status
from keywright.console.callers.caller import Bounds, Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.console.service.bounds import Share, asked_by, exceed, fit_end, held, last_end
from keywright.console.service.classes import Classes
from keywright.console.service.finding import nothing
from keywright.console.service.handing_over import read
from keywright.console.service.wanted import NewKey
from keywright.domain.apikey import Owner, Status
from keywright.domain.keyclass import KeyClass
from keywright.kube.resources import APIKEYS

__all__ = ["Fences"]


class Fences:
    """The fences of one caller."""

    def __init__(self, acting: Acting, caller: Caller, classes: Classes) -> None:
        self._acting = acting
        self._caller = caller
        self._classes = classes

    def check_changes(self) -> None:
        """Refuse a key that may not manage keys.

        Raises:
            ProblemError: 403, if it may not.

        """
        bounds = self._caller.bounds
        if bounds is not None and not bounds.may_manage:
            raise ProblemError(
                403, "insufficient_scope", "The key may not change keys: it lacks the scope keys:manage."
            )

    async def fit(self, new: NewKey) -> NewKey:
        """What is asked for, with what a caller by key leaves out filled in.

        Raises:
            ProblemError: 403, if that is more than the key has.

        """
        bounds = self._caller.bounds
        if bounds is None:
            return new
        owner = self._owner()
        wanted_owner = Owner(user=new.owner.user, groups=tuple(new.owner.groups or ())) if new.owner else owner
        if new.class_name not in (None, bounds.class_name):
            # Asked for by name, another class might be looked up, and its absence told.
            raise ProblemError(403, "forbidden", "A key hands out keys of its own class only: leave className out.")
        key_class = await self._class_of(bounds)
        fitted = new.model_copy(update={"class_name": bounds.class_name})
        if bounds.expires_at is not None:
            end = fit_end(new.expires_at, new.ttl, bounds.expires_at, datetime.now(UTC))
            fitted = fitted.model_copy(update={"expires_at": end, "ttl": None})
        wanted = asked_by(fitted.role, fitted.scopes, key_class, owner=wanted_owner, ends_at=fitted.expires_at)
        await self._check(wanted, bounds, key_class)
        return fitted

    async def check_handing_out(self, found: Manifest) -> None:
        """Refuse to let a caller by key have, or bring back, a key that it could not have made.

        Raises:
            ProblemError: 403, if it could not.

        """
        bounds = self._caller.bounds
        if bounds is None:
            return
        spec, status = read(found)
        key_class = await self._class_of(bounds)
        asked = asked_by(
            spec.role,
            spec.scopes,
            key_class,
            owner=spec.owner,
            ends_at=last_end(spec, key_class, datetime.now(UTC)),
        )
        wanted = Share(
            class_name=status.class_name or spec.class_name or "",
            owner=asked.owner,
            scopes=asked.scopes,
            ends_at=asked.ends_at,
        )
        await self._check(wanted, bounds, key_class)

    async def _check(self, wanted: Share, bounds: Bounds, key_class: KeyClass) -> None:
        own = await self._acting.find(APIKEYS, bounds.namespace, bounds.name)
        if own is None:
            raise nothing()
        share = held(bounds, self._owner(), read_spec(own), read_status(own) or Status(), key_class)
        excess = exceed(wanted, share, key_class.delegation)
        if excess is not None:
            raise ProblemError(403, "forbidden", excess.message)

    async def _class_of(self, bounds: Bounds) -> KeyClass:
        return await self._classes.get(bounds.class_name)

    def _owner(self) -> Owner:
        return Owner(user=self._caller.user, groups=self._caller.groups)
