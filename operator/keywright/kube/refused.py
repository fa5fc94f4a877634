"""What the API server says in a refusal, without what it says round it. Pure: its answer in, text out.

The text may quote names and values of the object that was sent. Of an ApiKey it is for whoever sent it; of a Secret it
is for nobody.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Answer", "causes_in", "message_in", "policy_message", "refused_user"]

Answer = Mapping[str, Any]
"""The ``Status`` object that comes with a refusal."""

_USER = re.compile(r'User "([^"]+)" cannot ')
_POLICY = re.compile(r"ValidatingAdmissionPolicy '.+?' with binding '.+?' denied request: (.+)", re.DOTALL)


def message_in(answer: Answer | None) -> str:
    """The message, or nothing if there is none."""
    return str((answer or {}).get("message") or "")


def policy_message(message: str) -> str | None:
    """What a ValidatingAdmissionPolicy says itself, if one has refused, without the preamble that names it."""
    denied = _POLICY.search(message)
    return denied[1] if denied is not None else None


def causes_in(answer: Answer | None) -> str:
    """The causes of an invalid object, by field, without the preamble that repeats the object."""
    causes = ((answer or {}).get("details") or {}).get("causes") or ()
    return "; ".join(f"{each.get('field', '')}: {each.get('message', '')}".removeprefix(": ") for each in causes)


def refused_user(message: str) -> str | None:
    """Who lacks a right, if that is what the message says."""
    user = _USER.search(message)
    return user[1] if user is not None else None
