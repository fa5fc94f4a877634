"""Which limits a request is charged to, and whose budget each of them is (DESIGN section 7).

A limit of the class always runs as the class has it, on the budget of the key, or of its owner where the class
says so. A key that is limited tighter has that tighter limit as well, on a budget of its own. So whoever may write
a spec cannot make a budget of the class start anew.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from keywright.domain.apikey import RateLimit
from keywright.domain.keyclass import RateLimitPer
from keywright.domain.times import parse_duration

__all__ = [
    "NO_LIMITS",
    "Charge",
    "Charged",
    "ClassLimits",
    "KeyLimits",
    "Quota",
    "quota_of",
    "read_class_limits",
    "read_key_limits",
]

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?", re.ASCII)
_MOST_REQUESTS = 1_000_000_000
_MOST_LIMITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLimits:
    """What an ApiKeyClass says of limits. Each of them states its window."""

    limits: tuple[RateLimit, ...] = ()
    per: RateLimitPer = RateLimitPer.KEY


NO_LIMITS = ClassLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What an ApiKey says of limits: what policy has accepted, what its newest spec asks for, and for whom it acts."""

    accepted: tuple[RateLimit, ...] = ()
    asked: tuple[RateLimit, ...] = ()
    owner: str | None = None


class Charge(NamedTuple):
    """One limit that a request is charged to. ``key`` names the budget and the limit; it holds no name of anybody."""

    key: bytes
    requests: int
    seconds: int


@dataclass(slots=True, eq=False)
class Charged:
    """What came of charging. ``retry_after`` is 0 for a request that passes, else whole seconds until one would.
    ``figures`` holds, for each limit that is shown, what is left of it and in how many seconds more will be.
    """

    retry_after: int
    figures: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quota:
    """All that one request of one key is charged to. The first ``shown`` of ``charges`` stand in header fields.

    ``source`` is what it was made from: for as long as the class's limits are that very object it is up to date.
    """

    source: ClassLimits
    charges: tuple[Charge, ...]
    shown: int
    _form: bytes = field(repr=False)

    def fields(self, charged: Charged) -> bytes:
        """The header lines (draft-ietf-httpapi-ratelimit-headers-11), with ``Retry-After`` for a refused request."""
        lines = self._form % charged.figures
        return b"Retry-After: %d\r\n%b" % (charged.retry_after, lines) if charged.retry_after else lines


def quota_of(class_name: str, source: ClassLimits, path: bytes, key: KeyLimits | None) -> Quota:
    """What the requests of the key ``path`` (``namespace/name``) are charged to. ``source`` holds a limit at least.

    Budgets go by names, so they survive rotation and an ApiKey that is made anew. Without an owner the budget of a
    class that limits owners is the key's.
    """
    key = key or KeyLimits()
    own = _budget(b"key", class_name, path)
    is_shared = source.per is RateLimitPer.OWNER and key.owner is not None
    common = _budget(b"owner", class_name, (key.owner or "").encode()) if is_shared else own
    shown: list[tuple[str, Charge]] = []
    hidden: list[Charge] = []
    for limit in source.limits:
        charge = _charge(common, limit.name, limit.requests, limit.window)
        tighter = _charge(own, limit.name, *_tightened(limit, (*key.accepted, *key.asked)))
        if tighter[1:] == charge[1:]:
            shown.append((limit.name, charge))
            continue
        shown.append((limit.name, tighter))
        if is_shared:
            shown.append((f"{limit.name}-owner", charge))
        elif charge.key != tighter.key:
            hidden.append(charge)
    policy = ", ".join(f'"{name}";q={each.requests};w={each.seconds}' for name, each in shown)
    state = ", ".join(f'"{name}";r=%d;t=%d' for name, _ in shown)
    return Quota(
        source=source,
        charges=(*(each for _, each in shown), *hidden),
        shown=len(shown),
        _form=f"RateLimit-Policy: {policy}\r\nRateLimit: {state}\r\n".encode("ascii"),
    )


def read_class_limits(spec: Mapping[str, Any]) -> ClassLimits:
    """Read ``rateLimits`` and ``rateLimitPer`` of an ApiKeyClass.

    Raises:
        ValueError: if they are not as the schema has them.

    """
    limits = _read(spec.get("rateLimits"))
    if any(each.window is None for each in limits):
        raise ValueError("a rate limit of a class states its window")
    return ClassLimits(limits=limits, per=RateLimitPer(spec.get("rateLimitPer", RateLimitPer.KEY)))


def read_key_limits(spec: Mapping[str, Any], status: Mapping[str, Any]) -> KeyLimits | None:
    """Read what an ApiKey says of limits, and its owner; ``None`` for nothing.

    Raises:
        ValueError: if it is not as the schema has it.

    """
    effective = status.get("effective") or {}
    owner = (effective.get("owner") or {}).get("user")
    if owner is not None and not (isinstance(owner, str) and owner):
        raise ValueError("an owner has a name")
    accepted, asked = _read(effective.get("rateLimits")), _read(spec.get("rateLimits"))
    if owner is None and not accepted and not asked:
        return None
    return KeyLimits(accepted=accepted, asked=asked, owner=sys.intern(owner) if owner is not None else None)


def _read(value: Any) -> tuple[RateLimit, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MOST_LIMITS:
        raise ValueError("rate limits are a list")
    return tuple(_read_one(each) for each in value)


def _read_one(value: Any) -> RateLimit:
    fields = value if isinstance(value, dict) else {}
    name, requests, window = fields.get("name"), fields.get("requests"), fields.get("window")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("a rate limit has a name")
    if type(requests) is not int or not 1 <= requests <= _MOST_REQUESTS:
        raise ValueError("a rate limit says how many requests")
    # What is no text has no duration in it either.
    return RateLimit(name=name, requests=requests, window=parse_duration(str(window)) if window is not None else None)


def _tightened(limit: RateLimit, of_key: Iterable[RateLimit]) -> tuple[int, timedelta | None]:
    """The least requests in the longest window that anybody has said under this name."""
    same = [limit, *(each for each in of_key if each.name == limit.name)]
    windows = [each.window for each in same if each.window is not None]
    return min(each.requests for each in same), max(windows, default=None)


def _charge(budget: str, name: str, requests: int, window: timedelta | None) -> Charge:
    # A window of no length limits nothing and cannot be written down as a policy: a second is the least there is.
    seconds = max(1, int(window.total_seconds())) if window is not None else 1
    return Charge(f"keywright:{budget}:{name}:{seconds}".encode("ascii"), requests, seconds)


def _budget(kind: bytes, class_name: str, subject: bytes) -> str:
    return blake2b(b"\0".join((kind, class_name.encode(), subject)), digest_size=16).hexdigest()
