"""The one who asks, as Kubernetes shall know him, and what holds him back beyond his rights."""

from dataclasses import dataclass
from datetime import datetime

__all__ = ["MANAGE", "READ", "Bounds", "Caller"]

# The scopes by which a key may ask here.
READ = "keys:read"
MANAGE = "keys:manage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a caller by key is held to, whatever its owner may do: it never hands out more than it has itself.

    ``scopes`` are patterns, with those that they include. ``expires_at`` is ``None`` for a key without an end.
    """

    namespace: str
    name: str
    key_id: str
    class_name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    may_manage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """``user`` and ``groups`` as they are impersonated: without ``system:authenticated``, which the API server adds,
    and for service accounts without their own groups, which it adds too. ``bounds`` is ``None`` for people and
    accounts, who may do what they may do with kubectl.
    """

    user: str
    groups: tuple[str, ...] = ()
    bounds: Bounds | None = None

    def __str__(self) -> str:
        """As the log calls him."""
        return f"{self.user} by key {self.bounds.namespace}/{self.bounds.name}" if self.bounds else self.user
