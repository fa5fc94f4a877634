"""How an ApiKey stands, in the words and tones of a list. Pure: manifests and the time in, one value out.

The plugin prints them and the key service shows them: people read the same word wherever they look.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from keywright.api.status import read_status
from keywright.domain.apikey import Phase, Status, earliest
from keywright.domain.conditions import ConditionStatus, ConditionType, find
from keywright.domain.times import find_instant, parse_instant
from keywright.domain.usage import still_used

__all__ = [
    "UNREADABLE_END",
    "Standing",
    "Tone",
    "Uses",
    "describe_distance",
    "exact_uses",
    "read_standing",
    "round_span",
]

Uses = Mapping[str, datetime]
"""When verifiers last allowed a key, by ``namespace/name/keyId``."""


UNREADABLE_END = "Failed (expiresAt cannot be read)"
# From twice its length on a unit is exact enough, as kubectl has it.
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


class Tone(StrEnum):
    """How urgent a row is. Whoever shows it has a colour for each; the words of the row say the same."""

    PLAIN = "plain"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One row. ``status`` is what people read, ``tone`` how urgent it is, ``is_over`` whether it never works again.
    ``recorded`` is what the operator has recorded, with the exact last uses; nothing where it cannot be read.
    """

    namespace: str
    name: str
    display_name: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    status: str
    tone: Tone
    recorded: Status
    is_over: bool = False
    class_name: str = ""
    role: str = ""
    owner: str = ""
    key_id: str = ""


def exact_uses(usages: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    """The newest use of each key in ``ApiKeyUsage`` objects. What cannot be read is left out."""
    newest: dict[str, datetime] = {}
    for usage in usages:
        for key, text in (usage.get("spec", {}).get("uses") or {}).items():
            if (at := find_instant(text)) is not None:
                newest[key] = max(at, newest.get(key, at))
    return newest


def read_standing(manifest: Mapping[str, Any], uses: Uses, now: datetime) -> Standing:
    """Judge one ApiKey by its newest spec, by what the operator has recorded, and by the time, as a verifier does."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    read = read_status(dict(manifest))
    status = _with_uses(read or Status(), f"{metadata['namespace']}/{metadata['name']}", uses, now)
    asked = find_instant(spec.get("expiresAt"))
    end = earliest(asked, status.expires_at)
    word, tone, is_over = _judge(manifest, status, end, now)
    if read is None:
        word, tone = "Failed (status cannot be read)", Tone.RED
    elif spec.get("expiresAt") and asked is None and not is_over:
        # Verifiers refuse a key whose end they cannot tell.
        word, tone = UNREADABLE_END, Tone.RED
    return Standing(
        namespace=metadata["namespace"],
        name=metadata["name"],
        display_name=spec.get("displayName") or metadata["name"],
        created_at=parse_instant(metadata["creationTimestamp"]),
        last_used_at=status.last_used_at,
        expires_at=end,
        status=word,
        tone=tone,
        recorded=status,
        is_over=is_over,
        class_name=status.class_name or spec.get("className") or "",
        role=spec.get("role") or "",
        owner=(spec.get("owner") or {}).get("user") or "",
        key_id=status.current_key_id or "",
    )


def describe_distance(at: datetime | None, now: datetime) -> str:
    """How far off, to the nearest of its largest unit: ``in 90d``, ``3m ago``."""
    if at is None:
        return "never"
    count, unit = round_span(at - now)
    return f"in {count}{unit}" if at > now else f"{count}{unit} ago"


def round_span(span: timedelta) -> tuple[int, str]:
    """A length to the nearest of its largest unit, which is ``d``, ``h``, ``m`` or ``s``."""
    seconds = round(abs(span.total_seconds()))
    unit, length = next((each for each in _UNITS if seconds >= 2 * each[1]), ("s", 1))
    return (seconds + length // 2) // length, unit


def _judge(manifest: Mapping[str, Any], status: Status, end: datetime | None, now: datetime) -> tuple[str, Tone, bool]:
    spec = manifest.get("spec") or {}
    if manifest["metadata"].get("deletionTimestamp"):
        return "Deleted", Tone.RED, True
    if spec.get("revoked") or status.revoked_at is not None:
        return "Revoked", Tone.RED, True
    if end is not None and end <= now:
        # With rotation another key may follow; without, this is for ever.
        return "Expired", Tone.RED, "rotation" not in spec
    if spec.get("suspended"):
        return "Suspended", Tone.AMBER, False
    stalled = find(status.conditions, ConditionType.STALLED)
    if stalled is not None and stalled.status == ConditionStatus.TRUE:
        active = find(status.conditions, ConditionType.ACTIVE)
        works = active is not None and active.status == ConditionStatus.TRUE
        word = f"{Phase.ACTIVE if works else Phase.FAILED} ({stalled.reason})"
        return word, Tone.AMBER if works else Tone.RED, False
    tone = Tone.AMBER if status.phase is Phase.EXPIRING else Tone.PLAIN
    if still_used(status):
        return f"{status.phase} (old key in use)", Tone.AMBER, False
    return status.phase, tone, False


def _with_uses(status: Status, key: str, uses: Uses, now: datetime) -> Status:
    """The status with the exact last use of each record. A report from the future says "now"."""
    keys = tuple(
        replace(each, last_used_at=_later(each.last_used_at, uses.get(f"{key}/{each.id}"), now)) for each in status.keys
    )
    latest = status.last_used_at
    for each in keys:
        latest = _later(latest, each.last_used_at, now)
    return replace(status, keys=keys, last_used_at=latest)


def _later(known: datetime | None, reported: datetime | None, now: datetime) -> datetime | None:
    if reported is None:
        return known
    return max(min(reported, now), known or reported.min.replace(tzinfo=now.tzinfo))
