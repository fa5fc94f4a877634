"""What is wrong with a field, in words, and without what was sent. Pure."""

from collections.abc import Mapping
from typing import Any

__all__ = ["say_fault"]

_WORDS = {"extra_forbidden": "there is no such field", "missing": "it is needed"}
# By how a pattern begins: what it allows, which a person would have to read out of it.
_PATTERNS = {
    "^[!-~]": "use printable ASCII characters, and no space at its ends",
    "^(\\*|": "write scopes as in orders:read, in lower case, with * for all",
    "^[a-z0-9]": "use lower case letters, digits, and - between them; in names of keys, dots too",
    "^[A-Za-z0-9]": "use letters, digits, and - or . between them",
}


def say_fault(fault: Mapping[str, Any]) -> str:
    """One of the errors that pydantic has found."""
    context = fault.get("ctx") or {}
    pattern = str(context.get("pattern", ""))
    for beginning, words in _PATTERNS.items():
        if pattern.startswith(beginning):
            return words
    if fault["type"] == "too_long":
        # Also of a text, which pydantic then counts in items.
        unit = "entries" if context["field_type"] in ("Tuple", "List") else "characters"
        return f"use at most {context['max_length']} {unit}"
    return _WORDS.get(fault["type"]) or str(fault["msg"]).removeprefix("Value error, ")
