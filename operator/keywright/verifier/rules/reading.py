"""Reads a rules file: strictly, as a whole, with a line for each mistake that says where it is and what to do.

By hand, because the model library of the operator would cost the verifier more memory than ten thousand keys.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from keywright.verifier.keys.rights import ROLE, SCOPE
from keywright.verifier.rules.documents import Document, OddDocumentError, read_document
from keywright.verifier.rules.needs import ANONYMOUS, ANY_KEY, NOBODY, Need
from keywright.verifier.rules.owner_reading import read_authorize
from keywright.verifier.rules.rules import Rule, Rules
from keywright.verifier.rules.targets import AMBIGUOUS, read_host

__all__ = ["Problems", "read_rules"]

T = TypeVar("T")

Problems = tuple[str, ...]
"""What is wrong with a file, a line each. Never empty."""

_FIELDS = ("path", "hosts", "methods", "scopes", "roles", "authorize", "allow")
_METHOD = re.compile(r"[A-Z][-A-Z0-9]{0,31}", re.ASCII)


def read_rules(text: bytes) -> Rules | Problems:
    """Read the text of a rules file: the rules, or all that is wrong with it."""
    try:
        document = read_document(text)
    except OddDocumentError as error:
        return (str(error),)
    if not isinstance(document, dict):
        return ("the file has no fields: write rules: and a list of them",)
    if document.get("kind") == "ConfigMap":
        return ("this is a ConfigMap: give the text of its data entry as a file",)
    reader = _Reader()
    reader.know(document, ("rules", "default"))
    rules = reader.rules(document.get("rules"))
    default = reader.default(document.get("default", "deny"))
    return Rules(rules, default) if not reader.problems else tuple(reader.problems)


class _Reader:
    """Reads what it can and notes the rest, so that one look shows every mistake."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._where = ""

    def know(self, document: dict[str, Document], fields: Iterable[str]) -> None:
        for name in document:
            if name not in fields:
                self._complain(name, f"there is no such field: use {', '.join(fields)}")

    def rules(self, value: Document) -> list[Rule]:
        if not isinstance(value, list) or not value:
            self._complain("rules", "a list of rules is missing: write at least one")
            return []
        found = []
        for number, each in enumerate(value):
            self._where = f"rules[{number}]"
            if isinstance(each, dict):
                found.append(self._rule(number, each))
            else:
                self._complain("", "a rule has fields: write it as {path: /…}")
        self._where = ""
        return found

    def default(self, value: Document) -> Need:
        if value not in ("deny", "key"):
            self._complain("default", "use deny or key")
        return ANY_KEY if value == "key" else NOBODY

    def _rule(self, number: int, document: dict[str, Document]) -> Rule:
        self.know(document, _FIELDS)
        path = document.get("path")
        if path is None:
            self._complain("path", "it is missing: write one, as in /api/agents/*")
        elif not isinstance(path, str) or not path.startswith("/"):
            self._complain("path", "a path starts with a slash, as in /api/agents/*")
        elif AMBIGUOUS.search(path) or "*" in path.removesuffix("/*") or not path.isprintable():
            self._complain(
                "path",
                "write it decoded and unambiguous: no //, dot segments, \\, ;, #, ? or %, and * only as /* at the end",
            )
        hosts = self._several(document, "hosts", _read_host, "host names without port, as in api.example.com")
        methods = self._several(document, "methods", _read_method, "methods in capitals, as in GET, but not CONNECT")
        scopes = self._several(document, "scopes", _matching(SCOPE), "scopes without wildcards, as in agents:read")
        roles = self._several(document, "roles", _matching(ROLE), "names of roles, as in readonly")
        listed = frozenset(methods) if methods is not None else None
        authorize = None
        if "authorize" in document:
            authorize = read_authorize(document["authorize"], str(path), listed, self._complain)
        return Rule(
            number=number,
            path=str(path),
            hosts=frozenset(hosts) if hosts is not None else None,
            methods=frozenset(authorize.verbs) if authorize is not None else listed,
            need=self._need(document, scopes, roles),
            authorize=authorize,
        )

    def _need(self, document: dict[str, Document], scopes: list[str] | None, roles: list[str] | None) -> Need:
        if "allow" in document:
            if document["allow"] != "anonymous":
                self._complain("allow", "use anonymous, or leave it out")
            if scopes is not None or roles is not None or "authorize" in document:
                self._complain("allow", "who needs no key has no scopes, roles or owner: take out one of them")
            return ANONYMOUS
        if scopes is None and roles is None:
            return ANY_KEY
        return Need(scopes=tuple(dict.fromkeys(scopes or ())), roles=frozenset(roles or ()))

    def _several(
        self, document: dict[str, Document], name: str, read: Callable[[str], T | None], form: str
    ) -> list[T] | None:
        if name not in document:
            return None
        value = document[name]
        if not isinstance(value, list):
            self._complain(name, f"write a list of {form}")
            return []
        if not value:
            self._complain(name, "the list is empty: write something into it, or take it out")
        found = [read(each) if isinstance(each, str) else None for each in value]
        if None in found:
            self._complain(name, f"[{found.index(None)}] is not possible: use {form}")
        return [each for each in found if each is not None]

    def _complain(self, name: str, problem: str) -> None:
        where = ".".join(filter(None, (self._where, name if name.isprintable() else ascii(name))))
        self.problems.append(f"{where}: {problem}")


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: text if pattern.fullmatch(text) else None


def _read_host(text: str) -> str | None:
    host = read_host(text.encode("utf-8"))
    # With a port it would never match, and without one it is what is compared.
    return host if host == text.lower() else None


def _read_method(text: str) -> bytes | None:
    return text.encode("ascii") if _METHOD.fullmatch(text) and text != "CONNECT" else None
