"""Callers by a Kubernetes token: the API server says whose it is (TokenReview)."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keywright.console.callers.caller import Caller
from keywright.console.callers.people import person
from keywright.console.problems import ProblemError, as_problem
from keywright.kube.client import ApiClient
from keywright.kube.errors import ApiError, ForbiddenError
from keywright.kube.resources import TOKENREVIEWS

__all__ = ["Tokens"]

KEEP_SECONDS = 10.0
MOST_KEPT = 1024
MOST_AT_ONCE = 16
LONGEST = 16 * 1024

# OpenShift hands out tokens that may do less than their user, and says so here. Acting as the user would widen them.
_RESTRICTIONS = "scopes.authorization.openshift.io"
_UNRESTRICTED = {"user:full"}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Whose a token is."""

    user: str
    groups: tuple[str, ...]
    is_restricted: bool


Answer = Reviewed | None
"""``None`` for a token that is nobody's."""


class Tokens:
    """Asks whose a token is. An answer is remembered for ten seconds, under a keyed digest and never the token."""

    def __init__(self, client: ApiClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._digest_key = secrets.token_bytes(32)
        # Apart from one another, or whoever sends many that are nobody's would have the others' reviewed each time.
        self._known: dict[bytes, tuple[float, Answer]] = {}
        self._unknown: dict[bytes, tuple[float, Answer]] = {}
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def identify(self, token: str) -> Caller:
        """The caller whose token this is.

        Raises:
            ProblemError: 401 if it is nobody's, or not any more; 403 if he is none to act for; 503 if nobody can tell.

        """
        if not 0 < len(token) <= LONGEST:
            raise _refused()
        digest = hashlib.blake2b(token.encode("utf-8", "surrogateescape"), key=self._digest_key).digest()
        until, answer = self._known.get(digest) or self._unknown.get(digest) or (0.0, None)
        if self._clock() >= until:
            answer = await self._review(token)
            self._keep(digest, answer)
        if answer is None:
            raise _refused()
        if answer.is_restricted:
            raise ProblemError(
                403,
                "forbidden",
                "This token may do less than its user, whom the key service would act as. Use another.",
            )
        return person(answer.user, answer.groups)

    async def _review(self, token: str) -> Answer:
        manifest = {"apiVersion": TOKENREVIEWS.api_version, "kind": "TokenReview", "spec": {"token": token}}
        try:
            async with self._turns:
                found = await self._client.create(TOKENREVIEWS, None, manifest)
        except ForbiddenError:
            raise ProblemError(
                503,
                "unavailable",
                "The key service may not ask whose a token is. Bind the ClusterRole keywright-console to its account.",
            ) from None
        except ApiError as error:
            raise as_problem(error) from None
        return _read(found)

    def _keep(self, digest: bytes, answer: Answer) -> None:
        for kept in (self._known, self._unknown):
            kept.pop(digest, None)
        kept = self._known if answer is not None else self._unknown
        while len(kept) >= MOST_KEPT:
            del kept[next(iter(kept))]
        kept[digest] = (self._clock() + KEEP_SECONDS, answer)


def _read(review: dict[str, Any]) -> Answer:
    status = review.get("status") or {}
    user = status.get("user") or {}
    if status.get("authenticated") is not True or not user.get("username"):
        return None
    restrictions = (user.get("extra") or {}).get(_RESTRICTIONS) or ()
    return Reviewed(
        str(user["username"]), tuple(map(str, user.get("groups") or ())), not set(restrictions) <= _UNRESTRICTED
    )


def _refused() -> ProblemError:
    return ProblemError(
        401,
        "invalid_key",
        "This token is nobody's here, or has expired. Get a new one and try again.",
        {"WWW-Authenticate": 'Bearer realm="keywright", error="invalid_token"'},
    )
