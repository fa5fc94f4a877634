"""Instants and durations as Kubernetes manifests write them."""

import re
from datetime import UTC, datetime, timedelta

__all__ = [
    "DURATION_PATTERN",
    "find_instant",
    "format_duration",
    "format_instant",
    "parse_duration",
    "parse_instant",
]

# At least one part, in falling order. The look-ahead is Python's; the CRD says the same with minLength.
DURATION_PATTERN = r"^([0-9]{1,4}d)?([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$"
TOO_LONG = timedelta(days=10_000)
_DURATION = re.compile(r"(?:([0-9]{1,4})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m)?(?:([0-9]{1,5})s)?", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``90d`` or ``1h30m``.

    Raises:
        ValueError: if ``text`` is empty, not of that form, or so long in sum that it could not be written in that form.

    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError("a duration is days, hours, minutes and seconds in this order, as in 90d or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if span >= TOO_LONG:
        raise ValueError("a duration is shorter than 10000d")
    return span


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 date-time with an offset, as UTC.

    Raises:
        ValueError: if it is not one, or names no offset.

    """
    # RFC 3339 section 5.6 allows t and z, and so does the API server.
    instant = datetime.fromisoformat(text.upper())
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone offset, as in 2027-01-01T00:00:00Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant lies between the years 1 and 9999 in UTC") from None


def find_instant(text: object) -> datetime | None:
    """Read what others wrote; ``None`` for what is no instant. Not all that the API server takes for one is."""
    try:
        return parse_instant(text) if isinstance(text, str) else None
    except ValueError:
        return None


def format_duration(span: timedelta) -> str:
    """Write a duration as :func:`parse_duration` reads it, as in ``90d`` or ``1h30m``."""
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((span.days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"


def format_instant(instant: datetime) -> str:
    """Write an instant as Kubernetes does (``metav1.Time``): UTC, whole seconds, ``Z``.

    A fraction is dropped, so an end is never written later than it is.
    """
    # strftime's %Y has no leading zeros on Linux, and a year before 1000 is not RFC 3339 without them.
    return instant.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
