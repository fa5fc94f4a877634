"""What a scope covers: a word or ``resource:action``, where either side may be ``*``.

``*`` alone covers everything, ``*:read`` and ``agents:*`` what has two sides and matches. A class's catalogue says
which scopes exist and what each includes; without one every well-formed name exists.
"""

from collections.abc import Collection, Iterable, Mapping

__all__ = ["Catalogue", "closure", "common", "covers", "is_covered", "is_known"]

LONGEST = 63
MOST = 256
"""The bounds of the schema. What lies beyond them names no scope, or is one that nobody can have been granted."""

Catalogue = Mapping[str, Collection[str]]
"""Each scope that exists, with the patterns of those it includes."""


def covers(pattern: str, wanted: str) -> bool:
    """Whether ``pattern`` grants all that ``wanted`` does, which may be a pattern itself."""
    if pattern in ("*", wanted):
        return True
    resource, colon, action = pattern.partition(":")
    wanted_resource, wanted_colon, wanted_action = wanted.partition(":")
    return bool(colon and wanted_colon) and resource in ("*", wanted_resource) and action in ("*", wanted_action)


def is_covered(wanted: str, patterns: Iterable[str]) -> bool:
    """Whether any of the patterns covers ``wanted``."""
    return any(covers(each, wanted) for each in patterns)


def is_known(scope: str, catalogue: Catalogue) -> bool:
    """Whether the class knows a scope, or anything that a wildcard stands for."""
    return not catalogue or any(covers(scope, name) for name in catalogue)


def closure(scopes: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    """The scopes with all that they include, sorted, without those that another one covers."""
    found: set[str] = set()
    ahead = set(scopes)
    while ahead:
        found |= ahead
        included = {
            each
            for name, includes in catalogue.items()
            if any(covers(pattern, name) for pattern in ahead)
            for each in includes
        }
        ahead = included - found
    return _without_covered(found)


def common(first: Iterable[str], second: Collection[str]) -> tuple[str, ...]:
    """What both cover, at most :data:`MOST`, sorted, without those that another one covers."""
    shared = {_meet(one, other) for one in first for other in second}
    return _without_covered({each for each in shared if each is not None and len(each) <= LONGEST})[:MOST]


def _meet(first: str, second: str) -> str | None:
    """The pattern of what two patterns both cover; ``None`` if there is nothing."""
    if covers(first, second):
        return second
    if covers(second, first):
        return first
    for one, other in ((first, second), (second, first)):
        if one.endswith(":*") and other.startswith("*:"):
            return one[:-1] + other[2:]
    return None


def _without_covered(patterns: set[str]) -> tuple[str, ...]:
    return tuple(sorted(each for each in patterns if not is_covered(each, patterns - {each})))
