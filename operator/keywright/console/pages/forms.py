"""What a person has filled in, and the key that it asks for."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from keywright.console.callers.caller import Caller
from keywright.console.callers.people import SERVICE_ACCOUNT
from keywright.console.pages.expiries import ON_DATE, OPEN, choices, end_of
from keywright.console.problems import ProblemError
from keywright.console.service.faults import say_fault
from keywright.console.service.views import ClassView
from keywright.console.service.wanted import NewKey
from keywright.domain.times import format_instant

__all__ = ["Filled", "Form", "blank", "new_request_id", "read_filled", "to_new_key"]

# What people know the fields by.
_LABELS = {
    "displayName": "Name",
    "description": "Description",
    "className": "Class",
    "role": "Role",
    "scopes": "Scopes",
    "name": "Name in Kubernetes",
    "ttl": "Ends after",
    "expiresAt": "Ends after",
}


class Form:
    """The fields of a form that was sent; absent ones are empty."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = tuple(pairs)

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self._pairs if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self._pairs if key == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The form of a new key, as it was filled in."""

    display_name: str = ""
    description: str = ""
    role: str = ""
    scopes: tuple[str, ...] = ()
    ends: str = ""
    day: str = ""
    name: str = ""


def blank(key_class: ClassView) -> Filled:
    """With the end that is proposed. A role is never: which one is the least, no order of names tells."""
    return Filled(ends=choices(key_class)[0].value)


def new_request_id() -> str:
    """By what a form that is sent twice is known."""
    return secrets.token_urlsafe(18)


def read_filled(form: Form) -> Filled:
    """Whether it makes sense is not asked here."""
    return Filled(
        display_name=form["displayName"].strip(),
        description=form["description"].strip(),
        role=form["role"],
        scopes=tuple(dict.fromkeys([*form.all("scope"), *form["scopes"].replace(",", " ").split()])),
        ends=form["ends"],
        day=form["day"],
        name=form["name"].strip(),
    )


def to_new_key(filled: Filled, class_name: str, caller: Caller) -> NewKey:
    """What it asks for. Whoever is at a page makes keys of his own, also where he has signed in as a service account.

    Raises:
        ProblemError: if that is no key, naming the field.

    """
    asked: dict[str, Any] = {
        "name": filled.name,
        "displayName": filled.display_name,
        "description": filled.description,
        "className": class_name,
        "role": filled.role,
        "scopes": list(filled.scopes),
    }
    if caller.bounds is None and caller.user.startswith(SERVICE_ACCOUNT):
        asked["owner"] = {"user": caller.user}
    if filled.ends == ON_DATE:
        try:
            asked["expiresAt"] = format_instant(end_of(filled.day))
        except ValueError:
            raise ProblemError(422, "invalid_request", "Ends after: choose a date, or one of the others.") from None
    elif filled.ends != OPEN:
        asked["ttl"] = filled.ends
    try:
        return NewKey.model_validate({field: value for field, value in asked.items() if value})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)[0]
    label = _LABELS.get(str(found["loc"][0]) if found["loc"] else "", "The form")
    raise ProblemError(422, "invalid_request", f"{label}: {say_fault(found)}.")
