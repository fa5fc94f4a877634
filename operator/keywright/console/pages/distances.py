"""Times in the words of people. Pure."""

from datetime import UTC, datetime, timedelta

from keywright.api.standing import round_span

__all__ = ["say_clock", "say_date", "say_distance", "say_span"]

_WORDS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}


def say_span(span: timedelta) -> str:
    """A length to the nearest of its largest unit: ``90 days``."""
    count, unit = round_span(span)
    return f"{count} {_WORDS[unit]}{'' if count == 1 else 's'}"


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
