"""Which keys a page of the table shows: one's own first, then what still works, the newest first."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from keywright.console.service.keys import KeyService
from keywright.console.service.views import KeyView

__all__ = ["STATUSES", "Asked", "Listing", "gather", "read_asked"]

OLD_KEY_IN_USE = "old key in use"
STATUSES = ("Active", "Expiring", OLD_KEY_IN_USE, "Pending", "Suspended", "Failed", "Expired", "Revoked")
ROWS = 50
# How many keys are looked through for one page, so that a search reads no more than a few lists of the API server.
MOST = 1000
_PAGE = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the filters say."""

    text: str = ""
    status: str = ""
    owner: str = ""
    mine: bool = False
    page: int = 1

    @property
    def is_narrow(self) -> bool:
        """Whether anything is left out."""
        return bool(self.text or self.status or self.owner or self.mine)

    def address(self, namespace: str, page: int) -> str:
        """Of another page of the same."""
        fields = {"namespace": namespace, "q": self.text, "status": self.status, "owner": self.owner}
        fields |= {"mine": "1" if self.mine else "", "page": str(page)}
        return "/?" + urlencode({name: value for name, value in fields.items() if value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page. ``total`` counts what matches; ``is_cut`` says that not all keys were looked through."""

    keys: tuple[KeyView, ...]
    total: int
    first: int
    last: int
    previous: str | None
    next: str | None
    is_cut: bool

    @property
    def is_partial(self) -> bool:
        """Whether there are others than those shown."""
        return self.is_cut or self.total > len(self.keys)


def read_asked(query: Mapping[str, str]) -> Asked:
    """What cannot be read is left out."""
    page = query.get("page", "1")
    return Asked(
        text=query.get("q", "").strip()[:64],
        status=query["status"] if query.get("status") in STATUSES else "",
        owner=query.get("owner", "").strip()[:253],
        mine=query.get("mine") == "1",
        page=int(page) if _PAGE.fullmatch(page) else 1,
    )


async def gather(service: KeyService, namespace: str, user: str, asked: Asked) -> Listing:
    """The page that was asked for.

    Raises:
        ProblemError: as the service does.

    """
    found: dict[str, KeyView] = {}
    owners = [user] if asked.mine else [asked.owner] if asked.owner else [user, None]
    is_cut = False
    for owner in owners:
        is_cut = await _collect(service, namespace, owner, found)
    chosen = _arranged((each for each in found.values() if _matches(each, asked)), user)
    pages = max(1, -(-len(chosen) // ROWS))
    page = min(asked.page, pages)
    shown = chosen[(page - 1) * ROWS : page * ROWS]
    return Listing(
        keys=tuple(shown),
        total=len(chosen),
        first=(page - 1) * ROWS + 1,
        last=(page - 1) * ROWS + len(shown),
        previous=asked.address(namespace, page - 1) if page > 1 else None,
        next=asked.address(namespace, page + 1) if page < pages else None,
        is_cut=is_cut,
    )


async def _collect(service: KeyService, namespace: str, owner: str | None, found: dict[str, KeyView]) -> bool:
    """Read until there is no more, or enough; whether it was cut short."""
    cursor = None
    seen = 0
    while True:
        page = await service.list(namespace, owner=owner, cursor=cursor)
        found.update((each.uid, each) for each in page.items)
        seen += len(page.items)
        cursor = page.next
        if cursor is None:
            return False
        if seen >= MOST:
            return True


def _matches(key: KeyView, asked: Asked) -> bool:
    if asked.status == OLD_KEY_IN_USE:
        if OLD_KEY_IN_USE not in key.status:
            return False
    elif not key.status.startswith(asked.status):
        return False
    wanted = asked.text.casefold()
    told = (
        key.display_name,
        key.name,
        key.description,
        key.owner.user if key.owner else "",
        *(each.id for each in key.keys),
    )
    return any(wanted in each.casefold() for each in told)


def _arranged(keys: Iterable[KeyView], user: str) -> list[KeyView]:
    newest_first = sorted(keys, key=lambda each: each.created_at, reverse=True)
    return sorted(newest_first, key=lambda each: (each.owner is None or each.owner.user != user, each.is_over))
