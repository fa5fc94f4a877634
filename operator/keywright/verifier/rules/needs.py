"""What a request needs beyond being well-formed: nothing, a live key, or a key that may do certain things."""

from dataclasses import dataclass, field, replace
from functools import lru_cache

from keywright.verifier import verdicts
from keywright.verifier.keys.rights import Permits
from keywright.verifier.owners.rights import Right
from keywright.verifier.verdicts import Refusal

__all__ = ["ANONYMOUS", "ANY_KEY", "AS_OWNER", "NOBODY", "NOT_UNDERSTOOD", "Need", "add_scopes"]

_KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Need:
    """All of ``scopes`` and any of ``roles`` (none named: whatever the role), and ``right`` of the key's owner.

    ``is_done_as_owner``: what is asked for is done with the owner's rights, so the API server judges them then.

    ``refusal`` is what even the best key gets; it is told to live keys only, so that nobody else learns of the rules.
    """

    is_anonymous: bool = False
    refusal: Refusal | None = None
    scopes: tuple[str, ...] = ()
    roles: frozenset[str] = field(default_factory=frozenset)
    right: Right | None = None
    is_done_as_owner: bool = False

    def judge(self, permits: Permits) -> Refusal | None:
        """Whether a key that may do this much meets the need; ``None`` if it does, but for ``right``, which takes the
        API server to tell.
        """
        if self.refusal is not None:
            return self.refusal
        if permits.needs_owner and self.right is None and not self.is_done_as_owner:
            return verdicts.OWNER_NOT_ASKED
        for scope in self.scopes:
            if not permits.grants(scope):
                return verdicts.INSUFFICIENT_SCOPE
        if self.roles and permits.role not in self.roles:
            return verdicts.INSUFFICIENT_ROLE
        return None


ANY_KEY = Need()
AS_OWNER = Need(is_done_as_owner=True)
ANONYMOUS = Need(is_anonymous=True)
NOBODY = Need(refusal=verdicts.FORBIDDEN)
NOT_UNDERSTOOD = Need(refusal=verdicts.ODD_QUERY)


@lru_cache(_KEPT)
def add_scopes(need: Need, scopes: tuple[str, ...]) -> Need:
    """The same need and these scopes as well, which only a key can have. Proxies ask for the same few each time."""
    return replace(need, is_anonymous=False, scopes=tuple(dict.fromkeys((*need.scopes, *scopes))))
