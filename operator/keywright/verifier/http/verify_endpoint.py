"""``/verify``: from a request head to what is judged, and to the bytes of an answer."""

import time
from collections.abc import Callable, Collection, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any

from keywright.verifier.http.request import Request
from keywright.verifier.http.responses import Dater, problem
from keywright.verifier.judgement import Judge
from keywright.verifier.keys.acceptance import Acceptance
from keywright.verifier.keys.credentials import AUTHORIZATION
from keywright.verifier.keys.records import Entry
from keywright.verifier.rules.gate import Gate
from keywright.verifier.rules.needs import ANY_KEY, NOT_UNDERSTOOD, add_scopes
from keywright.verifier.rules.queries import PLAIN, read_query
from keywright.verifier.verdicts import Refusal

__all__ = ["VerifyEndpoint"]

_VERIFY = b"/verify"
_BELOW = b"/verify/"
_WITH_QUERY = b"/verify?"
_NOT_FOUND = problem(404)


class VerifyEndpoint:
    """The handler of the verify listener. It serves ``/verify`` and nothing else."""

    def __init__(
        self,
        judge: Judge[bytes],
        gate: Gate | None,
        dater: Dater,
        *,
        also_watched: Collection[bytes] = (),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._judge = judge
        self._gate = gate
        self._dater = dater
        self._wall_clock = wall_clock
        self._always = {AUTHORIZATION, *(gate.headers if gate is not None else ()), *also_watched}
        self._watched = set(self._always)

    @property
    def decided(self) -> Entry | Refusal | None:
        """What the newest answer was about (:attr:`Judge.decided`)."""
        return self._judge.decided

    @property
    def watched(self) -> AbstractSet[bytes]:
        """The headers that may carry a key or the original request. One set for good, so that open connections see it
        change.
        """
        return self._watched

    def publish(self, acceptance: Acceptance) -> None:
        """Judge by other classes from the next request on."""
        self._judge.publish(acceptance)
        self._watched.clear()
        self._watched |= self._always | set(acceptance.headers)

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """Answer a request, at once unless its key has to be proven first."""
        target, asked, need = request.target, PLAIN, ANY_KEY
        # Taken from the request, which lives as long as its connection: no presented key stays behind.
        fields, request.credentials = request.credentials, []
        if target != _VERIFY and not target.startswith(_BELOW):
            if not target.startswith(_WITH_QUERY):
                return self._dater.complete(_NOT_FOUND, self._wall_clock())
            # Only here has the proxy's configuration written the query; below, the client may have.
            asked = read_query(target[len(_WITH_QUERY) :])
        now = self._wall_clock()
        if self._gate is not None:
            found = self._gate.need(request, fields)
            if isinstance(found, Refusal):
                return self._judge.refuse(found, asked, now)
            need, fields = found, self._gate.credentials(fields)
        if not asked.is_understood:
            need = NOT_UNDERSTOOD
        elif asked.scopes:
            need = add_scopes(need, asked.scopes)
        return self._judge.judge(fields, need, asked, now)
