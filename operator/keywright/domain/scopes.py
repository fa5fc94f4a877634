"""What a scope covers: a word or ``resource:action``, where either side may be ``*``.

``*`` alone covers everything, ``*:read`` and ``agents:*`` what has two sides and matches. A class's catalogue says
which scopes exist and what each includes; without one every well-formed name exists.
"""

from collections.abc import Collection, Iterable, Mapping

__all__ = ["Catalogue", "closure", "covers", "is_covered", "is_known"]

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
    return tuple(sorted(each for each in found if not is_covered(each, found - {each})))
