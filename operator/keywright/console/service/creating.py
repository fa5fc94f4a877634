"""Making a key: an ApiKey that is delivered once, its key taken and its Secret gone, or nothing at all."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.console.service.asking import Mark, default_owner, is_as_asked, mark, to_manifest
from keywright.console.service.fences import Fitted
from keywright.console.service.finding import Finder
from keywright.console.service.handing_over import ALREADY_DELIVERED, Deadline, HandOver
from keywright.console.service.refusals import UnansweredError
from keywright.domain.plainkey import PlainKey
from keywright.kube.resources import APIKEYS

__all__ = ["Creating", "Made"]

logger = logging.getLogger(__name__)

# Seconds before each attempt to take back what was made, when the API server is away.
ATTEMPTS = (0.0, 0.5, 2.0, 5.0, 10.0, 30.0, 60.0)
# How often what was made is looked at anew before it is deleted: the operator changes it meanwhile, too.
LOOKS = 10


@dataclass(frozen=True, slots=True)
class Made:
    """A new ApiKey, and its key."""

    found: Manifest
    plain: PlainKey


class Creating:
    """Makes keys as one caller. ``undoing`` outlives the request, with what it still has to take back."""

    def __init__(self, acting: Acting, caller: Caller, finder: Finder, undoing: set[asyncio.Task[None]]) -> None:
        self._undoing = undoing
        self._acting = acting
        self._caller = caller
        self._finder = finder
        self._hand_over = HandOver(acting)

    async def create(
        self,
        namespace: str,
        fitted: Fitted,
        idempotency_key: str | None,
        check_last: Callable[[], Awaitable[None]],
    ) -> Made:
        """Make it. Whatever fails, or is cancelled, after the ApiKey was made, takes it back; so does ``check_last``,
        which is asked before the key is handed out.

        Raises:
            ProblemError: if it cannot be made, or was made and shown before.

        """
        new = fitted.new
        marked = mark(self._caller, namespace, fitted.asked, idempotency_key)
        name = new.name or marked.name
        manifest = to_manifest(new, name, default_owner(self._caller), marked, fitted.rate_limits)
        deadline = Deadline()
        # A task of its own: a request that is cancelled would leave open whether something was made.
        posting = asyncio.create_task(self._post(namespace, manifest, marked))
        try:
            made = await asyncio.shield(posting)
            if made is None:
                issued = await self._repeat(namespace, manifest, marked, deadline)
            else:
                issued = await self._deliver(made, deadline)
            await check_last()
        except BaseException as error:
            if idempotency_key is not None and isinstance(error, ProblemError) and error.code == ALREADY_DELIVERED:
                # The same request, repeated, has been the first to take the key.
                error.headers["Location"] = f"/v1/namespaces/{namespace}/keys/{name}"
                raise
            undo = self._undo_repeatable if idempotency_key is not None else self._undo
            undoing = asyncio.create_task(undo(namespace, name, marked, posting))
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            # One attempt is waited for, so that nothing is left behind by the time that the caller hears of it.
            await asyncio.wait({undoing}, timeout=5)
            raise
        return issued

    async def take_back(self, made: Made) -> None:
        """Delete what was made: its key has reached nobody."""
        await self._remove(made.found)

    async def _post(self, namespace: str, manifest: Manifest, marked: Mark) -> Manifest | None:
        """The new ApiKey; ``None`` if this request was made before."""
        name = manifest["metadata"]["name"]
        try:
            return await self._acting.create(APIKEYS, namespace, manifest)
        except ProblemError as problem:
            if problem.code != "already_exists":
                raise
            exists = problem
        found = await self._acting.find(APIKEYS, namespace, name)
        if found is not None and self._finder.may_see(found):
            if marked.is_on(found):
                return None
            if marked.is_of_same_asker(found):
                raise ProblemError(
                    422, "invalid_request", "This Idempotency-Key was used with another body. Use a new one."
                )
        raise exists

    async def _repeat(self, namespace: str, manifest: Manifest, marked: Mark, deadline: Deadline) -> Made:
        found = await self._acting.get(APIKEYS, namespace, manifest["metadata"]["name"])
        if not marked.is_on(found) or found["metadata"].get("deletionTimestamp"):
            raise ProblemError(409, "conflict", "The first of these requests has failed. Try again.")
        if not is_as_asked(found, manifest):
            raise ProblemError(
                409, "conflict", "The key was changed before it was delivered. Use a new Idempotency-Key."
            )
        return await self._deliver(found, deadline)

    async def _deliver(self, made: Manifest, deadline: Deadline) -> Made:
        plain = await self._hand_over.take(made, deadline)
        metadata = made["metadata"]
        return Made(await self._acting.get(APIKEYS, metadata["namespace"], metadata["name"]), plain)

    async def _undo(self, namespace: str, name: str, marked: Mark, posting: "asyncio.Task[Manifest | None]") -> None:
        """Take back what this request has made, as soon as there is an API server."""
        is_known = True
        try:
            await posting
        except UnansweredError:
            is_known = False
        except ProblemError:
            return
        refused: ProblemError | None = None
        for pause in ATTEMPTS:
            await asyncio.sleep(pause)
            try:
                found = await self._acting.find(APIKEYS, namespace, name)
                if found is not None and marked.is_on(found):
                    await self._remove(found)
            except ProblemError as problem:
                # An API server that has just started refuses what it will allow when it knows all roles.
                refused = problem
                continue
            if found is not None or is_known:
                return
            # The request may still arrive.
            refused = None
        if refused is not None:
            logger.error("%s/%s was not delivered, and could not be taken back: %s", namespace, name, refused.detail)

    async def _undo_repeatable(
        self, namespace: str, name: str, marked: Mark, posting: "asyncio.Task[Manifest | None]"
    ) -> None:
        """Take back what this request has made, at once or not at all: who repeats it goes on with what is there. What
        a repetition has taken the key of, or has made itself, is left alone.
        """
        try:
            made = await posting
            if made is None:
                return
            found = await self._acting.find(APIKEYS, namespace, name)
            if found is None or found["metadata"]["uid"] != made["metadata"]["uid"] or not marked.is_on(found):
                return
            if self._hand_over.has_taken or not await self._hand_over.is_taken(found):
                await self._remove(found)
        except ProblemError:
            return

    async def _remove(self, found: Manifest) -> None:
        """End it, unless somebody else has revoked it: that he has, and why, shall not be lost."""
        metadata = found["metadata"]
        for _ in range(LOOKS):
            if found["spec"].get("revoked"):
                return
            try:
                await self._delete_or_revoke(found)
            except ProblemError as problem:
                if problem.code != "conflict":
                    raise
                refused = problem
            else:
                return
            again = await self._acting.find(APIKEYS, metadata["namespace"], metadata["name"])
            if again is None or again["metadata"]["uid"] != metadata["uid"]:
                return
            found = again
        raise refused

    async def _delete_or_revoke(self, found: Manifest) -> None:
        version = found["metadata"]["resourceVersion"]
        try:
            await self._acting.delete(APIKEYS, found, version=version)
        except ProblemError as problem:
            if problem.code != "forbidden":
                raise
            # Who may make keys may not always delete them; revoking is as good.
            stated = {"revoked": True, "revocationReason": "it was not delivered to who asked for it"}
            await self._acting.patch(APIKEYS, found, {"spec": stated}, version=version)
