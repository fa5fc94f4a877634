"""All keys of one owner, wherever they are: for whoever looks after people who come and go."""

from dataclasses import dataclass

from keywright.api.finding import owned_by
from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.console.service.changing import Changing
from keywright.kube.resources import APIKEYS

__all__ = ["Outcome", "Owners"]


LOOKS = 10
"""As often the keys of an owner are listed until there is none more to revoke: somebody may never stop making them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one key of several; ``problem`` is ``None`` if it is revoked now."""

    namespace: str
    name: str
    problem: ProblemError | None = None


class Owners:
    """Looks as one caller. ``namespaces`` are those that are served, ``None`` for all of the cluster."""

    def __init__(self, acting: Acting, caller: Caller, namespaces: tuple[str, ...] | None) -> None:
        self._acting = acting
        self._caller = caller
        self._changing = Changing(acting)
        self._places: list[str | None] = [None] if namespaces is None else [*sorted(namespaces)]
        if caller.bounds is not None:
            self._places = [caller.bounds.namespace]

    async def find(self, owner: str) -> list[Manifest]:
        """The ApiKeys of an owner wherever the caller may list them.

        Raises:
            ProblemError: 403, if he may nowhere.

        """
        found, refusals = await self._look(owner)
        if len(refusals) == len(self._places):
            raise refusals[0]
        return found

    async def revoke(self, owner: str, reason: str | None) -> tuple[Outcome, ...]:
        """Revoke every key of an owner that is not revoked yet, or none if the caller may not list them all: who has
        left shall have no key left that nobody looked at. Nor one that another of his keys has made meanwhile.

        Raises:
            ProblemError: 403, if he may not.

        """
        own = self._caller.bounds.name if self._caller.bounds is not None else None
        outcomes: dict[str, Outcome] = {}
        for _ in range(LOOKS):
            found, refusals = await self._look(owner)
            if refusals:
                raise refusals[0]
            left = [each for each in found if not each["spec"].get("revoked") and _uid(each) not in outcomes]
            # The key that asks comes last, or the others would be left; after that it can look no more.
            for each in sorted(left, key=lambda each: each["metadata"]["name"] == own):
                outcomes[_uid(each)] = await self._revoke(each, reason)
            if not left or own is not None:
                break
        return tuple(outcomes.values())

    async def _look(self, owner: str) -> tuple[list[Manifest], list[ProblemError]]:
        """The ApiKeys of an owner, and the refusals of places whose ApiKeys the caller may not list."""
        found: list[Manifest] = []
        refusals: list[ProblemError] = []
        if self._caller.bounds is not None and owner != self._caller.user:
            return found, refusals
        for place in self._places:
            try:
                found += [each async for each in self._acting.all(APIKEYS, place, selector=owned_by(owner))]
            except ProblemError as problem:
                if problem.status != 403:
                    raise
                refusals.append(problem)
        return found, refusals

    async def _revoke(self, found: Manifest, reason: str | None) -> Outcome:
        namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
        try:
            await self._changing.end(found, reason)
        except ProblemError as problem:
            # Whoever has deleted it meanwhile has ended it as well.
            if problem.status != 404:
                return Outcome(namespace=namespace, name=name, problem=problem)
        return Outcome(namespace=namespace, name=name)


def _uid(found: Manifest) -> str:
    return str(found["metadata"]["uid"])
