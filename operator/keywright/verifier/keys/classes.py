"""The ApiKeyClasses that exist, as the watch keeps them, and what follows from them for this verifier.

A sink of the reflector. Manifests are read as defensively as those of ApiKeys: a class that cannot be read does
not exist for its keys, exactly as the operator sees it.
"""

import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from keywright.domain.keyclass import BUILT_IN, DEFAULT_ANNOTATION, Authorization
from keywright.domain.plainkey import PREFIX_PATTERN
from keywright.domain.times import parse_duration, parse_instant
from keywright.verifier.keys.acceptance import (
    DEFAULT_HEADERS,
    DEFAULT_SCHEMES,
    Acceptance,
    AcceptedClass,
    accept,
)
from keywright.verifier.keys.records import read_uid
from keywright.verifier.keys.rights import read_role, read_scopes
from keywright.verifier.limits.limits import read_class_limits

__all__ = ["Classes", "read_class"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
_PREFIX = re.compile(PREFIX_PATTERN, re.ASCII)
# They mean something else to HTTP; the CRD refuses them too.
_TAKEN = frozenset(
    [
        "authorization",
        "cookie",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
        "te",
        "trailer",
    ]
)


class Classes:
    """Holds the classes by UID and publishes a new :class:`Acceptance` after each change."""

    def __init__(self, wanted: Collection[str], publish: Callable[[Acceptance], None]) -> None:
        self._wanted = tuple(wanted)
        self._publish = publish
        self._classes: dict[str, AcceptedClass] = {}
        self._unreadable: set[str] = set()
        self._last: Acceptance | None = None
        self._conclude()

    def put(self, manifest: Mapping[str, Any]) -> None:
        """Take the newest state of a class."""
        uid = read_uid(manifest)
        if uid is None:
            return
        found = read_class(manifest)
        self._classes.pop(uid, None)
        self._unreadable.discard(uid)
        if found is not None:
            self._classes[uid] = found
        elif _replaces_built_in(manifest):
            self._unreadable.add(uid)
        self._conclude()

    def remove(self, uid: str) -> None:
        """Forget a class; its keys are refused from now on."""
        self._classes.pop(uid, None)
        self._unreadable.discard(uid)
        self._conclude()

    def uids(self) -> Collection[str]:
        """The UIDs of all classes that are held."""
        return self._classes.keys() | self._unreadable

    def missing(self) -> tuple[str, ...]:
        """The classes that were asked for and do not exist."""
        names = self._last.classes if self._last is not None else ()
        return tuple(name for name in self._wanted if name not in names)

    def _conclude(self) -> None:
        acceptance = accept(self._wanted, self._classes.values(), has_built_in=not self._unreadable)
        if acceptance == self._last:
            return
        gone = set(self._last.classes if self._last is not None else ()) - set(acceptance.classes)
        self._last = acceptance
        if gone:
            remedy = "" if self._wanted else "; accepted is the default class: name others with --class"
            logger.warning("keys of %s are refused from now on%s", ", ".join(sorted(gone)), remedy)
        nothing = (
            f"no class yet: waiting for {', '.join(self._wanted)}" if self._wanted else "no class: there is no default"
        )
        logger.info("accepting keys of %s", ", ".join(acceptance.classes) or nothing)
        self._publish(acceptance)


def read_class(manifest: Mapping[str, Any]) -> AcceptedClass | None:
    """Read an ApiKeyClass; ``None`` for one that is being deleted or cannot be read."""
    try:
        metadata, spec = manifest["metadata"], manifest.get("spec") or {}
        if metadata.get("deletionTimestamp") is not None:
            return None
        credentials = spec.get("credentials") or {}
        prefix = spec.get("prefix", BUILT_IN.prefix)
        warn_before = spec.get("warnBefore")
        created = metadata.get("creationTimestamp")
        name = metadata["name"]
        schemes = _tokens(credentials.get("schemes"), DEFAULT_SCHEMES)
        headers = _tokens(credentials.get("headers"), DEFAULT_HEADERS)
        if not _NAME.fullmatch(name) or not _PREFIX.fullmatch(prefix) or not 2 <= len(prefix) <= 20:
            return None
        if schemes is None or headers is None or any(each.lower() in _TAKEN for each in headers):
            return None
        return AcceptedClass(
            name=name,
            prefix=prefix,
            schemes=schemes,
            headers=headers,
            warn_before=(parse_duration(warn_before) if warn_before else BUILT_IN.warn_before).total_seconds(),
            roles=_roles(spec.get("roles")),
            scopes={_scope(each["name"]): read_scopes(each.get("includes")) for each in _list(spec.get("scopes"))},
            limits=read_class_limits(spec),
            authorization=Authorization(spec.get("authorization", Authorization.SCOPES)),
            is_default=(metadata.get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true",
            created_at=parse_instant(created) if created else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _replaces_built_in(manifest: Mapping[str, Any]) -> bool:
    """Whether an object that cannot be read has the name of the built-in class, and is not on its way out."""
    metadata = manifest["metadata"]
    return metadata.get("name") == BUILT_IN.name and metadata.get("deletionTimestamp") is None


def _tokens(value: Any, default: tuple[str, ...]) -> tuple[str, ...] | None:
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(each, str) and _TOKEN.fullmatch(each) for each in value):
        return None
    return tuple(value)


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise TypeError
    return value or []


def _roles(value: Any) -> Mapping[str, tuple[str, ...]]:
    """Absent: the built-in ones. Empty: none."""
    if value is None:
        return BUILT_IN.roles
    roles = {read_role(each["name"]): read_scopes(each["scopes"]) for each in _list(value)}
    return {name: scopes for name, scopes in roles.items() if name is not None}


def _scope(value: Any) -> str:
    (name,) = read_scopes([value])
    if "*" in name:
        raise ValueError("a wildcard is not the name of a scope")
    return name
