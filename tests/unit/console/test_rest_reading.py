"""JSON is read strictly: one document, one meaning, of a depth that somebody needs."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.console.problems import ProblemError
from keywright.console.rest.reading import StrictRequest, version_of


def read(body: bytes) -> Any:
    """What a body is read as."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope: Mapping[str, Any] = {"type": "http", "method": "POST", "headers": [], "path": "/"}
    return asyncio.run(StrictRequest(dict(scope), receive).json())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 1}}',
        b'[{"a": 1, "\\u0061": 1}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"9" * 5000,
        b'"\xff"',
        b"[" * 100_000,
        b"[" * 17 + b"]" * 17,
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b"{} {}",
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none_is_refused(body: bytes) -> None:
    """And the refusal holds nothing of it."""
    with pytest.raises(json.JSONDecodeError) as caught:
        read(body)
    assert (caught.value.msg, caught.value.doc) == ("no JSON", "")
    assert caught.value.__cause__ is None


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(documents)
def test_everything_else_is_read_as_it_is(document: Any) -> None:
    """Strict is not odd."""
    assert read(json.dumps(document, ensure_ascii=False).encode()) == document


@given(st.binary())
def test_no_body_is_a_fault(body: bytes) -> None:
    """It is a document, or it is none."""
    try:
        read(body)
    except json.JSONDecodeError:
        return


@pytest.mark.parametrize(("tag", "version"), [(None, None), ("*", None), ('"123"', "123")])
def test_versions(tag: str | None, version: str | None) -> None:
    """The ETag of a key without its quotes; without one, any version will do."""
    assert version_of(tag) == version


@pytest.mark.parametrize("tag", ["123", 'W/"123"', '""', '"1", "2"', '"', '"é"' + "\x00", '"1/2"'])
def test_a_tag_that_was_not_given_out_fits_nothing(tag: str) -> None:
    """412, as for an outdated one."""
    with pytest.raises(ProblemError) as caught:
        version_of(tag)
    assert caught.value.status == 412
