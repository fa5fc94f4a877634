"""Holding what a caller by key asks for against what its key has. Others are held by Kubernetes alone."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from keywright.api.apikey import read_spec
from keywright.api.finding import has_id
from keywright.api.status import read_status
from keywright.console.callers.caller import Bounds, Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.console.service.bounds import Excess, Share, asked_by, exceed, fit_end, held, last_end
from keywright.console.service.classes import Classes
from keywright.console.service.finding import nothing
from keywright.console.service.handing_over import read
from keywright.console.service.wanted import NewKey
from keywright.domain.apikey import Owner, Status
from keywright.domain.keyclass import KeyClass
from keywright.kube.resources import APIKEYS

__all__ = ["Fences", "Fitted"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A wish as it was ``asked``, and within its bounds, and the tighter limits of its maker as manifests have them."""

    asked: NewKey
    new: NewKey
    rate_limits: tuple[Manifest, ...] = ()


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

    async def fit(self, new: NewKey) -> Fitted:
        """What is asked for, with what a caller by key leaves out filled in.

        Raises:
            ProblemError: 403, if that is more than the key has.

        """
        bounds = self._caller.bounds
        if bounds is None:
            return Fitted(new, new)
        if new.class_name not in (None, bounds.class_name):
            # Looked up, it would tell whether there is such a class.
            raise ProblemError(403, "forbidden", "A key hands out keys of its own class only: leave className out.")
        key_class = await self._classes.get(bounds.class_name)
        changes: dict[str, Any] = {"class_name": bounds.class_name}
        if bounds.expires_at is not None:
            end = fit_end(new.expires_at, new.ttl, key_class, bounds.expires_at, datetime.now(UTC))
            changes |= {"expires_at": end, "ttl": None}
        fitted = new.model_copy(update=changes)
        owner = Owner(user=new.owner.user, groups=tuple(new.owner.groups or ())) if new.owner else self._owner()
        own = await self._own(bounds)
        share = self._held(own, bounds, key_class)
        wanted = asked_by(fitted.role, fitted.scopes, key_class, owner=owner, ends_at=fitted.expires_at)
        # It gets the limits that the key itself was given.
        _refuse(exceed(replace(wanted, limits=share.limits), share, key_class.delegation))
        return Fitted(new, fitted, tuple(own["spec"].get("rateLimits") or ()))

    async def check_handing_out(self, found: Manifest) -> None:
        """Refuse to let a caller by key have, or bring back, a key that it could not have made.

        Raises:
            ProblemError: 403, if it could not.

        """
        bounds = self._caller.bounds
        if bounds is None:
            return
        spec, status = read(found)
        key_class = await self._classes.get(bounds.class_name)
        end = last_end(spec, key_class, datetime.now(UTC))
        wanted = replace(
            asked_by(spec.role, spec.scopes, key_class, owner=spec.owner, ends_at=end),
            class_name=status.class_name or spec.class_name or "",
            limits=status.effective.rate_limits if status.effective is not None else (),
        )
        _refuse(exceed(wanted, self._held(await self._own(bounds), bounds, key_class), key_class.delegation))

    async def check_standing(self) -> None:
        """Refuse to hand out what was made for a key that was ended meanwhile: it may have waited for long. The API
        server is asked, which knows first.

        Raises:
            ProblemError: 401, if it was.

        """
        bounds = self._caller.bounds
        if bounds is None:
            return
        own = await self._acting.find(APIKEYS, bounds.namespace, bounds.name)
        is_living = own is not None and not (own["spec"].get("revoked") or own["spec"].get("suspended"))
        if own is None or not is_living or not has_id(own, bounds.key_id):
            raise ProblemError(401, "revoked_key", "The key that asks was ended meanwhile. Get a new one.")

    async def _own(self, bounds: Bounds) -> Manifest:
        """The ApiKey of the key that asks."""
        own = await self._acting.find(APIKEYS, bounds.namespace, bounds.name)
        if own is None:
            raise nothing()
        return own

    def _held(self, own: Manifest, bounds: Bounds, key_class: KeyClass) -> Share:
        return held(bounds, self._owner(), read_spec(own), read_status(own) or Status(), key_class)

    def _owner(self) -> Owner:
        return Owner(user=self._caller.user, groups=self._caller.groups)


def _refuse(excess: Excess | None) -> None:
    if excess is not None:
        raise ProblemError(403, "forbidden", excess.message)
