"""Scopes: wildcards on either side, what a catalogue includes, and what it does not know."""

import pytest

from keywright.domain.scopes import closure, covers, is_covered, is_known

CATALOGUE = {
    "agents:read": (),
    "agents:write": ("agents:read",),
    "tasks:execute": ("tasks:read", "agents:write"),
    "tasks:read": (),
    "loop:a": ("loop:b",),
    "loop:b": ("loop:a",),
    "admin": ("*",),
}


@pytest.mark.parametrize(
    ("pattern", "wanted", "is_granted"),
    [
        ("agents:read", "agents:read", True),
        ("agents:read", "agents:write", False),
        ("agents:*", "agents:write", True),
        ("agents:*", "agents", False),
        ("agents:*", "agents:*", True),
        ("*:read", "tasks:read", True),
        ("*:read", "tasks:write", False),
        ("*:read", "*", False),
        ("*:*", "tasks:write", True),
        ("*:*", "admin", False),
        ("*", "admin", True),
        ("*", "tasks:write", True),
        ("*", "*", True),
        ("agents:read", "agents:*", False),
        ("admin", "admin:read", False),
        ("agents", "agents", True),
    ],
)
def test_covering(pattern: str, wanted: str, is_granted: bool) -> None:
    """A side matches when it is equal or a star; a wildcard is covered by a wider one only."""
    assert covers(pattern, wanted) is is_granted
    assert is_covered(wanted, ["other:thing", pattern]) is is_granted


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((), ()),
        (("agents:write",), ("agents:read", "agents:write")),
        (("tasks:execute",), ("agents:read", "agents:write", "tasks:execute", "tasks:read")),
        (("admin",), ("*",)),
        (("loop:a",), ("loop:a", "loop:b")),
        (("agents:*", "agents:read"), ("agents:*",)),
        (("tasks:*",), ("agents:read", "agents:write", "tasks:*")),
        (("unknown:thing",), ("unknown:thing",)),
    ],
)
def test_what_scopes_include(scopes: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """To the end of the chain, also through a wildcard, and round a loop only once."""
    assert closure(scopes, CATALOGUE) == expected


def test_what_a_catalogue_knows() -> None:
    """Its names, and wildcards that stand for one of them; without a catalogue every name."""
    assert is_known("agents:read", CATALOGUE)
    assert is_known("agents:*", CATALOGUE)
    assert not is_known("billing:read", CATALOGUE)
    assert not is_known("billing:*", CATALOGUE)
    assert is_known("billing:read", {})
