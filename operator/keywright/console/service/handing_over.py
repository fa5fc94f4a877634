"""Waiting for a key that is delivered once, and taking it: to one of those who ask, and then its Secret is gone."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from keywright.api.apikey import read_spec
from keywright.api.delivered import Delivered, Doubt, NotYet, Undeliverable, WhyNot, judge_delivery, stalled, take_key
from keywright.api.status import read_status
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting, Manifest
from keywright.domain.apikey import InvalidSpec, KeySpec, Status
from keywright.domain.delivery import ACKNOWLEDGED_ANNOTATION
from keywright.domain.plainkey import PlainKey, redact
from keywright.domain.reasons import Reason
from keywright.kube.resources import APIKEYS, SECRETS

__all__ = ["ALREADY_DELIVERED", "Deadline", "HandOver", "read"]

SECONDS = 20.0
PAUSES = (0.05, 0.1, 0.2, 0.3)
ALREADY_DELIVERED = "already_delivered"
# What stands in the way is the caller's to mend, but not by another body.
_FORBIDDEN = (Reason.CLASS_NOT_ALLOWED, Reason.SCOPE_NOT_ALLOWED)
_CONFLICTING = (Reason.SECRET_CONFLICT, Reason.SECRET_REFUSED, Reason.SECRET_MISSING)

# An argon2 run takes the memory that the class says, so few run at a time.
_proving = ThreadPoolExecutor(2, thread_name_prefix="proving")


class Deadline:
    """How long one request may wait for others."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._until = time.monotonic() + seconds
        self._looks = 0

    async def pause(self, what: str) -> None:
        """Wait a little. Raises ProblemError once it is too late."""
        if time.monotonic() > self._until:
            raise ProblemError(504, "timeout", f"{what} Try again, and if it stays so tell the administrators.")
        await asyncio.sleep(PAUSES[min(self._looks, len(PAUSES) - 1)])
        self._looks += 1


class HandOver:
    """Waits for keys as one caller. ``has_taken``: a key was acknowledged, so nobody else gets it."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self.has_taken = False

    async def until(
        self, found: Manifest, look: Callable[[Manifest, Status], bool], deadline: Deadline, late: str
    ) -> Manifest:
        """The ApiKey once ``look`` says so. It raises, or this does when the time is over."""
        metadata = found["metadata"]
        while not look(found, read(found)[1]):
            await deadline.pause(late)
            found = await self._acting.get(APIKEYS, metadata["namespace"], metadata["name"])
            if found["metadata"]["uid"] != metadata["uid"]:
                raise ProblemError(409, "conflict", "The key was deleted and made anew meanwhile. Look at it.")
        return found

    async def take(self, found: Manifest, deadline: Deadline) -> PlainKey:
        """The plain key, when it is delivered, acknowledged by nobody else, and its Secret gone.

        Raises:
            ProblemError: if it cannot be had.

        """
        found = await self.until(found, _is_delivered, deadline, "The operator has not delivered the key in time.")
        while True:
            spec, status = read(found)
            name = status.secret_name or spec.secret_name
            secret = await self._acting.find(SECRETS, found["metadata"]["namespace"], name)
            if secret is None:
                raise await self._gone(found)
            taken = await asyncio.get_running_loop().run_in_executor(
                _proving, take_key, secret, spec.secret_key, status
            )
            if isinstance(taken, PlainKey):
                self.has_taken = await self._acknowledge(secret, taken.key_id)
                if self.has_taken:
                    await self._await_absence(secret, deadline)
                    return taken
            elif taken is not Doubt.NOT_CURRENT:
                raise ProblemError(
                    409,
                    "conflict",
                    "The Secret does not hold what was issued: somebody has changed it. Revoke the key.",
                )
            await deadline.pause("The Secret of the key keeps changing.")
            metadata = found["metadata"]
            found = await self._acting.get(APIKEYS, metadata["namespace"], metadata["name"])

    async def is_taken(self, found: Manifest) -> bool:
        """Whether somebody has acknowledged the key of this ApiKey."""
        spec, status = read(found)
        if status.secret_uid is None:
            return False
        name = status.secret_name or spec.secret_name
        secret = await self._acting.find(SECRETS, found["metadata"]["namespace"], name)
        return secret is None or ACKNOWLEDGED_ANNOTATION in (secret["metadata"].get("annotations") or {})

    async def _gone(self, found: Manifest) -> ProblemError:
        """Why there is no Secret any more: with a key that was ended its Secret goes too, and nobody has had it."""
        metadata = found["metadata"]
        now = await self._acting.find(APIKEYS, metadata["namespace"], metadata["name"])
        if now is None or now["metadata"]["uid"] != metadata["uid"] or now["spec"].get("revoked"):
            return _ended()
        return _already()

    async def _acknowledge(self, secret: Manifest, key_id: str) -> bool:
        """Whether it is ours to hand out. Of several who ask, one is the first; the version tells which."""
        metadata = secret["metadata"]
        if (metadata.get("annotations") or {}).get(ACKNOWLEDGED_ANNOTATION) == key_id:
            raise _already()
        change = {"metadata": {"annotations": {ACKNOWLEDGED_ANNOTATION: key_id}}}
        try:
            await self._acting.patch(SECRETS, secret, change, version=metadata["resourceVersion"])
        except ProblemError as problem:
            if problem.status not in (404, 409):
                raise
            return False
        return True

    async def _await_absence(self, secret: Manifest, deadline: Deadline) -> None:
        metadata = secret["metadata"]
        while True:
            found = await self._acting.find(SECRETS, metadata["namespace"], metadata["name"])
            if found is None or found["metadata"]["uid"] != metadata["uid"]:
                return
            await deadline.pause("The operator has not removed the Secret of the key in time.")


def read(found: Manifest) -> tuple[KeySpec, Status]:
    """Spec and status as the domain has them.

    Raises:
        ProblemError: if one of them cannot be read.

    """
    spec, status = read_spec(found), read_status(found)
    if isinstance(spec, InvalidSpec):
        raise ProblemError(409, "conflict", redact(spec.message))
    if status is None:
        raise ProblemError(409, "conflict", "The status of the key cannot be read. Tell the administrators.")
    return spec, status


def refuse_stalled(status: Status) -> None:
    """Raises ProblemError with what somebody has to mend before anything more happens, if there is something."""
    problem = stalled(status)
    if problem is None:
        return
    if problem.reason in _FORBIDDEN:
        number, code = 403, "forbidden"
    elif problem.reason in _CONFLICTING:
        number, code = 409, "conflict"
    else:
        number, code = 422, "invalid_request"
    raise ProblemError(number, code, redact(problem.message))


def _is_delivered(found: Manifest, status: Status) -> bool:
    match judge_delivery(found, status):
        case Delivered():
            return True
        case NotYet():
            return False
        case Undeliverable(why=WhyNot.WITHDRAWN):
            raise _already()
        case Undeliverable(why=WhyNot.STALLED):
            refuse_stalled(status)
            return False
        case Undeliverable():
            raise _ended()


def _ended() -> ProblemError:
    return ProblemError(409, "conflict", "The key has ended before it was delivered.")


def _already() -> ProblemError:
    return ProblemError(
        409, ALREADY_DELIVERED, "The key was shown once and is not shown again. If it is lost, rotate or revoke it."
    )
