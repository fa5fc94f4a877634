"""The life of a key as a bar: where it began, where it was last used, where it is now, and where it ends. Pure.

There is no count of requests by key to be drawn: verifiers tell when a key was last used, and nothing else of its use.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from keywright.console.pages.distances import say_date, say_distance
from keywright.console.service.views import KeyView

__all__ = ["WIDTH", "LifeBar", "Mark", "draw", "ended_at"]

WIDTH = 600
# How much is drawn beyond now for a key without an end.
_OPEN_SHARE = 0.25
_LEAST_OPEN = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment in the life. ``kind`` names the shape that is drawn, ``x`` lies between 0 and :data:`WIDTH`."""

    kind: str
    label: str
    at: datetime
    x: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeBar:
    """What is drawn, ``width`` wide. ``spent`` is the part up to now, ``summary`` says it to who does not see it."""

    spent: float
    marks: tuple[Mark, ...]
    summary: str
    width: int = WIDTH


def draw(key: KeyView, now: datetime) -> LifeBar:
    """The bar of one key at that moment."""
    start = key.issued_at or key.created_at
    end = key.expires_at if key.expires_at is not None else now + max((now - start) * _OPEN_SHARE, _LEAST_OPEN)
    length = max((end - start).total_seconds(), 1.0)

    def place(at: datetime) -> float:
        return round(min(max((at - start).total_seconds() / length, 0.0), 1.0) * WIDTH, 1)

    moments = [
        ("begin", "Issued", start),
        ("used", "Last used", key.last_used_at),
        ("rotation", "Rotates", key.rotate_at),
        ("end", "Ends" if key.expires_at is None or key.expires_at > now else "Ended", key.expires_at),
        ("now", "Now", now),
    ]
    marks = tuple(Mark(kind=kind, label=label, at=at, x=place(at)) for kind, label, at in moments if at is not None)
    return LifeBar(spent=place(now), marks=marks, summary=_summarise(key, marks, now))


def ended_at(key: KeyView, now: datetime) -> datetime | None:
    """When a key that is over has ended: revoked before its time, it has not lived to the end that it was given.
    ``None`` where nobody knows.
    """
    known = (key.revoked_at, key.expires_at)
    return min((each for each in known if each is not None and each <= now), default=None)


def _summarise(key: KeyView, marks: tuple[Mark, ...], now: datetime) -> str:
    told = [
        f"{each.label.lower()} {say_distance(each.at, now)} ({say_date(each.at)})"
        for each in marks
        if each.kind != "now"
    ]
    if key.last_used_at is None:
        told.append("never used")
    if key.expires_at is None:
        told.append("no end")
    return ", ".join(told) + "."
