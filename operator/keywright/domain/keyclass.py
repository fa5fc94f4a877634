"""The issuing policy of a platform team, and how an ApiKey comes by its class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from keywright.domain.apikey import Authorization, RateLimit
from keywright.domain.hashing import Hashing
from keywright.domain.selectors import Selector

__all__ = [
    "BUILT_IN",
    "BUILT_IN_NAME",
    "DEFAULT_ANNOTATION",
    "Authorization",
    "Delegation",
    "Grant",
    "KeyClass",
    "RateLimitPer",
    "Requirement",
    "resolve",
]

BUILT_IN_NAME = "standard"
DEFAULT_ANNOTATION = "keywright.dev/is-default-class"


class Requirement(StrEnum):
    """What a class may demand that each of its keys states."""

    DISPLAY_NAME = "displayName"
    OWNER = "owner"
    ROLE = "role"
    EXPIRES_AT = "expiresAt"
    REVOCATION_REASON = "revocationReason"


class RateLimitPer(StrEnum):
    """Whose budget a request is charged to."""

    KEY = "Key"
    OWNER = "Owner"


class Delegation(StrEnum):
    """Whether a key that manages keys may hand out others that manage keys as well."""

    REFUSED = "Refused"
    ALLOWED = "Allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the namespaces that ``namespaces`` selects may ask for. ``owners`` are patterns with ``*`` of the owner's
    user name, ``groups`` of his groups.
    """

    namespaces: Selector
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyClass:
    """An ApiKeyClass with defaults filled in. Lifetimes are counted from issue."""

    name: str
    prefix: str = "kw_live"
    hashing: Hashing = field(default_factory=Hashing)
    default_lifetime: timedelta | None = None
    max_lifetime: timedelta | None = None
    rotation_interval: timedelta = timedelta(days=90)
    grace_period: timedelta = timedelta(hours=24)
    warn_before: timedelta = timedelta(days=14)
    requires: frozenset[Requirement] = frozenset()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"admin": ("*",), "readonly": ("*:read",)})
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The catalogue: each scope with what it includes. Empty: any well-formed name."""
    rate_limits: tuple[RateLimit, ...] = ()
    rate_limit_per: RateLimitPer = RateLimitPer.KEY
    authorization: Authorization = Authorization.SCOPES
    delegation: Delegation = Delegation.REFUSED
    allowed_namespaces: Selector | None = None
    grants: tuple[Grant, ...] | None = None
    secret_metadata: tuple[str, ...] = ("secret.reloader.stakater.com/*", "reloader.stakater.com/*")
    is_default: bool = False
    created_at: datetime | None = None


BUILT_IN = KeyClass(name=BUILT_IN_NAME)
"""Applies while no object of that name exists, so that the shortest ApiKey works on a fresh cluster."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def is_default(self) -> bool: ...
    @property
    def created_at(self) -> datetime | None: ...


C = TypeVar("C", bound=_Named)


def resolve(wanted: str | None, existing: Iterable[C], built_in: C) -> C | None:
    """The class called ``wanted``, or the default one; ``None`` when a named class does not exist.

    The default is the newest class marked so, else ``standard``, which is built in while no object has
    that name. Names break a tie of creation times, so that every process resolves alike.
    """
    by_name = {built_in.name: built_in} | {each.name: each for each in existing}
    if wanted is not None:
        return by_name.get(wanted)
    marked = [each for each in by_name.values() if each.is_default and each.created_at is not None]
    if marked:
        return max(marked, key=lambda each: (each.created_at, each.name))
    return by_name[built_in.name]
