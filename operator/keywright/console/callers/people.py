"""Whom the service may act for, and by which name: never for whoever runs the cluster, whoever vouches for him."""

from collections.abc import Iterable

from keywright.console.callers.caller import Bounds, Caller
from keywright.console.problems import ProblemError

__all__ = ["SERVICE_ACCOUNT", "person"]

SERVICE_ACCOUNT = "system:serviceaccount:"
_SYSTEM = "system:"
_MASTERS = "system:masters"
_AUTHENTICATED = "system:authenticated"
# Subjects of keys without an owner, which nobody may pass for.
_KEY_SUBJECT = "apikey:"


def person(user: str, groups: Iterable[str] = (), bounds: Bounds | None = None) -> Caller:
    """The caller of this name, as the API server is told it: it adds ``system:authenticated`` itself, and the groups of
    an account, for which it takes no others.

    Raises:
        ProblemError: 403 for a part of the cluster itself, for ``system:masters``, and for what no header carries.

    """
    member_of = tuple(dict.fromkeys(groups))
    if _MASTERS in member_of:
        raise ProblemError(
            403, "forbidden", "The key service acts for nobody of system:masters. Use kubectl, or another account."
        )
    is_account = user.startswith(SERVICE_ACCOUNT)
    if user.startswith((_SYSTEM, _KEY_SUBJECT)) and not is_account:
        raise ProblemError(403, "forbidden", "The key service acts for people and service accounts only.")
    kept = () if is_account else tuple(each for each in member_of if each != _AUTHENTICATED)
    if not all(map(_is_plain, (user, *kept))):
        raise ProblemError(403, "forbidden", "The key service cannot act for a user or group with such a name.")
    return Caller(user=user, groups=kept, bounds=bounds)


def _is_plain(name: str) -> bool:
    return bool(name) and name.isprintable() and name == name.strip()
