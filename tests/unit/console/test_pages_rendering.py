"""What templates make of values: what is said once is said once, and nothing that is not so."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request

from keywright.console.callers.caller import Caller
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import Viewer
from keywright.console.service.views import ConditionView
from tests.unit.console.test_pages_words import NOW, key


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
