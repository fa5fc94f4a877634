"""What a caller by key may hand out: never more than it has itself. Pure.

These are fences besides those of Kubernetes, which judges every request as one of the key's owner. They hold at the
moment of the request: a class that gives more to a role later gives it to whoever has the role.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keywright.console.callers.caller import MANAGE, Bounds
from keywright.domain.apikey import InvalidSpec, KeySpec, Owner, RateLimit, Status
from keywright.domain.keyclass import Delegation, KeyClass
from keywright.domain.scopes import closure, common, is_covered

__all__ = ["Excess", "Share", "asked_by", "exceed", "fit_end", "held", "last_end"]


@dataclass(frozen=True, slots=True)
class Excess:
    """What is too much, for whoever asks."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a key has, or is to have. ``scopes`` are patterns with what they include. ``ends_at`` is the last moment
    that it, and each key that replaces it by itself, can work; ``None``: for ever. ``limits`` are those in force.
    """

    class_name: str
    owner: Owner | None
    scopes: tuple[str, ...]
    ends_at: datetime | None
    limits: tuple[RateLimit, ...] = ()


def held(bounds: Bounds, owner: Owner, spec: KeySpec | InvalidSpec, status: Status, key_class: KeyClass) -> Share:
    """What the key that asks has: what verifiers grant it, and the wildcards of its own that both its spec and policy
    know. A verifier's picture holds the names of a catalogue only.
    """
    own: tuple[str, ...] = ()
    if isinstance(spec, KeySpec) and status.effective is not None:
        own = common(status.effective.scopes, closure(_named(spec.role, spec.scopes, key_class), key_class.scopes))
    return Share(
        class_name=bounds.class_name,
        owner=owner,
        scopes=(*bounds.scopes, *own),
        ends_at=bounds.expires_at,
        limits=status.effective.rate_limits if status.effective is not None else (),
    )


def asked_by(
    role: str | None, scopes: Iterable[str], key_class: KeyClass, *, owner: Owner | None, ends_at: datetime | None
) -> Share:
    """What a key of this role and these scopes would have under the class."""
    wanted = closure(_named(role, scopes, key_class), key_class.scopes)
    return Share(class_name=key_class.name, owner=owner, scopes=wanted, ends_at=ends_at)


def exceed(wanted: Share, own: Share, delegation: Delegation) -> Excess | None:
    """What of ``wanted`` is not ``own`` to give; ``None`` if nothing is."""
    if wanted.class_name != own.class_name:
        return Excess("A key hands out keys of its own class only: leave className out.")
    if not _is_within(wanted.owner, own.owner):
        return Excess("A key hands out keys of its own owner only: leave owner out.")
    if any(not is_covered(each, own.scopes) for each in wanted.scopes):
        return Excess("A key hands out no scope that it does not have itself: ask for less in role and scopes.")
    if delegation is Delegation.REFUSED and is_covered(MANAGE, wanted.scopes):
        return Excess(
            f"A key of this class hands out no key that may manage keys itself ({MANAGE}): ask for less in role and "
            "scopes, or have delegation allowed in the class."
        )
    if own.ends_at is not None and (wanted.ends_at is None or wanted.ends_at > own.ends_at):
        return Excess("A key hands out no key that works longer than it does itself: ask for an earlier end.")
    if not all(any(_is_as_tight(each, limit) for each in wanted.limits) for limit in own.limits):
        return Excess("A key hands out no key that may ask more often than it does itself.")
    return None


def fit_end(
    expires_at: datetime | None, ttl: timedelta | None, key_class: KeyClass, own_end: datetime, now: datetime
) -> datetime:
    """The end to ask for where there has to be one: as asked, else the class's default, but not after the caller's own.
    A ttl becomes an instant, because it counts anew from each rotation.
    """
    if expires_at is not None:
        return expires_at
    if ttl is not None:
        return (now + ttl).replace(microsecond=0)
    default = key_class.default_lifetime
    return own_end if default is None else min(own_end, (now + default).replace(microsecond=0))


def last_end(spec: KeySpec, key_class: KeyClass, now: datetime) -> datetime | None:
    """When the last key of an ApiKey that is rotated now would end; ``None``: never, or it renews itself."""
    if spec.expires_at is not None:
        return spec.expires_at
    if spec.rotation is not None:
        return None
    lives = spec.ttl if spec.ttl is not None else (key_class.default_lifetime or key_class.max_lifetime)
    return now + lives if lives is not None else None


def _named(role: str | None, scopes: Iterable[str], key_class: KeyClass) -> tuple[str, ...]:
    return (*key_class.roles.get(role or "", ()), *scopes)


def _is_as_tight(wanted: RateLimit, own: RateLimit) -> bool:
    """Whether one limit is of the same name and lets no more pass. A window that is not stated is the class's."""
    is_as_long = wanted.window == own.window or (wanted.window or timedelta()) >= (own.window or timedelta.max)
    return wanted.name == own.name and wanted.requests <= own.requests and is_as_long


def _is_within(wanted: Owner | None, own: Owner | None) -> bool:
    if wanted is None or own is None:
        return False
    return wanted.user == own.user and set(wanted.groups) <= set(own.groups)
