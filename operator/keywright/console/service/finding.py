"""From what a caller names to the ApiKey that is meant, if he may know of it.

What is not his to see answers exactly as what does not exist.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keywright.api.finding import LONGEST, has_id, is_name, is_uid, owned_by
from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.domain.names import NAMESPACE
from keywright.domain.plainkey import ID_LENGTH
from keywright.kube.resources import APIKEYS

__all__ = ["Cursor", "Finder", "nothing"]

SCANS = 10
"""Pages of the API server that one page of ours may take: a filter that nothing passes shall not read all."""


def nothing() -> ProblemError:
    """There is no such key or namespace, or none that the caller may know of."""
    return ProblemError(404, "not_found", "There is no such key or namespace here. Look at the list of keys.")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list goes on: a page of the API server, and how much of it was shown."""

    token: str = ""
    skip: int = 0

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.token, self.skip]).encode()).decode("ascii").rstrip("=")

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """Raises ProblemError for what is none of ours."""
        if text is None:
            return cls()
        try:
            padded = (text + "=" * (-len(text) % 4)).encode("ascii")
            token, skip = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error, RecursionError):
            token, skip = None, None
        if not isinstance(token, str) or type(skip) is not int or not 0 <= skip <= 1000 or not token.isprintable():
            raise ProblemError(422, "invalid_request", "cursor: take it from the answer before, or leave it out.")
        return cls(token, skip)


class Finder:
    """Looks as one caller."""

    def __init__(self, acting: Acting, caller: Caller, serves: Callable[[str], bool]) -> None:
        self._acting = acting
        self._caller = caller
        self._serves = serves

    def check_namespace(self, namespace: str) -> None:
        """Refuse what is no namespace, is not served, or is not that of the key that asks.

        Raises:
            ProblemError: 404, if it is one.

        """
        bounds = self._caller.bounds
        is_one = NAMESPACE.fullmatch(namespace) is not None and self._serves(namespace)
        if not is_one or (bounds is not None and bounds.namespace != namespace):
            raise nothing()

    async def find(self, namespace: str, reference: str) -> Manifest:
        """The ApiKey of that name, or the one with that key id or UID.

        Raises:
            ProblemError: if there is none that the caller may know of, or if it is the name of one and the id of
                another: who names a key by its id shall not get one that somebody has called so.

        """
        self.check_namespace(namespace)
        # What is too long for a name may well be a plain key, which is sent nowhere.
        if len(reference) > LONGEST:
            raise nothing()
        if is_uid(reference):
            found = await self._search(namespace, reference)
            if found is not None:
                return found
        named = await self._acting.find(APIKEYS, namespace, reference) if is_name(reference) else None
        named = named if named is not None and self.may_see(named) else None
        if len(reference) != ID_LENGTH or not (reference.isascii() and reference.isalnum()):
            if named is None:
                raise nothing()
            return named
        try:
            found = await self._search(namespace, reference)
        except ProblemError as problem:
            # Who may get but not list knows keys by their names only.
            if named is None or problem.status != 403:
                raise
            return named
        if named is not None and found is not None and named["metadata"]["uid"] != found["metadata"]["uid"]:
            raise ProblemError(409, "conflict", "This is the name of one key and the id of another. Give the UID.")
        either = named if named is not None else found
        if either is None:
            raise nothing()
        return either

    def may_see(self, found: Manifest) -> bool:
        """Whether it is no secret that there is such a key. A key knows of its owner's keys only."""
        owner = (found["spec"].get("owner") or {}).get("user")
        return self._caller.bounds is None or owner == self._caller.user

    def selector(self, owner: str | None) -> str | None:
        """The field selector of the keys that may be seen, of one owner if he is named."""
        if self._caller.bounds is not None:
            owner = self._caller.user
        return owned_by(owner) if owner is not None else None

    async def page(
        self, namespace: str, *, owner: str | None, limit: int, cursor: Cursor, wanted: Callable[[Manifest], Any]
    ) -> tuple[list[Manifest], Cursor | None]:
        """At most ``limit`` of the ApiKeys that ``wanted`` picks, and where it goes on."""
        self.check_namespace(namespace)
        if self._caller.bounds is not None and owner not in (None, self._caller.user):
            return [], None
        picked: list[Manifest] = []
        token, skip = cursor.token, cursor.skip
        for _ in range(SCANS):
            page = await self._acting.page(APIKEYS, namespace, selector=self.selector(owner), limit=limit, after=token)
            for place, each in enumerate(page["items"] or ()):
                if place < skip or not wanted(each):
                    continue
                if len(picked) == limit:
                    return picked, Cursor(token, place)
                picked.append(each)
            token, skip = page["metadata"].get("continue") or "", 0
            if not token:
                return picked, None
            if len(picked) == limit:
                break
        return picked, Cursor(token)

    async def _search(self, namespace: str, wanted: str) -> Manifest | None:
        async for each in self._acting.all(APIKEYS, namespace, selector=self.selector(None)):
            if has_id(each, wanted):
                return each
        return None
