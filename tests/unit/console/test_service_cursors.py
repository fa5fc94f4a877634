"""Where a list goes on: what was given out is read again, and nothing else is."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.console.problems import ProblemError
from keywright.console.service.finding import Cursor

tokens = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126))


@given(tokens, st.integers(0, 1000))
def test_a_cursor_that_was_given_out_is_read_again(token: str, skip: int) -> None:
    """Whatever the API server has for a token."""
    cursor = Cursor(token, skip)
    assert Cursor.read(str(cursor)) == cursor


def test_no_cursor_is_the_beginning() -> None:
    """A list without one begins where lists begin."""
    assert Cursor.read(None) == Cursor()


def packed(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "====",
        packed("token"),
        packed(["token"]),
        packed(["token", -1]),
        packed(["token", 10**6]),
        packed(["token", True]),
        packed(["token", 1.5]),
        packed([1, 1]),
        packed(["line\nbreak", 1]),
        packed(["token", 1, 1]),
        base64.urlsafe_b64encode(b"[" * 10_000).decode(),
    ],
)
def test_what_was_not_given_out_is_refused(text: str) -> None:
    """As a problem of the request, not as a fault."""
    with pytest.raises(ProblemError) as caught:
        Cursor.read(text)
    assert (caught.value.status, caught.value.code) == (422, "invalid_request")


@given(st.text())
def test_no_text_is_a_fault(text: str) -> None:
    """It is a cursor, or a problem."""
    with contextlib.suppress(ProblemError):
        assert str(Cursor.read(text))
