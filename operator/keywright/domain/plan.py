"""What a decision is made from, and what it says: the one value that was gathered, and the one next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keywright.domain.apikey import Status
from keywright.domain.delivery import Ours, SecretView
from keywright.domain.keyclass import KeyClass

__all__ = ["WRITER_PATIENCE", "Action", "Deliver", "Fence", "Observed", "Plan", "Propose", "Withdraw"]

WRITER_PATIENCE = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was found, gathered in one value. ``held`` and ``has_fenced`` say what this very pass has done:
    the id of the Pending record whose plain key it holds, and whether it has fenced the Secret it sees.
    """

    generation: int
    is_deleted: bool = False
    key_class: KeyClass | None
    status: Status
    secret: SecretView
    held: str | None = None
    has_fenced: bool = False
    duplicate_of: str | None = None
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
class Withdraw:
    """Remove our Secret, and only the one with this UID."""

    uid: str


Action = Propose | Deliver | Fence | Withdraw


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
