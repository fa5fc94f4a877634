"""What a key may do: what policy has accepted, held against the newest spec and the newest class.

Many keys may do the same, so what their ApiKeys say about it is one shared object (:class:`Rights`), and what
follows from it under the class of the moment is worked out when it is first asked for. So a class that changes
acts on the next request of each key, and costs nothing before that.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from keywright.domain.keyclass import Authorization
from keywright.domain.scopes import closure, covers, is_covered
from keywright.verifier.keys.acceptance import AcceptedClass

__all__ = ["ROLE", "SCOPE", "Permits", "Rights", "RightsPool", "read_owner", "read_role", "read_scopes"]

NOTHING = "-"
"""What an identity header says when there is nothing to say."""

# Answers of one key's rights that are kept. Rules ask for a few.
_KEPT = 64

ROLE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
SCOPE = re.compile(r"(?=.{1,63}\Z)[a-z][-_.a-z0-9]*(?::[a-z][-_.a-z0-9]*)?", re.ASCII)
"""One scope; a pattern may have a star on either side."""
_PATTERN = re.compile(r"(?=.{1,63}\Z)(?:\*|[a-z][-_.a-z0-9]*)(?::(?:\*|[a-z][-_.a-z0-9]*))?", re.ASCII)
# What a header carries as it is: printable ASCII without surrounding spaces.
_USER = re.compile(r"(?=.{1,253}\Z)[!-~](?:[ -~]*[!-~])?", re.ASCII)
# Subjects that stand for keys without an owner. Whoever were called so would pass for one.
_OWN_SUBJECT = "apikey:"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Permits:
    """What a key may do at this moment. ``lines`` is the end of an answer's head: class, role and scopes.

    ``needs_owner``: not the scopes decide, but what its owner may do. ``warn_before`` is the class's, in seconds.
    """

    role: str | None
    scopes: tuple[str, ...]
    needs_owner: bool = False
    warn_before: float = 0.0
    lines: bytes = b""
    _asked: dict[str, bool] = field(default_factory=dict)

    def grants(self, scope: str) -> bool:
        """Whether it has a scope that a request needs."""
        known = self._asked.get(scope)
        if known is None:
            known = is_covered(scope, self.scopes)
            # Where a client gets to write the query, it may ask for any number.
            if len(self._asked) < _KEPT:
                self._asked[scope] = known
        return known


@dataclass(slots=True, eq=False, weakref_slot=True)
class Rights:
    """What ApiKeys of one class say that they may do: as policy accepted it, and as the newest spec asks for it.

    ``needs_owner``: policy accepted them for no more than their owners may do.
    """

    accepted_role: str | None
    accepted_scopes: tuple[str, ...]
    asked_role: str | None
    asked_scopes: tuple[str, ...]
    needs_owner: bool = False
    _under: AcceptedClass | None = None
    _permits: Permits | None = None

    def under(self, key_class: AcceptedClass) -> Permits:
        """What is granted under the newest picture of the class."""
        if self._under is key_class and self._permits is not None:
            return self._permits
        self._under, self._permits = key_class, self._resolve(key_class)
        return self._permits

    def _resolve(self, key_class: AcceptedClass) -> Permits:
        # What only one side says was taken back, or is not accepted yet; what the class does not know grants nothing.
        asked = closure((*key_class.roles.get(self.asked_role or "", ()), *self.asked_scopes), key_class.scopes)
        if key_class.scopes:
            names = (each for each in key_class.scopes if is_covered(each, asked))
            granted = sorted(each for each in names if is_covered(each, self.accepted_scopes))
        else:
            granted = _common(self.accepted_scopes, asked)
        has_role = self.asked_role in key_class.roles and self.asked_role == self.accepted_role
        role = self.asked_role if has_role else None
        said = {"Class": key_class.name, "Role": role or NOTHING, "Scopes": " ".join(granted) or NOTHING}
        return Permits(
            role=role,
            scopes=tuple(granted),
            # To ask the owner narrows a key and acts at once; not to ask him any more waits until it is accepted.
            needs_owner=self.needs_owner or key_class.authorization is Authorization.OWNER,
            warn_before=key_class.warn_before,
            lines="".join(f"\r\nX-Auth-{name}: {value}" for name, value in said.items()).encode("ascii") + b"\r\n\r\n",
        )


class RightsPool:
    """Gives equal rights out as one object, for as long as any key has them."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[Any, ...], Rights] = WeakValueDictionary()

    def read(self, class_name: str, spec: Mapping[str, Any], effective: Mapping[str, Any]) -> Rights:
        """The rights of an ApiKey. Raises ValueError for what cannot be read."""
        said = (
            class_name,
            read_role(effective.get("role")),
            read_scopes(effective.get("scopes")),
            read_role(spec.get("role")),
            read_scopes(spec.get("scopes")),
            Authorization(effective.get("authorization", Authorization.SCOPES)) is Authorization.OWNER,
        )
        found = self._known.get(said)
        if found is None:
            found = self._known[said] = Rights(*said[1:])
        return found


def read_role(value: Any) -> str | None:
    """The name of a role, or ``None`` for none. Raises ValueError for what is no name."""
    if value is None:
        return None
    if not isinstance(value, str) or not ROLE.fullmatch(value):
        raise ValueError("no role")
    return value


def read_scopes(value: Any) -> tuple[str, ...]:
    """Scope patterns in order. Raises ValueError for what is no list of them."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) and _PATTERN.fullmatch(each) for each in value):
        raise ValueError("no scopes")
    return tuple(sorted(set(value)))


def read_owner(value: Any) -> tuple[str, frozenset[str]] | None:
    """User and groups of an owner, or ``None`` for none. Raises ValueError for what is none."""
    if value is None:
        return None
    user, groups = value["user"], value.get("groups")
    groups = [] if groups is None else groups
    if not isinstance(groups, list) or not all(isinstance(each, str) for each in (user, *groups)):
        raise ValueError("no owner")
    if not all(_USER.fullmatch(each) for each in (user, *groups)):
        raise ValueError("an owner that no header can carry")
    if user == NOTHING or user.startswith(_OWN_SUBJECT):
        raise ValueError("an owner that would pass for somebody else")
    return user, frozenset(groups)


def _common(some: Iterable[str], others: Iterable[str]) -> list[str]:
    """The widest patterns that both sides cover, sorted."""
    others = tuple(others)
    found = {both for one in some for other in others if (both := _meet(one, other))}
    return sorted(each for each in found if not is_covered(each, found - {each}))


def _meet(one: str, other: str) -> str | None:
    if covers(one, other):
        return other
    if covers(other, one):
        return one
    # What is left are agents:* and *:read, which have agents:read in common, and what has nothing.
    (resource, _, action), (other_resource, _, other_action) = one.partition(":"), other.partition(":")
    if (action, other_resource) == ("*", "*"):
        return f"{resource}:{other_action}"
    return f"{other_resource}:{action}" if (resource, other_action) == ("*", "*") else None
