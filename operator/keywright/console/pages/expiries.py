"""When a new key is to end: what a person may choose from, and what he has chosen. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from keywright.console.pages.distances import say_span
from keywright.console.service.views import ClassView
from keywright.domain.times import parse_duration

__all__ = ["ON_DATE", "OPEN", "Choice", "choices", "end_of", "last_date"]

OPEN = "open"
ON_DATE = "date"
_PRESETS = ("7d", "30d", "90d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``value`` goes into the form, ``label`` is read."""

    value: str
    label: str


def choices(key_class: ClassView) -> list[Choice]:
    """Presets within the class's limit, a date, and what leaving it open means in this class; the first is proposed.

    Where that is as long as a preset, it takes the preset's place: nobody chooses between two that are the same.
    """
    limit = _longest(key_class)
    left_open = Choice(value=OPEN, label=_open_label(key_class)) if "expiresAt" not in key_class.requires else None
    found = [
        left_open
        if left_open is not None and parse_duration(each) == _open_span(key_class)
        else Choice(value=each, label=say_span(parse_duration(each)))
        for each in reversed(_PRESETS)
        if limit is None or parse_duration(each) <= limit
    ]
    found.append(Choice(value=ON_DATE, label="On a date"))
    if left_open is not None and left_open not in found:
        found.append(left_open)
    return found


def end_of(day: str) -> datetime:
    """The end of that day in UTC, so that a key works on the whole of the day that was chosen.

    Raises:
        ValueError: if it is no date.

    """
    return datetime.combine(date.fromisoformat(day), time(23, 59, 59), tzinfo=UTC)


def last_date(key_class: ClassView, now: datetime) -> date | None:
    """The last day that the class allows for a key made now."""
    limit = _longest(key_class)
    if limit is None:
        return None
    try:
        return (now + limit - timedelta(days=1)).date()
    except OverflowError:
        return None


def _longest(key_class: ClassView) -> timedelta | None:
    return parse_duration(key_class.max_lifetime) if key_class.max_lifetime else None


def _open_span(key_class: ClassView) -> timedelta | None:
    written = key_class.default_lifetime or key_class.max_lifetime
    return parse_duration(written) if written else None


def _open_label(key_class: ClassView) -> str:
    if key_class.default_lifetime is not None:
        return f"As the class has it: {say_span(parse_duration(key_class.default_lifetime))}"
    if key_class.max_lifetime is not None:
        return f"The longest that the class allows: {say_span(parse_duration(key_class.max_lifetime))}"
    return "No end"
