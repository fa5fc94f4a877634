"""Which limits apply to a key, and whose budget they are."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain.apikey import RateLimit
from keywright.domain.keyclass import RateLimitPer
from keywright.verifier.limits.limits import (
    Charged,
    ClassLimits,
    KeyLimits,
    Quota,
    quota_of,
    read_class_limits,
    read_key_limits,
)
from keywright.verifier.limits.store import MemoryStore
from keywright.verifier.limits.windows import SECOND, SLOTS


def limit(name: str, requests: int, seconds: int | None = None) -> RateLimit:
    return RateLimit(name=name, requests=requests, window=timedelta(seconds=seconds) if seconds is not None else None)


MINUTE, DAY, BURST = limit("minute", 100, 60), limit("day", 5000, 86400), limit("burst", 20, 10)
ALICE = KeyLimits(owner="alice@example.com")


def quota(
    *limits: RateLimit,
    per: RateLimitPer = RateLimitPer.KEY,
    key: KeyLimits | None = None,
    path: bytes = b"a/b",
    class_name: str = "standard",
) -> Quota:
    return quota_of(class_name, ClassLimits(limits=limits, per=per), path, key)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


def test_the_fields_are_those_of_the_draft() -> None:
    """One policy and one state for each limit, as structured fields; Retry-After only for what is refused."""
    three = quota(MINUTE, DAY, BURST)
    assert three.fields(Charged(0, (99, 60, 4999, 86400, 19, 10))) == (
        b'RateLimit-Policy: "minute";q=100;w=60, "day";q=5000;w=86400, "burst";q=20;w=10\r\n'
        b'RateLimit: "minute";r=99;t=60, "day";r=4999;t=86400, "burst";r=19;t=10\r\n'
    )
    assert three.fields(Charged(7, (0, 7, 1, 2, 3, 4))).startswith(b"Retry-After: 7\r\nRateLimit-Policy: ")


def test_a_budget_survives_rotation_and_a_new_object_of_the_same_name() -> None:
    """It goes by class and name alone; another class, namespace, name or limit is another budget."""
    assert quota(MINUTE).charges == quota(MINUTE).charges
    others = [
        quota(MINUTE, class_name="other"),
        quota(MINUTE, path=b"a/c"),
        quota(MINUTE, path=b"c/b"),
        quota(limit("hour", 100, 3600)),
        quota(MINUTE, per=RateLimitPer.OWNER, key=ALICE),
        quota(MINUTE, per=RateLimitPer.OWNER, key=KeyLimits(owner="a/b")),
    ]
    assert len({each.charges[0].key for each in (quota(MINUTE), *others)}) == 1 + len(others)


def test_the_name_of_a_budget_holds_no_name_of_anybody() -> None:
    """Who reads the store learns no namespaces, keys or owners."""
    for each in quota(MINUTE, per=RateLimitPer.OWNER, key=ALICE, path=b"payments/ci").charges:
        assert not any(word in each.key for word in (b"alice", b"payments", b"ci", b"standard"))


def test_keys_of_one_owner_share_a_budget() -> None:
    """With rateLimitPer Owner; a key without owner has its own."""
    one = quota(MINUTE, per=RateLimitPer.OWNER, key=ALICE, path=b"a/one")
    two = quota(MINUTE, per=RateLimitPer.OWNER, key=ALICE, path=b"b/two")
    assert one.charges == two.charges
    nobody = [quota(MINUTE, per=RateLimitPer.OWNER, path=path) for path in (b"a/one", b"a/two")]
    assert nobody[0].charges != nobody[1].charges
    assert nobody[0].charges == quota(MINUTE, path=b"a/one").charges


def test_the_tightest_of_class_spec_and_status_counts() -> None:
    """Fewest requests, longest window; what is looser, or unknown to the class, changes nothing."""
    key = KeyLimits(
        accepted=(limit("minute", 50), limit("burst", 10_000, 1)),
        asked=(limit("minute", 70, 120), limit("day", 9000), limit("hour", 1, 3600)),
    )
    fields = quota(MINUTE, DAY, BURST, key=key).fields(Charged(0, (0,) * 6))
    assert b'RateLimit-Policy: "minute";q=50;w=120, "day";q=5000;w=86400, "burst";q=20;w=10\r\n' in fields


def test_a_longer_window_does_not_start_the_class_s_anew() -> None:
    """The class's own limit runs on, so that no change of a spec gives anybody more."""
    store = MemoryStore(Clock())
    assert all(store.charge(quota(BURST)).retry_after == 0 for _ in range(20))
    for seconds in (10, 11, 12):
        tightened = quota(BURST, key=KeyLimits(asked=(limit("burst", 20, seconds),)))
        assert store.charge(tightened).retry_after > 0


def test_fewer_requests_in_the_same_window_keep_what_was_used() -> None:
    """A key that is tightened below what it has used waits until less counts."""
    clock = Clock()
    store = MemoryStore(clock)
    for _ in range(20):
        store.charge(quota(BURST))
        clock.now += SECOND // 10
    tightened = quota(BURST, key=KeyLimits(asked=(limit("burst", 5),)))
    assert len(tightened.charges) == 1
    refused = store.charge(tightened)
    clock.now += (refused.retry_after - 1) * SECOND
    assert store.charge(tightened).retry_after == 1
    clock.now += SECOND
    assert store.charge(tightened).retry_after == 0


def test_an_owner_s_budget_and_a_tighter_key() -> None:
    """The key has its own tighter limit, its owner's other keys do not feel it, and both are told."""
    store = MemoryStore(Clock())
    tight = quota(
        BURST,
        per=RateLimitPer.OWNER,
        path=b"a/tight",
        key=KeyLimits(owner="alice", asked=(limit("burst", 5),)),
    )
    other = quota(BURST, per=RateLimitPer.OWNER, path=b"a/other", key=KeyLimits(owner="alice"))
    assert [store.charge(tight).retry_after > 0 for _ in range(6)] == [False] * 5 + [True]
    assert [store.charge(other).retry_after > 0 for _ in range(16)] == [False] * 15 + [True]
    assert b'"burst";q=5;w=10, "burst-owner";q=20;w=10' in tight.fields(store.charge(tight))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=3),
    st.lists(st.integers(0, 40), max_size=60),
)
def test_all_windows_are_charged_or_none(shapes: list[tuple[int, int]], gaps: list[int]) -> None:
    """Every window counts exactly the requests that passed all of them; Retry-After is the first whole second at
    which all have room."""
    clock = Clock()
    store = MemoryStore(clock)
    all_of_them = quota(*(limit(f"l{at}", requests, seconds) for at, (requests, seconds) in enumerate(shapes)))
    passed: list[int] = []

    def left(now: int) -> list[int]:
        return [requests - sum(given_back_at(at, seconds) > now for at in passed) for requests, seconds in shapes]

    for gap in gaps:
        clock.now += gap * SECOND // 8
        had = left(clock.now)
        charged = store.charge(all_of_them)
        assert (charged.retry_after == 0) == (min(had) > 0)
        if charged.retry_after == 0:
            passed.append(clock.now)
        assert list(charged.figures[::2]) == left(clock.now)
        if charged.retry_after:
            assert min(left(clock.now + charged.retry_after * SECOND)) > 0
            assert min(left(clock.now + (charged.retry_after - 1) * SECOND)) == 0


def given_back_at(at: int, seconds: int) -> int:
    """The end of the slot of a fiftieth, and one window."""
    width = seconds * SECOND // SLOTS
    return (at // width + 1 + SLOTS) * width


def test_what_counts_no_more_is_forgotten() -> None:
    """Memory holds what counts within the windows, and the sweep takes the rest."""
    clock = Clock()
    store = MemoryStore(clock)
    for number in range(50):
        store.charge(quota(BURST, MINUTE, path=b"a/%d" % number))
    assert len(store) == 100
    keys = tuple(charge.key for number in range(50) for charge in quota(BURST, MINUTE, path=b"a/%d" % number).charges)
    store.sweep(keys)
    assert len(store) == 100
    clock.now += 11 * SECOND
    store.sweep(keys)
    assert len(store) == 50
    clock.now += 60 * SECOND
    store.sweep(tuple(key for key in keys if b":minute:" in key))
    assert len(store) == 0


def test_a_window_of_no_length_counts_as_a_second() -> None:
    """`0s` limits nothing and is no policy; the least there is is a second."""
    assert b"w=1\r\n" in quota(limit("burst", 5, 0)).fields(Charged(0, (0, 0)))


@pytest.mark.parametrize(
    "odd",
    [
        "many",
        ["many"],
        [{}],
        [{"name": "minute", "requests": 1}],
        [{"name": 'x";q=1', "requests": 1, "window": "1m"}],
        [{"name": "a\r\nb", "requests": 1, "window": "1m"}],
        [{"name": "x" * 33, "requests": 1, "window": "1m"}],
        [{"name": "minute", "requests": 0, "window": "1m"}],
        [{"name": "minute", "requests": True, "window": "1m"}],
        [{"name": "minute", "requests": 10**9 + 1, "window": "1m"}],
        [{"name": "minute", "requests": 1, "window": 60}],
        [{"name": "minute", "requests": 1, "window": "soon"}],
        [{"name": f"l{at}", "requests": 1, "window": "1m"} for at in range(9)],
    ],
)
def test_odd_limits_are_errors(odd: Any) -> None:
    """What the schema would not let through is not guessed at."""
    with pytest.raises(ValueError, match=r"rate limit|duration"):
        read_class_limits({"rateLimits": odd})
    if odd == [{"name": "minute", "requests": 1}]:
        return
    for spec, status in (({"rateLimits": odd}, {}), ({}, {"effective": {"rateLimits": odd}})):
        with pytest.raises(ValueError, match=r"rate limit|duration"):
            read_key_limits(spec, status)


def test_reading_what_is_there() -> None:
    """Class and key as the schema has them; nothing said is nothing kept."""
    written = [{"name": "minute", "requests": 100, "window": "1m"}]
    assert read_class_limits({}) == ClassLimits()
    assert read_class_limits({"rateLimits": written, "rateLimitPer": "Owner"}) == ClassLimits(
        limits=(MINUTE,), per=RateLimitPer.OWNER
    )
    assert read_key_limits({}, {}) is None
    assert read_key_limits(
        {"rateLimits": [{"name": "minute", "requests": 9}]},
        {"effective": {"rateLimits": written, "owner": {"user": "alice"}}},
    ) == KeyLimits(accepted=(MINUTE,), asked=(limit("minute", 9),), owner="alice")
    with pytest.raises(ValueError, match="Everybody"):
        read_class_limits({"rateLimitPer": "Everybody"})
    with pytest.raises(ValueError, match="owner"):
        read_key_limits({}, {"effective": {"owner": {"user": 5}}})
