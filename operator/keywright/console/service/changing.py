"""Changes to keys that there are. Each is of exactly the object that was looked at."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from keywright.api.apikey import ROTATE_ANNOTATION, ROTATE_GRACE_ANNOTATION
from keywright.api.delivered import is_rotated, newly_stalled
from keywright.api.standing import read_standing
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.console.service.handing_over import Deadline, HandOver, read, refuse_stalled
from keywright.domain.apikey import Delivery, Status
from keywright.domain.plainkey import PlainKey
from keywright.domain.times import format_duration
from keywright.kube.resources import APIKEYS

__all__ = ["Changing"]

ENACTED = 2.0  # seconds
ATTEMPTS = 3


class Changing:
    """Changes keys as one caller. ``version`` is that of the key as the caller knows it, if he says.

    ``fence`` is for callers with bounds, and was asked about the key already: what hands a key out is done to the key
    as it was judged, and it is asked once more if somebody has changed the key since.
    """

    def __init__(self, acting: Acting, fence: Callable[[Manifest], Awaitable[None]] | None = None) -> None:
        self._acting = acting
        self._fence = fence
        self._hand_over = HandOver(acting)

    async def suspend(self, found: Manifest, version: str | None) -> Manifest:
        if found["spec"].get("suspended"):
            return _unchanged(found, version)
        return await self._observed(await self._patch(found, {"spec": {"suspended": True}}, version))

    async def resume(self, found: Manifest, version: str | None) -> Manifest:
        if found["spec"].get("revoked"):
            raise ProblemError(409, "conflict", "The key is revoked, which is for ever. Make a new one.")
        if not found["spec"].get("suspended"):
            return _unchanged(found, version)
        return await self._observed(await self._hand_out(found, {"spec": {"suspended": False}}, version))

    async def revoke(self, found: Manifest, reason: str | None, version: str | None = None) -> Manifest:
        if found["spec"].get("revoked"):
            return _unchanged(found, version)
        return await self._observed(await self.end(found, reason, version))

    async def end(self, found: Manifest, reason: str | None, version: str | None = None) -> Manifest:
        """Revoke, and do not wait for what the operator says to it."""
        stated = {"revocationReason": reason} if reason else {}
        return await self._patch(found, {"spec": {"revoked": True} | stated}, version)

    async def delete(self, found: Manifest, version: str | None) -> None:
        try:
            await self._acting.delete(APIKEYS, found, version=version)
        except ProblemError as problem:
            raise _or_outdated(problem, version) from None

    async def rotate(
        self, found: Manifest, grace: timedelta | None, version: str | None
    ) -> tuple[Manifest, PlainKey | None]:
        """The key with a new one beside the old; the new one itself where it is delivered once.

        Raises:
            ProblemError: if that cannot be, or takes too long; the rotation may go on all the same.

        """
        before = _check_rotatable(found)
        # A value that no one can have written before: with the same one nothing would happen.
        value = datetime.now(UTC).isoformat()
        # Taken away where none is asked for, or the grace of a former rotation would hold for this one as well.
        annotations = {
            ROTATE_ANNOTATION: value,
            ROTATE_GRACE_ANNOTATION: format_duration(grace) if grace is not None else None,
        }
        deadline = Deadline()
        asked = await self._hand_out(found, {"metadata": {"annotations": annotations}}, version)

        def look(found: Manifest, status: Status) -> bool:
            if (found["metadata"].get("annotations") or {}).get(ROTATE_ANNOTATION) != value:
                raise ProblemError(409, "conflict", "The key is being rotated by somebody else too. Look at it.")
            if newly_stalled(status, before) is not None:
                refuse_stalled(status)
            return is_rotated(status, value)

        late = "The operator has not rotated the key in time; it may do so yet."
        asked = await self._hand_over.until(asked, look, deadline, late)
        if read(asked)[0].delivery is not Delivery.ONCE:
            return asked, None
        plain = await self._hand_over.take(asked, deadline)
        metadata = asked["metadata"]
        return await self._acting.get(APIKEYS, metadata["namespace"], metadata["name"]), plain

    async def _observed(self, changed: Manifest) -> Manifest:
        """Give the operator a moment to say what has become of it. The change holds without that, too."""

        def is_observed(found: Manifest, _: Status) -> bool:
            return bool((found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"])

        try:
            return await self._hand_over.until(changed, is_observed, Deadline(ENACTED), "")
        except ProblemError:
            return changed

    async def _hand_out(self, found: Manifest, changes: Manifest, version: str | None) -> Manifest:
        # A version that was guessed may be one that the key gets only after it was judged.
        found = _unchanged(found, version)
        if self._fence is None or version is not None:
            return await self._patch(found, changes, version)
        for _ in range(ATTEMPTS):
            metadata = found["metadata"]
            try:
                return await self._acting.patch(APIKEYS, found, changes, version=metadata["resourceVersion"])
            except ProblemError as problem:
                if problem.code != "conflict":
                    raise
                conflict = problem
            found = await self._acting.get(APIKEYS, metadata["namespace"], metadata["name"])
            if found["metadata"]["uid"] != metadata["uid"]:
                break
            await self._fence(found)
        raise conflict

    async def _patch(self, found: Manifest, changes: Manifest, version: str | None) -> Manifest:
        try:
            return await self._acting.patch(APIKEYS, found, changes, version=version)
        except ProblemError as problem:
            raise _or_outdated(problem, version) from None


def _unchanged(found: Manifest, version: str | None) -> Manifest:
    if version not in (None, found["metadata"]["resourceVersion"]):
        raise _outdated()
    return found


def _or_outdated(problem: ProblemError, version: str | None) -> ProblemError:
    return _outdated() if problem.status == 409 and version is not None else problem


def _outdated() -> ProblemError:
    return ProblemError(412, "conflict", "The key was changed since you looked at it. Look again.")


def _check_rotatable(found: Manifest) -> Status:
    _, status = read(found)
    standing = read_standing(found, {}, datetime.now(UTC))
    if standing.is_over:
        raise ProblemError(409, "conflict", "The key has ended for ever. Make a new one.")
    if found["spec"].get("suspended"):
        raise ProblemError(409, "conflict", "The key is suspended. Resume it first.")
    if status.current_key_id is None:
        raise ProblemError(409, "conflict", "There is no key yet that could be rotated.")
    return status
