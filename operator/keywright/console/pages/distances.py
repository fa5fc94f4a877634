"""Times in the words of people. Pure."""

from datetime import UTC, datetime, timedelta

__all__ = ["say_clock", "say_date", "say_distance", "say_span"]

# From twice its length on a unit is exact enough, as in kubectl apikey list.
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def say_span(span: timedelta) -> str:
    """A length to the nearest of its largest unit: ``90 days``."""
    seconds = round(abs(span.total_seconds()))
    unit, length = next((each for each in _UNITS if seconds >= 2 * each[1]), ("second", 1))
    count = (seconds + length // 2) // length
    return f"{count} {unit}{'' if count == 1 else 's'}"


def say_distance(at: datetime, now: datetime) -> str:
    """How far off: ``in 90 days``, ``3 minutes ago``."""
    span = say_span(at - now)
    return f"in {span}" if at > now else f"{span} ago"


def say_date(at: datetime) -> str:
    """As in ``2027-01-31 12:00 UTC``."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def say_clock(at: datetime) -> str:
    """As in ``12:00 UTC``, for what is within the hour."""
    return at.astimezone(UTC).strftime("%H:%M UTC")
