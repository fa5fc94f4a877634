"""What the verifier keeps of an ApiKey: one slim entry for each key record, read from the raw manifest.

A manifest is read defensively and without a model library: only who may write ``apikeys/status`` can make it
odd, so whatever is odd refuses that record (or, outside of the records, the whole ApiKey) and raises nothing.
A hundred thousand entries are kept in memory, which is why names are interned and the manifest is let go.
"""

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from keywright.domain import hashing
from keywright.domain.apikey import Phase, earliest
from keywright.domain.times import parse_duration, parse_instant
from keywright.verifier import verdicts
from keywright.verifier.keys.rights import Rights, RightsPool, read_owner
from keywright.verifier.limits.limits import KeyLimits, Quota, read_key_limits
from keywright.verifier.verdicts import Refusal

__all__ = ["Entry", "KeyState", "read_api_key", "read_uid"]

# What the API server allows in names, and what may therefore stand in an identity header unescaped.
_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?", re.ASCII)
_KEY_ID = re.compile(r"[0-9A-Za-z]{12}", re.ASCII)
_LONGEST_AGENT = 128
_FINGERPRINT = re.compile(r"[0-9a-f]{16}", re.ASCII)


class KeyState(StrEnum):
    """What became of a key record."""

    LIVE = "live"
    RETIRING = "retiring"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """One key record, ready to be judged. Instants are seconds since the epoch.

    ``barred`` is the refusal that a proven key gets for as long as its ApiKey is revoked, suspended or not allowed.
    ``owner`` is the user on whose behalf it acts, printable, with ``groups`` in order; ``rights`` are shared by all
    keys that may do the same. ``agent`` is its display name, kept for audit lines only.
    ``proof`` is the keyed digest of the plain key that was proven against ``hash``; it lives and dies with
    the triple of uid, id and hash (invariant 12). ``quota`` is what a request is charged to, kept from the last
    request for as long as the class's limits are the same.
    """

    key_id: bytes
    uid: str
    namespace: str
    path: bytes
    class_name: str
    created_at: float
    hash: str
    fingerprint: bytes | None
    issued_at: int
    ends_at: float
    is_retiring: bool
    barred: Refusal | None
    owner: str | None
    groups: tuple[str, ...]
    rights: Rights
    limits: KeyLimits | None
    agent: str | None = None
    proof: bytes | None = None
    quota: Quota | None = None

    def __repr__(self) -> str:
        return f"Entry({self.path.decode()}, {self.key_id.decode()})"

    def is_same_key_as(self, other: "Entry") -> bool:
        """Whether a proof of one is a proof of the other."""
        return self.uid == other.uid and self.key_id == other.key_id and self.hash == other.hash

    def state(self, now: float) -> KeyState:
        """In the order in which a verdict looks at it."""
        if self.barred is verdicts.REVOKED:
            return KeyState.REVOKED
        if self.ends_at <= now:
            return KeyState.EXPIRED
        if self.barred is not None:
            return KeyState.SUSPENDED
        return KeyState.RETIRING if self.is_retiring else KeyState.LIVE

    def precedes(self, other: "Entry") -> bool:
        """Whether this one keeps a key id that both claim: the older does (invariant 11)."""
        return (self.created_at, self.uid) < (other.created_at, other.uid)


class _OddError(Exception):
    """Something is not as the schema has it. Never leaves this module."""


def read_uid(manifest: Mapping[str, Any]) -> str | None:
    """The UID of an object, or ``None`` if it has none."""
    try:
        return _text(manifest["metadata"]["uid"])
    except (_OddError, KeyError, TypeError):
        return None


def read_api_key(manifest: Mapping[str, Any], pool: RightsPool, *, with_agent: bool = False) -> tuple[Entry, ...]:
    """The entries of an ApiKey: none when it is being deleted, has no keys yet, or cannot be read."""
    try:
        if manifest["metadata"].get("deletionTimestamp") is not None:
            return ()
        status = _mapping(manifest.get("status"))
        records = status.get("keys") or []
        if not isinstance(records, list) or not records:
            return ()
        spec = _mapping(manifest.get("spec"))
        facts = _read_object(manifest["metadata"], spec, status, pool)
        agent = _agent(spec) if with_agent else None
    except (_OddError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return ()
    entries: dict[bytes, Entry] = {}
    for record in records:
        try:
            entry = _read_record(record, facts)
            entry.agent = agent
        except (_OddError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
        entries.setdefault(entry.key_id, entry)
    return tuple(entries.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What all records of one ApiKey share."""

    uid: str
    namespace: str
    path: bytes
    class_name: str
    created_at: float
    barred: Refusal | None
    owner: str | None
    groups: tuple[str, ...]
    rights: Rights
    limits: KeyLimits | None
    expired_id: str | None
    ends: datetime | None
    ttl: Any


def _read_object(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any], pool: RightsPool
) -> _Facts:
    namespace, name = _name(metadata["namespace"]), _name(metadata["name"])
    class_name = sys.intern(_name(status["className"]))
    effective = _mapping(status.get("effective"))
    owner, barred = read_owner(effective.get("owner")), None
    # What restricts acts from the newest spec, and stays while the status still says so (invariant 4).
    if _flag(spec.get("revoked")) or status.get("revokedAt") is not None:
        barred = verdicts.REVOKED
    elif (
        _flag(spec.get("suspended"))
        or status.get("suspendedAt") is not None
        or status.get("disallowedAt") is not None
        # Whoever changed the owner behind the back of the policy, or before it, does not act for anybody yet.
        or read_owner(spec.get("owner")) != owner
    ):
        barred = verdicts.SUSPENDED
    ttl = spec.get("ttl")
    return _Facts(
        uid=_text(metadata["uid"]),
        namespace=sys.intern(namespace),
        path=f"{namespace}/{name}".encode("ascii"),
        class_name=class_name,
        created_at=parse_instant(_text(metadata["creationTimestamp"])).timestamp(),
        barred=barred,
        owner=sys.intern(owner[0]) if owner is not None else None,
        groups=tuple(sys.intern(each) for each in sorted(owner[1])) if owner is not None else (),
        rights=pool.read(class_name, spec, effective),
        limits=read_key_limits(spec, status),
        # Judged by the operator's clock once, and for good: no clock that is set back brings it to life.
        expired_id=status.get("currentKeyId") if status.get("phase") == Phase.EXPIRED else None,
        ends=_instant(spec.get("expiresAt")),
        ttl=parse_duration(_text(ttl)) if ttl is not None else None,
    )


def _read_record(record: Mapping[str, Any], facts: _Facts) -> Entry:
    key_id, stored, printed = _text(record["id"]), _text(record["hash"]), record.get("fingerprint")
    if not _KEY_ID.fullmatch(key_id) or not hashing.is_trustworthy(stored):
        raise _OddError
    if printed is not None and not _FINGERPRINT.fullmatch(printed):
        raise _OddError
    issued_at = parse_instant(_text(record["issuedAt"]))
    ends = earliest(
        _instant(record.get("expiresAt")),
        facts.ends,
        issued_at + facts.ttl if facts.ttl is not None else None,
    )
    return Entry(
        key_id=key_id.encode("ascii"),
        uid=facts.uid,
        namespace=facts.namespace,
        path=facts.path,
        class_name=facts.class_name,
        created_at=facts.created_at,
        hash=stored,
        fingerprint=bytes.fromhex(printed) if printed is not None else None,
        issued_at=int(issued_at.timestamp()),
        ends_at=_ends_at(ends) if key_id != facts.expired_id else -math.inf,
        is_retiring=record.get("state") == "Retiring",
        barred=facts.barred,
        owner=facts.owner,
        groups=facts.groups,
        rights=facts.rights,
        limits=facts.limits,
    )


def _ends_at(ends: datetime | None) -> float:
    return ends.timestamp() if ends is not None else math.inf


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _OddError
    return value


def _name(value: Any) -> str:
    name = _text(value)
    if not _NAME.fullmatch(name):
        raise _OddError
    return name


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _OddError
    return value


def _agent(spec: Mapping[str, Any]) -> str | None:
    """The display name, which is one object for all keys that are called so. It is for people: no odd one matters."""
    name = spec.get("displayName")
    return sys.intern(name) if isinstance(name, str) and 0 < len(name) <= _LONGEST_AGENT else None


def _flag(value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _OddError
    return bool(value)


def _instant(value: Any) -> datetime | None:
    return parse_instant(_text(value)) if value is not None else None
