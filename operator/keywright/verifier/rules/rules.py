"""What each request needs, by path, host and method: the rules file, compiled for look-up (DESIGN section 7).

The first rule whose path and host match decides, whatever stands after it. A look-up costs a few dictionary accesses,
however many rules there are.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from keywright.verifier import verdicts
from keywright.verifier.owners.rights import Authorize
from keywright.verifier.rules.needs import NOBODY, Need
from keywright.verifier.rules.originals import Original
from keywright.verifier.rules.targets import read_host, read_path
from keywright.verifier.verdicts import Refusal

__all__ = ["Decision", "Rule", "Rules"]

_BELOW = "/*"
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
# Clients ask for the same few things over and over. What is kept of it is bounded, for they may also ask for others.
_KEPT = 4096
_SHORT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``hosts`` and ``methods`` of ``None`` mean every one; ``number`` counts from 0 as in the file."""

    number: int
    path: str
    hosts: frozenset[str] | None = None
    methods: frozenset[bytes] | None = None
    need: Need
    authorize: Authorize | None = None

    def need_of(self, method: bytes, path: str) -> Need:
        """What a request that it matches needs."""
        if self.methods is not None and method not in self.methods:
            # Never a fall-through to a later rule: the path has decided.
            return NOBODY
        if self.authorize is None:
            return self.need
        right = self.authorize.resolve(method, path)
        return replace(self.need, right=right) if right is not None else NOBODY

    def covers(self, other: "Rule") -> bool:
        """Whether nothing that ``other`` matches ever reaches it behind this one."""
        if self.hosts is not None and (other.hosts is None or not other.hosts <= self.hosts):
            return False
        top = self.path.removesuffix(_BELOW)
        return self.path == other.path or (self.path != top and (other.path == top or other.path.startswith(f"{top}/")))


Decision = tuple[Rule | None, Need]
"""The rule that decided (``None``: the default), and what it wants."""


class _Table:
    """Rules by path; each list in the order of the file."""

    def __init__(self, rules: Iterable[tuple[str, Rule]]) -> None:
        self._exact: dict[str, list[Rule]] = {}
        self._below: dict[str, list[Rule]] = {}
        for path, rule in rules:
            table, top = (self._below, path.removesuffix(_BELOW)) if path.endswith(_BELOW) else (self._exact, path)
            table.setdefault(top, []).append(rule)
        # No deeper than the deepest rule: a client may send thousands of slashes.
        self._depth = max((top.count("/") for top in self._below), default=0)

    def first(self, path: str, host: str | None) -> Rule | None:
        below = self._below
        found = _earlier(None, self._exact.get(path), host)
        found = _earlier(found, below.get(path), host)
        found = _earlier(found, below.get(""), host)
        end = 0
        for _ in range(self._depth):
            end = path.find("/", end + 1)
            if end < 0:
                break
            found = _earlier(found, below.get(path[:end]), host)
        return found


def _earlier(found: Rule | None, candidates: Sequence[Rule] | None, host: str | None) -> Rule | None:
    for rule in candidates or ():
        if found is not None and found.number < rule.number:
            break
        if rule.hosts is None or host in rule.hosts:
            return rule
    return found


class Rules:
    """All rules of a file, and what applies where none of them does."""

    def __init__(self, rules: Collection[Rule], default: Need) -> None:
        self.rules = tuple(rules)
        self.names_hosts = any(each.hosts is not None for each in rules)
        self._default = default
        self._table = _Table((each.path, each) for each in rules)
        self._folded = _Table((each.path.casefold(), each) for each in rules)
        self._has_capitals = any(each.path != each.path.casefold() for each in rules)
        self._recall = lru_cache(_KEPT)(self._decide)

    def decide(self, original: Original) -> Decision | Refusal:
        """What the original request needs, or why that cannot be told."""
        method, target, host = original
        path, host = target.partition(b"?")[0], host if self.names_hosts else b""
        if len(method) + len(path) + len(host) > _SHORT:
            return self._decide(method, path, host)
        return self._recall(method, path, host)

    def _decide(self, method: bytes, raw: bytes, host: bytes) -> Decision | Refusal:
        if not _METHOD.fullmatch(method) or method == b"CONNECT":
            return verdicts.NO_ORIGINAL
        path, name = read_path(raw), read_host(host) if self.names_hosts else None
        if path is None or (self.names_hosts and name is None):
            return verdicts.AMBIGUOUS
        return self.find(method, path, name)

    def find(self, method: bytes, path: str, host: str | None) -> Decision:
        """What a request needs. ``path`` is decoded, ``host`` in lower case; both have been found unambiguous."""
        rule = self._table.first(path, host)
        folded = path.casefold()
        if self._has_capitals or folded != path:
            # For a service that ignores case this is the path of an earlier rule, so it must not pass by a later one.
            other = self._folded.first(folded, host)
            if other is not None and (rule is None or other.number < rule.number):
                return other, NOBODY
        if rule is None:
            return None, self._default
        return rule, rule.need_of(method, path)

    def unreachable(self) -> Mapping[int, int]:
        """The rules that never decide anything, each with the one before it that always does."""
        return {
            rule.number: before.number
            for rule in self.rules
            if (before := next((each for each in self.rules[: rule.number] if each.covers(rule)), None)) is not None
        }
