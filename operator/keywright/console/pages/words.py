"""What machines say, in plain words: conditions, events, and what to do after a refusal. Pure.

What is not known here is shown as it came: a newer operator may say more.
"""

import re
from collections.abc import Iterable

from keywright.console.service.views import ClassView, ConditionView, EventView

__all__ = ["carrier_of", "explain", "headline", "next_step", "tell"]

_CONDITIONS = {
    ("Ready", "True"): "What was asked for has been done.",
    ("Ready", "False"): "What was asked for has not been done.",
    ("Ready", "Unknown"): "The operator is at work, or has not looked yet.",
    ("Active", "True"): "Services accept the current key.",
    ("Active", "False"): "Services refuse the current key.",
    ("Active", "Unknown"): "There is no key yet that services could accept.",
    ("Expiring", "True"): "The current key ends soon: rotate it or make a new one.",
    ("Expiring", "False"): "The current key does not end soon.",
    ("Stalled", "True"): "A person has to act.",
    ("Stalled", "False"): "Nothing waits for a person.",
    ("SecretDelivered", "True"): "The current key lies in its Kubernetes Secret.",
    ("SecretDelivered", "False"): "The current key lies in no Kubernetes Secret.",
}

# False here is no fault: the Secret of a key that is shown once goes after that.
_WITHDRAWN = "The key was handed out once, and its Kubernetes Secret was removed after that."

_EVENTS = {
    "KeyIssued": "A key was issued",
    "KeyRotated": "A new key replaced the old one",
    "GracePeriodEnded": "The replaced key has ended",
    "OldKeyStillUsed": "Somebody still uses the replaced key",
    "ExpiresSoon": "The key ends soon",
    "KeyExpired": "The key has ended",
    "KeyRevoked": "The key was revoked",
    "KeySuspended": "The key was suspended",
    "KeyResumed": "The key was resumed",
    "SecretConflict": "A Secret of that name belongs to somebody else",
    "SecretRefused": "The Secret could not be written",
    "SecretMissing": "The Secret is missing",
    "SecretWithdrawn": "The Secret was removed after the key was handed out",
    "SecretAdopted": "An existing Secret was adopted",
    "InvalidSpec": "What was asked for is not possible",
    "ClassNotFound": "The class does not exist",
    "ClassNotAllowed": "The class is not allowed here",
    "LifetimeExceeded": "The class does not allow so long a life",
    "ScopeNotAllowed": "A scope is not allowed here",
    "RoleNotFound": "The class has no such role",
    "StatusTampered": "Somebody has changed the record of the key",
}

_HEADLINES = {
    "forbidden": "You may not do this",
    "insufficient_scope": "Your key may not do this",
    "not_found": "There is no such key",
    "already_exists": "That name is taken",
    "conflict": "It has changed meanwhile",
    "already_delivered": "The key was shown once",
    "invalid_request": "That is not possible",
    "rate_limited": "Too many requests",
    "timeout": "It took too long",
    "too_large": "That is too much",
    "unavailable": "The service cannot answer now",
}

_NEXT_STEPS = {
    "forbidden": "Ask whoever looks after the namespace for the right, or sign in as somebody who has it.",
    "insufficient_scope": "Sign in with a key that has the scope keys:manage, or with a Kubernetes token.",
    "not_found": "It may have been deleted, or it is not yours to see.",
    "already_exists": "Choose another name, or leave it empty.",
    "conflict": "Look at the key as it is now, then decide again.",
    "already_delivered": "If you did not keep it, rotate the key: the new one is shown once again.",
    "invalid_request": "Go back, correct it, and try again.",
    "rate_limited": "Wait a minute, then try again.",
    "timeout": "Look at the list of keys before you try again. If it stays so, tell the administrators.",
    "too_large": "Write less.",
    "unavailable": "Try again in a minute. If it stays so, tell the administrators.",
}


# How a sentence begins that tells somebody what to do.
_BIDDING = re.compile(r"(?:\A|[.:] )(?:Ask|Choose|Look|Make|Open|Resume|Sign in|Take|Try|Use|leave|choose) ")


def explain(condition: ConditionView) -> str:
    """One sentence for a condition."""
    if condition.type == "SecretDelivered" and condition.reason == "SecretWithdrawn":
        return _WITHDRAWN
    known = _CONDITIONS.get((condition.type, condition.status))
    return known if known is not None else f"{condition.type}: {condition.status}."


def tell(event: EventView) -> str:
    """A few words for an event."""
    return _EVENTS.get(event.reason, event.reason)


def headline(code: str) -> str:
    """What a page about a refusal is called."""
    return _HEADLINES.get(code, "That did not work")


def next_step(code: str, detail: str) -> str:
    """What a person does about it; nothing where the detail has said so already, which knows it better."""
    return "" if _BIDDING.search(detail) else _NEXT_STEPS.get(code, "Go back to the list of keys.")


def carrier_of(classes: Iterable[ClassView], name: str) -> str:
    """What stands before a key of this class in the header of a request, as in ``Authorization: Bearer``."""
    for each in classes:
        if each.name == name and each.headers and not each.schemes:
            return f"{each.headers[0]}:"
        if each.name == name and each.schemes:
            return f"Authorization: {each.schemes[0]}"
    return "Authorization: Bearer"
