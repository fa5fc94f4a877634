"""What a decision is made from, and what it says: the one value that was gathered, and the one next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keywright.domain.apikey import Status
from keywright.domain.delivery import Ours, OwnerReference, SecretFacts, SecretView
from keywright.domain.entitlement import Labels
from keywright.domain.keyclass import KeyClass

__all__ = [
    "WRITER_PATIENCE",
    "Action",
    "Adopt",
    "Claim",
    "Deliver",
    "Fence",
    "Observed",
    "Plan",
    "Propose",
    "Render",
    "Withdraw",
]

WRITER_PATIENCE = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was found, gathered in one value. ``owner`` is the ApiKey. ``namespace_labels`` are ``None`` while they are
    not known. ``held``, ``has_fenced`` and ``is_refused`` say what this very pass has done: the id of the Pending
    record whose plain key it holds, whether it has fenced the Secret it sees, and whether the API server refused to
    have a delivered Secret changed. ``is_resting``: it was put right so often of late that it is left for a while.
    """

    owner: OwnerReference
    generation: int
    is_deleted: bool = False
    key_class: KeyClass | None
    namespace_labels: Labels = None
    status: Status
    secret: SecretView
    held: str | None = None
    has_fenced: bool = False
    is_refused: bool = False
    is_resting: bool = False
    duplicate_of: str | None = None
    taken_by: str | None = None
    """Another ApiKey with the id of the key in somebody's Secret; only told apart once ``knows_all``."""
    knows_all: bool = True
    """Whether every ApiKey there is has been seen."""
    uses: Mapping[str, datetime] = field(default_factory=dict)
    """What verifiers report: the last use of each key, by id."""


@dataclass(frozen=True, slots=True)
class Propose:
    """(a) Mint a plain key and record its hash as Pending, instead of any Pending there was."""

    key_class: KeyClass


@dataclass(frozen=True, slots=True)
class Deliver:
    """(b) Put the held plain key into the Secret: create it, or update exactly the version that was read."""

    into: Ours | None


@dataclass(frozen=True, slots=True)
class Fence:
    """Make any other writer's delivery conflict: create the Secret empty, or touch the version that was read."""

    touch: Ours | None


@dataclass(frozen=True, slots=True)
class Render:
    """Make the Secret what is asked for by now, around the current key that lies in it."""

    secret: Ours


@dataclass(frozen=True, slots=True)
class Claim:
    """Mark somebody's Secret as adopted by this ApiKey, at exactly the version that was read."""

    facts: SecretFacts


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record the key in the claimed Secret as Current, with a hash made anew."""

    facts: SecretFacts


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Remove our Secret, and only the one with this UID. Of a live key only the version that was read: another key may
    be delivered into it meanwhile. Of one that has ended whatever is in it.
    """

    uid: str
    version: str | None = None


Action = Propose | Deliver | Fence | Render | Claim | Adopt | Withdraw


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next step. ``status`` (if it differs) is written before ``action`` is taken; ``wake_at`` is when
    the passing of time alone calls for another look. Neither status nor action: nothing is to be done.
    """

    status: Status | None = None
    action: Action | None = None
    wake_at: datetime | None = None

    @property
    def is_noop(self) -> bool:
        return self.status is None and self.action is None
