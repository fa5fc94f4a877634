"""What can be done to a key, in the words of the pages that ask whether it shall be. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from keywright.console.service.views import KeyView

__all__ = ["GRACES", "Action", "Verb", "action_of", "actions_for", "notice_of"]


class Verb(StrEnum):
    """The last part of the address."""

    ROTATE = "rotate"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """``label`` is on the button, ``consequence`` is said before, ``notice`` after."""

    verb: Verb
    label: str
    consequence: str
    notice: str
    is_dangerous: bool = False


GRACES = (
    ("", "as long as the key or its class says"),
    ("0s", "not at all: it ends now"),
    ("1h", "1 hour"),
    ("1d", "1 day"),
    ("7d", "7 days"),
)

_ACTIONS = {
    each.verb: each
    for each in (
        Action(
            verb=Verb.ROTATE,
            label="Rotate",
            consequence="A new key is made. The old one works on for a while, so that whoever uses it can change over.",
            notice="The key is being rotated. The new one is delivered into its Kubernetes Secret.",
        ),
        Action(
            verb=Verb.SUSPEND,
            label="Suspend",
            consequence="Services refuse the key at once, until it is resumed.",
            notice="The key is suspended: services refuse it until it is resumed.",
        ),
        Action(
            verb=Verb.RESUME,
            label="Resume",
            consequence="Services accept the key again.",
            notice="The key is resumed: services accept it again.",
        ),
        Action(
            verb=Verb.REVOKE,
            label="Revoke",
            consequence="Services refuse the key at once and for ever. There is no way back.",
            notice="The key is revoked: services refuse it for ever.",
            is_dangerous=True,
        ),
        Action(
            verb=Verb.DELETE,
            label="Delete",
            consequence="Services refuse the key at once, and its record is gone. Revoking keeps the record.",
            notice="The key is deleted.",
            is_dangerous=True,
        ),
    )
}


def action_of(verb: Verb) -> Action:
    """What it means to people."""
    return _ACTIONS[verb]


def actions_for(key: KeyView) -> list[Action]:
    """Those that make sense for this key. Whether the caller may is for the API server to say."""
    if key.revoked or key.is_over:
        return [_ACTIONS[Verb.DELETE]]
    pause = Verb.RESUME if key.suspended else Verb.SUSPEND
    return [_ACTIONS[each] for each in (Verb.ROTATE, pause, Verb.REVOKE, Verb.DELETE)]


def notice_of(done: str) -> str:
    """What is said after an action; nothing for what is none."""
    return _ACTIONS[Verb(done)].notice if done in _ACTIONS else ""
