"""Instants and durations as Kubernetes manifests write them."""

import re
from datetime import UTC, datetime, timedelta

__all__ = ["DURATION_PATTERN", "format_duration", "format_instant", "parse_duration", "parse_instant"]

# At least one part, in falling order. The look-ahead is Python's; the CRD says the same with minLength.
DURATION_PATTERN = r"^([0-9]{1,4}d)?([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$"
_DURATION = re.compile(r"(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m)?(?:([0-9]{1,5})s)?", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``90d`` or ``1h30m``.

    Raises:
        ValueError: if ``text`` is empty or not of that form.

    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError("a duration is days, hours, minutes and seconds in this order, as in 90d or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration as :func:`parse_duration` reads it; none at all is ``0s``."""
    hours, rest = divmod(duration.seconds, 3600)
    parts = ((duration.days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 date-time with an offset, as UTC.

    Raises:
        ValueError: if it is not one, or names no offset.

    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone offset, as in 2027-01-01T00:00:00Z")
    return instant.astimezone(UTC)


def format_instant(instant: datetime) -> str:
    """Write an instant as Kubernetes does (``metav1.Time``): UTC, whole seconds, ``Z``.

    A fraction is dropped, so an end is never written later than it is.
    """
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
