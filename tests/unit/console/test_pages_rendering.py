"""What templates make of values: what is said once is said once, and nothing that is not so."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request

from keywright.api.standing import Tone
from keywright.console.callers.caller import Caller
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import Viewer
from keywright.console.service.views import ConditionView, RecordView
from keywright.domain.apikey import RecordState
from tests.unit.console.test_pages_words import NOW, key

PAST = datetime(2026, 1, 1, 12, tzinfo=UTC)


def shown(template: str, *, path: str = "/", until: datetime | None = None, **values: Any) -> str:
    request = Request({"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""})
    request.state.viewer = Viewer(caller=Caller(user="alice@example.com"), csrf="x", until=until)
    return bytes(render(request, template, **values).body).decode()


def conditions(*messages: str) -> tuple[ConditionView, ...]:
    types = ("Ready", "Active", "Expiring")
    fields = {"status": "True", "reason": "KeyIssued", "last_transition_at": NOW}
    return tuple(ConditionView(type=each, message=told, **fields) for each, told in zip(types, messages, strict=True))


def test_what_several_conditions_say_is_said_once() -> None:
    """The operator words one finding for several conditions; another one is told all the same."""
    told = key(conditions=conditions("key a is in place", "key a is in place", "key a ends soon"))
    page = shown("key.html", key=told, events=(), actions=(), notice="")
    assert page.count("key a is in place") == 1
    assert page.count("key a ends soon") == 1
    assert "Services accept the current key." in page


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [({}, "none"), ({"role": "readonly"}, "only those of the role"), ({"scopes": ("a", "b")}, "a, b")],
)
def test_scopes_are_those_of_a_role_only_where_there_is_one(fields: dict[str, Any], scopes: str) -> None:
    """A key with neither may nothing, and reads so."""
    page = shown("key.html", key=key(**fields), events=(), actions=(), notice="")
    assert f"<dt>Scopes</dt><dd>{scopes}</dd>" in page


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "Revoked", "revoked": True, "revoked_at": PAST}, "2026-01-01 12:00 UTC"),
        ({"status": "Revoked", "revoked": True}, "not known"),
        ({"status": "Deleted"}, "not known"),
        ({"status": "Expired", "expires_at": PAST}, "2026-01-01 12:00 UTC"),
    ],
    ids=["revoked", "just revoked", "deleted", "expired"],
)
def test_what_is_over_has_ended_and_does_not_end(fields: dict[str, Any], told: str) -> None:
    """In the table and on the key's page: when it ended, if that is known, and no life that goes on to a later end."""
    later = datetime(2999, 1, 1, tzinfo=UTC)
    record = RecordView(
        id="4hJk29sLmQ0z", state=RecordState.CURRENT, issued_at=NOW, expires_at=later, last_used_at=None
    )
    over = key(**{"expires_at": later, "is_over": True, "tone": Tone.RED, "keys": (record,)} | fields)
    pages = (
        shown("key.html", key=over, events=(), actions=(), notice=""),
        shown("user.html", owner="alice", keys=[over], living=[]),
    )
    for page in pages:
        assert told in page
        assert "2999" not in page
        assert '<rect class="track"' not in page


def test_a_life_that_goes_on_is_drawn() -> None:
    """With its end."""
    going_on = key(expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert '<rect class="track"' in shown("user.html", owner="alice", keys=[going_on], living=[going_on])
    page = shown("key.html", key=going_on, events=(), actions=(), notice="")
    assert '<rect class="track"' in page
    assert "<dt>Expires</dt>" in page


@pytest.mark.parametrize(("path", "current"), [("/", ["API keys"]), ("/users", ["Keys of a user"]), ("/keys/a/b", [])])
def test_the_navigation_says_where_one_is(path: str, current: list[str]) -> None:
    """On the pages that it names, and on no other."""
    assert re.findall(r'aria-current="page">([^<]+)<', shown("users.html", path=path)) == current


def test_a_session_says_how_long_it_lasts() -> None:
    """Who has none here is told nothing of it, and signs out elsewhere."""
    page = shown("users.html", until=datetime(2027, 1, 1, 16, 32, tzinfo=UTC))
    assert re.search(r"alice@example.com</bdi> until <time [^>]*>16:32 UTC</time>", page)
    assert "Sign out" in page
    assert " until " not in shown("users.html")
    assert "Sign out" not in shown("users.html")
