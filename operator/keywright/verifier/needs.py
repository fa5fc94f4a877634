"""What a request needs beyond being well-formed: nothing, a live key, or a key that may do certain things."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from keywright.verifier import verdicts
from keywright.verifier.rights import Permits
from keywright.verifier.verdicts import Refusal

__all__ = ["ANONYMOUS", "ANY_KEY", "NOBODY", "Access", "Need"]


class Access(StrEnum):
    """Who may make a request."""

    ANONYMOUS = "anonymous"
    KEY = "key"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Need:
    """All of ``scopes`` and any of ``roles`` (none named: whatever the role)."""

    access: Access = Access.KEY
    scopes: tuple[str, ...] = ()
    roles: frozenset[str] = field(default_factory=frozenset)

    def with_scopes(self, scopes: Sequence[str]) -> "Need":
        """The same and these scopes as well, which a key has to have."""
        access = Access.KEY if self.access is Access.ANONYMOUS else self.access
        return replace(self, access=access, scopes=tuple(dict.fromkeys((*self.scopes, *scopes))))

    def judge(self, permits: Permits) -> Refusal | None:
        """Whether a key that may do this much meets the need; ``None`` if it does."""
        if permits.needs_owner:
            return verdicts.OWNER_NOT_ASKED
        if self.access is Access.NOBODY:
            return verdicts.FORBIDDEN
        for scope in self.scopes:
            if not permits.grants(scope):
                return verdicts.INSUFFICIENT_SCOPE
        if self.roles and permits.role not in self.roles:
            return verdicts.INSUFFICIENT_ROLE
        return None


ANY_KEY = Need()
ANONYMOUS = Need(access=Access.ANONYMOUS)
NOBODY = Need(access=Access.NOBODY)
