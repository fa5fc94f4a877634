"""Sessions that a browser keeps: signed, short, without a credential."""

import base64
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.console.callers.caller import Bounds, Caller
from keywright.console.callers.sessions import Session, Sessions, read_session_key
from keywright.console.problems import ProblemError
from keywright.errors import KeywrightError

KEY = b"k" * 32
NOW = 1_800_000_000.0
ALICE = Caller(user="alice@example.com", groups=("dev", "öps"))


def sessions(key: bytes = KEY, *, now: float = NOW, is_secure: bool = True) -> Sessions:
    return Sessions(key, minutes=15, is_secure=is_secure, clock=lambda: now)


def read(value: str, *, key: bytes = KEY, now: float = NOW) -> Session | None:
    return sessions(key, now=now).read(value)


ISSUED = sessions().issue(ALICE)


def test_a_person_is_who_he_was() -> None:
    """User and groups, for a quarter of an hour, at any replica with the same key."""
    value = sessions().issue(ALICE)
    found = read(value, now=NOW + 899)
    assert found is not None
    assert (found.user, found.groups, found.key, found.key_id) == (ALICE.user, ALICE.groups, None, None)
    assert found.expires_at == NOW + 900
    assert read(value, now=NOW + 900) is None
    assert read(value, key=b"x" * 32) is None


def test_two_sessions_differ() -> None:
    """Each has an id of its own, so their forms are their own."""
    some = [read(sessions().issue(ALICE)) for _ in range(2)]
    assert len({each.id for each in some if each is not None}) == 2


def test_a_key_is_named_and_no_more() -> None:
    """What it may do, and for whom, is judged anew on each request."""
    bounds = Bounds(
        namespace="a", name="ci", key_id="4hJk29sLmQ0z", class_name="x", scopes=("*",), expires_at=None, may_manage=True
    )
    found = read(sessions().issue(Caller(user="alice", groups=("dev",), bounds=bounds)))
    assert found is not None
    assert (found.key, found.key_id, found.user, found.groups) == ("a/ci", "4hJk29sLmQ0z", "alice", ())


def test_a_session_does_not_outlive_its_token() -> None:
    """It ends with the token that it came from, if that is earlier."""
    for until, ends in ((NOW + 60, NOW + 60), (NOW + 9000, NOW + 900)):
        found = read(sessions().issue(ALICE, until))
        assert found is not None
        assert found.expires_at == ends


def test_the_name_of_the_cookie() -> None:
    """A browser that knows the prefix takes it over TLS only, for this host only, and for all paths."""
    assert (sessions().cookie, sessions(is_secure=False).cookie) == ("__Host-keywright", "keywright")


@given(st.text(max_size=200))
def test_anything_else_is_no_session(text: str) -> None:
    """Nothing that was not signed here is read."""
    assert read(text) is None


@given(st.data())
def test_a_changed_session_is_none(data: st.DataObject) -> None:
    """Any change of one character breaks it."""
    value = ISSUED
    at = data.draw(st.integers(0, len(value) - 1))
    # The last character of the signature has bits that mean nothing, so it is compared as text and not as bytes.
    other = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda each: each != value[at]))
    assert read(value[:at] + other + value[at + 1 :]) is None


def test_what_was_signed_for_a_form_is_no_session() -> None:
    """One signature never serves as another."""
    packed = base64.urlsafe_b64encode(zlib.compress(b"{}")).rstrip(b"=").decode()
    assert read(f"{packed}.{sessions().csrf_token(packed)}") is None


def test_forms() -> None:
    """A form is good for the session that it was made for, wherever that is read."""
    token = sessions().csrf_token("one")
    assert sessions().is_csrf_token("one", token)
    assert not sessions().is_csrf_token("two", token)
    assert not sessions(b"x" * 32).is_csrf_token("one", token)
    for wrong in ("", token[:-1], token + "a", "ü", "\ud800"):
        assert not sessions().is_csrf_token("one", wrong)


def test_too_many_groups() -> None:
    """A cookie that the browser would drop is not sent; the problem says what else to use."""
    many = Caller(user="alice", groups=tuple(f"group-{number * 7919:x}" for number in range(2000)))
    with pytest.raises(ProblemError, match="more groups than a session holds"):
        sessions().issue(many)


def test_the_session_key(tmp_path: Path) -> None:
    """From a file with 32 bytes at least; random without one."""
    (tmp_path / "good").write_bytes(KEY)
    (tmp_path / "short").write_bytes(KEY[1:])
    assert read_session_key(tmp_path / "good") == KEY
    assert read_session_key(None) != read_session_key(None)
    with pytest.raises(KeywrightError, match="holds 31 bytes"):
        read_session_key(tmp_path / "short")
    with pytest.raises(KeywrightError, match="check --session-key-file"):
        read_session_key(tmp_path / "missing")
