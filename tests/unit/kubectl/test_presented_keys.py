"""The causes of "invalid key" that the string alone can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain.plainkey import PlainKey
from keywright.kubectl.presented import find_fault
from tests.unit.domain.examples import key

PLAIN = key().text
OTHER_END = "a" if PLAIN[-1] != "a" else "b"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        (" \n", "empty"),
        (f" {PLAIN}", "white space"),
        (f"{PLAIN}\r", "white space"),
        (f"{PLAIN}\n", "white space"),
        (f"Bearer {PLAIN}", "not only a key"),
        (f"X-API-Key: {PLAIN}", "not only a key"),
        (PLAIN[:21] + "_…", "masked"),
        (f'"{PLAIN}"', "wrong alphabet: character 1 "),
        (PLAIN[:30] + "-" + PLAIN[31:], "wrong alphabet: character 31 "),
        (PLAIN[:30] + "é" + PLAIN[31:], "wrong alphabet: character 31 "),
        (PLAIN[:-1], "wrong length: too short by 1 "),
        (PLAIN + "ab", "wrong length: too long by 2 "),
        (PLAIN.replace(key().key_id, "short"), "wrong length: its id has 5 "),
        (PLAIN[:-1] + OTHER_END, "mistyped"),
        ("ghp_0123456789", "not a key"),
        ("KW_LIVE" + PLAIN[7:], "not a key"),
        ("a" * 21 + PLAIN[7:], "not a key"),
    ],
)
def test_each_cause_is_told_apart(text: str, cause: str) -> None:
    """By its first words, and with what to do after a colon."""
    fault = find_fault(text)
    assert isinstance(fault, str)
    assert fault.startswith(cause)
    assert fault.count(": ") >= 1


def test_a_key_is_returned() -> None:
    """Nothing is wrong with it."""
    assert find_fault(PLAIN) == key()
    assert find_fault(PLAIN, "kw_live") == key()


def test_the_prefix_of_another_class_is_named() -> None:
    """Both of them: neither is secret."""
    fault = find_fault(PLAIN, "kw_test")
    assert isinstance(fault, str)
    assert fault.startswith("another class")
    assert "kw_live_" in fault
    assert "kw_test_" in fault


@given(st.integers(0, 10**6), st.integers(0, 80), st.text(max_size=3), st.integers(0, 3))
def test_no_message_holds_a_piece_of_the_key(seed: int, place: int, added: str, removed: int) -> None:
    """However it is damaged: a message gets into logs and tickets."""
    plain = key(seed)
    damaged = plain.text[:place] + added + plain.text[place + removed :]
    fault = find_fault(damaged)
    if isinstance(fault, PlainKey):
        assert damaged == fault.text
        return
    secret = plain.text[-49:]
    assert not any(secret[start : start + 5] in fault for start in range(45))
