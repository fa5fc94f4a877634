"""Nobody can fill the queue for everybody."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from keywright.verifier.keys.fair_queue import FairQueue


def drain(queue: FairQueue[str]) -> list[str]:
    return list(iter(queue.pop, None))


def test_turns_go_round_namespaces_then_keys() -> None:
    """A namespace with one waiting key is served as often as one with many."""
    queue: FairQueue[str] = FairQueue(10)
    for item in ("a1x", "a1y", "a2x", "a3x", "b1x", "b1y"):
        assert queue.push(item[0], item[1].encode(), item) is None
    assert drain(queue) == ["a1x", "b1x", "a2x", "b1y", "a3x", "a1y"]


def test_a_newcomer_displaces_whoever_waits_most() -> None:
    """The newest item of the longest line of the heaviest namespace goes, not the oldest."""
    queue: FairQueue[str] = FairQueue(4)
    for item in ("a1", "a2", "a3", "a4"):
        queue.push("a", b"k", item)
    assert queue.push("b", b"k", "b1") == "a4"
    assert queue.push("b", b"k", "b2") == "a3"
    assert queue.push("b", b"k", "b3") == "b3"
    assert queue.push("a", b"other", "a5") == "a2"
    assert sorted(drain(queue)) == ["a1", "a5", "b1", "b2"]


def test_the_heaviest_displaces_nobody() -> None:
    """A flood refuses itself."""
    queue: FairQueue[str] = FairQueue(2)
    queue.push("a", b"k", "a1")
    queue.push("b", b"k", "b1")
    assert queue.push("a", b"k", "a2") == "a2"
    assert queue.push("c", b"k", "c1") == "c1"
    assert len(queue) == 2


def test_no_room_at_all() -> None:
    """A capacity of nothing refuses everything."""
    queue: FairQueue[str] = FairQueue(0)
    assert queue.push("a", b"k", "a1") == "a1"
    assert queue.pop() is None


@given(
    st.integers(1, 8),
    st.lists(st.one_of(st.none(), st.tuples(st.sampled_from("abc"), st.sampled_from([b"1", b"2"]))), max_size=60),
)
def test_everything_that_goes_in_comes_out_once(capacity: int, history: list[tuple[str, bytes] | None]) -> None:
    """Each item is popped, displaced or still waiting, exactly once; and the capacity holds."""
    queue: FairQueue[int] = FairQueue(capacity)
    seen: Counter[int] = Counter()
    for number, step in enumerate(history):
        if step is None:
            popped = queue.pop()
            seen.update([popped] if popped is not None else [])
        else:
            displaced = queue.push(*step, number)
            seen.update([displaced] if displaced is not None else [])
        assert len(queue) <= capacity
    while (rest := queue.pop()) is not None:
        seen[rest] += 1
    assert len(queue) == 0
    assert seen == Counter({number: 1 for number, step in enumerate(history) if step is not None})
