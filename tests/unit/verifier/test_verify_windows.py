"""A window never lets more through than its limit, gives back in time, and knows when."""

from hypothesis import given
from hypothesis import strategies as st

from keywright.verifier.limits.windows import SECOND, SLOTS, Window

gaps = st.lists(
    st.one_of(st.integers(0, 3 * SECOND), st.integers(0, SECOND // 100), st.just(SECOND // SLOTS)), max_size=200
)


def ask(window: Window, now: int, requests: int) -> bool:
    """Charge one request if there is room."""
    if now >= window.due:
        window.settle(now)
    if window.total >= requests:
        return False
    window.charge(now)
    return True


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 10 * SECOND), gaps)
def test_no_interval_of_its_length_holds_more(requests: int, seconds: int, start: int, gaps: list[int]) -> None:
    """Whatever the arrivals: of those that passed, any one and the next but `requests` are a window apart; and
    one that is refused would have been too many within a window and a fiftieth."""
    window, length, now = Window(seconds), seconds * SECOND, start
    passed: list[int] = []
    for gap in gaps:
        now += gap
        if ask(window, now, requests):
            passed.append(now)
            assert len(passed) <= requests or now - passed[-1 - requests] >= length
        else:
            assert now - passed[-requests] <= length + length // SLOTS
        assert window.total == sum(1 for at in passed if window_end(at, seconds) > now)


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 10 * SECOND), gaps, st.integers(1, 8))
def test_it_knows_when_the_next_would_pass(
    requests: int, seconds: int, start: int, gaps: list[int], lowered: int
) -> None:
    """A nanosecond before it is still refused, then it passes; also under a limit that has become lower meanwhile."""
    window, now = Window(seconds), start
    for gap in gaps:
        now += gap
        if ask(window, now, requests):
            continue
        least = min(requests, lowered)
        at = window.passes_at(least)
        assert at > now
        window.settle(at - 1)
        assert window.total >= least
        now = at
        assert ask(window, at, least)


def test_what_a_person_expects_of_a_minute() -> None:
    """A hundred at once pass, the next does not, and after a minute and a second (the slot's end) all pass again."""
    window, now = Window(60), 10**18
    assert sum(ask(window, now, 100) for _ in range(150)) == 100
    assert not ask(window, now + 59 * SECOND, 100)
    later = now + 62 * SECOND
    assert sum(ask(window, later, 100) for _ in range(150)) == 100


def window_end(at: int, seconds: int) -> int:
    """When a request of that time is given back: the end of its slot and one window."""
    width = seconds * SECOND // SLOTS
    return (at // width + 1) * width + seconds * SECOND
