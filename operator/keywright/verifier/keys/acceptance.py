"""What one verifier accepts at one moment: which classes, and by which carriers each of them.

Built anew whenever a class changes, and swapped in as a whole, so that a request sees one consistent state.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from keywright.domain.keyclass import BUILT_IN, Authorization, resolve
from keywright.domain.scopes import Catalogue
from keywright.verifier.limits.limits import NO_LIMITS, ClassLimits

__all__ = ["BUILT_IN_CLASS", "DEFAULT_HEADERS", "DEFAULT_SCHEMES", "Acceptance", "AcceptedClass", "Carrier", "accept"]

DEFAULT_SCHEMES = ("Bearer", "ApiKey")
DEFAULT_HEADERS = ("X-API-Key",)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedClass:
    """An ApiKeyClass as far as verifying goes. ``warn_before`` is in seconds, ``scopes`` is the catalogue."""

    name: str
    prefix: str
    schemes: tuple[str, ...] = DEFAULT_SCHEMES
    headers: tuple[str, ...] = DEFAULT_HEADERS
    warn_before: float
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: BUILT_IN.roles)
    scopes: Catalogue = field(default_factory=dict)
    limits: ClassLimits = NO_LIMITS
    authorization: Authorization = Authorization.SCOPES
    is_default: bool = False
    created_at: datetime | None = None


BUILT_IN_CLASS = AcceptedClass(
    name=BUILT_IN.name, prefix=BUILT_IN.prefix, warn_before=BUILT_IN.warn_before.total_seconds()
)

Carrier = Mapping[str, AcceptedClass]
"""The classes that accept keys from one scheme or header, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """``schemes`` and ``headers`` are keyed in lower case. ``challenges`` names the schemes to challenge with.
    ``classes`` holds all that are accepted, ``limits`` what those that have rate limits say of them, both by name.
    """

    schemes: Mapping[bytes, Carrier]
    headers: Mapping[bytes, Carrier]
    challenges: tuple[str, ...]
    classes: Carrier
    limits: Mapping[str, ClassLimits]


def accept(wanted: Collection[str], existing: Iterable[AcceptedClass], *, has_built_in: bool = True) -> Acceptance:
    """Resolve the classes a verifier was told to accept (none: the default class) against those that exist.

    ``has_built_in``: the built-in class stands in for an absent object only, not for one that cannot be read.
    """
    existing = tuple(existing)
    found = [resolve(name, existing, BUILT_IN_CLASS) for name in (wanted or (None,))]
    classes = {each.name: each for each in found if each is not None and (has_built_in or each is not BUILT_IN_CLASS)}
    schemes: dict[bytes, dict[str, AcceptedClass]] = {}
    headers: dict[bytes, dict[str, AcceptedClass]] = {}
    challenges: dict[bytes, str] = {}
    for each in classes.values():
        for scheme in each.schemes:
            schemes.setdefault(scheme.lower().encode("ascii"), {})[each.name] = each
            challenges.setdefault(scheme.lower().encode("ascii"), scheme)
        for header in each.headers:
            headers.setdefault(header.lower().encode("ascii"), {})[each.name] = each
    return Acceptance(
        schemes=schemes,
        headers=headers,
        # A 401 always has a challenge (RFC 9110 section 15.5.2), also when no class names a scheme.
        challenges=tuple(challenges.values()) or DEFAULT_SCHEMES[:1],
        classes=classes,
        limits={name: each.limits for name, each in classes.items() if each.limits.limits},
    )
