"""Callers by what a front proxy says of them: only where the other end of the connection is that proxy."""

import ipaddress
from collections.abc import Sequence

from keywright.console.callers.caller import Caller
from keywright.console.callers.people import person
from keywright.console.problems import ProblemError
from keywright.console.settings import ConsoleSettings, Network
from keywright.verifier.keys.credentials import Field

__all__ = ["FrontProxy"]

_SYSTEM = "system:"


class FrontProxy:
    """Reads the configured headers. Where the peer is none of the proxies they are no more than any other header."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._networks = settings.proxy_from
        self._user = _bytes(settings.proxy_user_header)
        self._groups = _bytes(settings.proxy_groups_header)

    def identify(self, peer: str | None, fields: Sequence[Field]) -> Caller | None:
        """The caller that the proxy names; ``None`` if it names nobody, or is not the proxy.

        Raises:
            ProblemError: 400 if it says two things, 403 for a name that no proxy may vouch for.

        """
        if self._user is None or not is_within(peer, self._networks):
            return None
        users = [value for name, value in fields if name == self._user]
        if len(users) > 1:
            raise ProblemError(
                400, "invalid_request", "The front proxy named more than one user. Correct its settings."
            )
        if not users or not users[0]:
            return None
        said = [value for name, value in fields if self._groups is not None and name == self._groups]
        user = _text(users[0])
        groups = [each.strip() for value in said for each in _text(value).split(",") if each.strip()]
        if any(each.startswith(_SYSTEM) for each in (user, *groups)):
            raise ProblemError(
                403, "forbidden", "A front proxy cannot vouch for users and groups of the cluster itself."
            )
        return person(user, groups)


def is_within(peer: str | None, networks: Sequence[Network]) -> bool:
    """Whether an address is of one of these networks, also when it is written as an IPv6 address."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any(each is not None and each in network for network in networks for each in (address, mapped))


def _bytes(name: str | None) -> bytes | None:
    return name.encode("ascii") if name is not None else None


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ProblemError(400, "invalid_request", "The front proxy named somebody in no UTF-8. Correct it.") from None
