"""Instants and durations as manifests write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain import times

DURATIONS = {
    "90d": timedelta(days=90),
    "1h30m": timedelta(hours=1, minutes=30),
    "10s": timedelta(seconds=10),
    "0s": timedelta(0),
    "1d1h1m1s": timedelta(days=1, hours=1, minutes=1, seconds=1),
    "9999d23h59m59s": timedelta(days=9999, hours=23, minutes=59, seconds=59),
    "9000d9999h9999m99999s": timedelta(days=9000, hours=9999, minutes=9999, seconds=99999),
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.items(), ids=DURATIONS)
def test_a_duration_is_days_hours_minutes_seconds(text: str, expected: timedelta) -> None:
    """Each part may be left out, none may be out of order."""
    assert times.parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "xyzzy", "1", "1h1d", "1d 1h", "-1d", "1.5h", "10000d", "1D", "P1D", "1w", "1d\n", "\u0663d", "1d1d"]
)
def test_any_other_text_is_not_a_duration(text: str) -> None:
    """The message shows the form and is the same for all of them, so it quotes none."""
    with pytest.raises(
        ValueError, match=r"^a duration is days, hours, minutes and seconds in this order, as in 90d or 1h30m$"
    ):
        times.parse_duration(text)


@pytest.mark.parametrize("text", ["9999d24h", "9999d9999h", "9999d23h59m60s"])
def test_a_duration_that_could_not_be_written_down_is_refused(text: str) -> None:
    """The form has room for four digits of days. What status could not say later is refused at once."""
    with pytest.raises(ValueError, match=r"^a duration is shorter than 10000d$"):
        times.parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999, hours=23, minutes=59, seconds=59)))
def test_a_duration_is_read_back(span: timedelta) -> None:
    """Whatever can be read can be written, and the other way round, but for the fraction of a second."""
    whole = span - timedelta(microseconds=span.microseconds)
    assert times.parse_duration(times.format_duration(whole)) == whole


@pytest.mark.parametrize("odd", [None, 5, "", "2030-01-01T00:00:00+24:00", "2030-01-01", "9999-12-31T23:59:59-23:59"])
def test_what_others_wrote_may_be_no_instant(odd: object) -> None:
    assert times.find_instant(odd) is None
    assert times.find_instant("2027-01-01T00:00:00Z") == datetime(2027, 1, 1, tzinfo=UTC)


def test_an_instant_is_written_as_kubernetes_does() -> None:
    """UTC, whole seconds, Z; a fraction is dropped so that an end is never later than it is."""
    east = timezone(timedelta(hours=2))
    assert times.format_instant(datetime(2027, 1, 1, 2, 0, 0, 999_999, tzinfo=east)) == "2027-01-01T00:00:00Z"


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
)
def test_an_instant_is_read_back(instant: datetime) -> None:
    """Writing and reading loses the fraction of a second and nothing else."""
    assert times.parse_instant(times.format_instant(instant)) == instant.replace(microsecond=0)


@pytest.mark.parametrize("year", [1, 999])
def test_the_zero_time_of_go_is_written_in_four_digits(year: int) -> None:
    """``0001-01-01T00:00:00Z`` is what Go programs write for no time; shortening to it must be recordable."""
    assert times.format_instant(datetime(year, 1, 1, tzinfo=UTC)) == f"{year:04d}-01-01T00:00:00Z"


def test_an_offset_is_turned_into_utc() -> None:
    """The same instant, whatever offset it was written with."""
    instant = times.parse_instant("2027-01-01T02:30:00+02:30")
    assert instant == datetime(2027, 1, 1, tzinfo=UTC)
    assert instant.tzinfo is UTC


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z"])
def test_an_instant_without_an_offset_is_refused(text: str) -> None:
    """A local time means something else on every machine."""
    with pytest.raises(ValueError, match=r"."):
        times.parse_instant(text)


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_an_instant_that_utc_cannot_hold_is_refused(text: str) -> None:
    """RFC 3339 allows them; ``ValueError`` is what the docstring promises."""
    with pytest.raises(ValueError, match=r"."):
        times.parse_instant(text)
