"""When a key was last used, as verifiers report it, and when that is worth a write.

Verifiers publish every minute; a status changes once an hour at most, and then takes all that is known. So it is never
older than what was known an hour before, and the last use of a key that rests is in it within the hour. One thing does
not wait: that a replaced key is still used.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from keywright.domain.apikey import RecordState, Status

__all__ = [
    "EVERY",
    "MAX_USES",
    "News",
    "OnRecord",
    "Uses",
    "fold",
    "on_record",
    "still_used",
    "used_after_replacement",
    "weigh",
]

EVERY = timedelta(hours=1)
MAX_USES = 1000
"""How many keys one ApiKeyUsage may tell of: some 80 KB."""

Uses = Mapping[str, datetime]
"""Last use by key id, in whole seconds."""


class News(StrEnum):
    """What reported uses have to say beyond what a status says."""

    NONE = "none"
    LATER = "later"
    """Newer than what is recorded, which is not an hour old yet."""
    DUE = "due"
    URGENT = "urgent"
    """A replaced key is still used, and nobody has been told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRecord:
    """What a status says of uses. ``keys`` holds the last use of each record, ``replaced_at`` the issue of the Current
    one, which ended the turn of those in ``retiring``.
    """

    last_used_at: datetime | None = None
    keys: Mapping[str, datetime | None]
    retiring: frozenset[str] = frozenset()
    replaced_at: datetime | None = None


def on_record(status: Status) -> OnRecord:
    """Of the status as the domain has it."""
    current = status.record(RecordState.CURRENT)
    return OnRecord(
        last_used_at=status.last_used_at,
        keys={each.id: each.last_used_at for each in status.keys},
        retiring=frozenset(each.id for each in status.keys if each.state is RecordState.RETIRING),
        replaced_at=current.issued_at if current is not None else None,
    )


def weigh(said: OnRecord, uses: Uses, now: datetime, *, every: timedelta = EVERY) -> News:
    """How much of a hurry the reported uses are in. ``every`` is how old a record gets before it is renewed."""
    newer = {each: at for each, at in uses.items() if each in said.keys and _is_newer(at, said.keys[each])}
    if not newer:
        return News.NONE
    if any(each in said.retiring and _ends_silence(said, each, at) for each, at in newer.items()):
        return News.URGENT
    is_old = said.last_used_at is None or now - said.last_used_at >= every
    return News.DUE if is_old else News.LATER


def fold(status: Status, uses: Uses, now: datetime) -> Status:
    """The status with what is worth a write. Nothing moves backward, and nothing into the future: a clock that is
    ahead, or a forged report, says at most "now".
    """
    if weigh(on_record(status), uses, now) not in (News.DUE, News.URGENT):
        return status
    latest = now.replace(microsecond=0)
    keys = tuple(
        replace(each, last_used_at=_latest([each.last_used_at, min(uses[each.id], latest)]))
        if each.id in uses
        else each
        for each in status.keys
    )
    return replace(
        status, keys=keys, last_used_at=_latest([status.last_used_at, *(each.last_used_at for each in keys)])
    )


def still_used(status: Status) -> frozenset[str]:
    """The ids of replaced keys that were used after the Current one was issued."""
    return used_after_replacement(on_record(status))


def used_after_replacement(said: OnRecord) -> frozenset[str]:
    """The same of what a status says of uses."""
    return frozenset(each for each in said.retiring if _is_after(said.keys[each], said.replaced_at))


def _is_newer(at: datetime, known: datetime | None) -> bool:
    return known is None or at > known


def _is_after(at: datetime | None, other: datetime | None) -> bool:
    return at is not None and other is not None and at > other


def _ends_silence(said: OnRecord, key_id: str, at: datetime) -> bool:
    return _is_after(at, said.replaced_at) and not _is_after(said.keys[key_id], said.replaced_at)


def _latest(instants: Iterable[datetime | None]) -> datetime | None:
    return max((each for each in instants if each is not None), default=None)
