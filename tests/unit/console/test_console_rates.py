"""How much one caller may ask in a minute."""

import pytest

from keywright.console.callers.caller import Bounds, Caller
from keywright.console.callers.rates import SWEEP_AT, Rates
from keywright.console.problems import ProblemError

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


def by_key(name: str) -> Caller:
    bounds = Bounds(namespace="a", name=name, key_id="", class_name="", scopes=(), expires_at=None, may_manage=False)
    return Caller(user="alice", bounds=bounds)


def test_a_sliding_minute() -> None:
    """So many and no more; when one has left the minute, there is room for one."""
    clock = Clock()
    rates, alice = Rates(3, clock), Caller(user="alice")
    for _ in range(3):
        rates.charge(alice)
        clock.now += 10 * SECOND
    with pytest.raises(ProblemError) as refused:
        rates.charge(alice)
    assert (refused.value.status, refused.value.code) == (429, "rate_limited")
    wait = int(refused.value.headers["Retry-After"])
    assert 30 <= wait <= 32
    clock.now += wait * SECOND
    rates.charge(alice)
    with pytest.raises(ProblemError):
        rates.charge(alice)


def test_each_for_himself() -> None:
    """People by name, keys by their own, whoever owns them."""
    rates = Rates(1, Clock())
    for caller in (Caller(user="alice"), Caller(user="bob"), by_key("one"), by_key("two")):
        rates.charge(caller)
        with pytest.raises(ProblemError):
            rates.charge(caller)


def test_those_who_are_quiet_are_forgotten() -> None:
    """Many callers over time take no more memory than many at once."""
    clock = Clock()
    rates = Rates(1, clock)
    for number in range(SWEEP_AT):
        rates.charge(Caller(user=f"user-{number}"))
    clock.now += 62 * SECOND
    rates.charge(Caller(user="late"))
    assert len(rates._windows) == 1
