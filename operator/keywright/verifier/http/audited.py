"""The verify endpoint with an audit line for each of its decisions."""

from collections.abc import Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from keywright.verifier.audit.audit import Audit, Case
from keywright.verifier.audit.cases import TRACEPARENT, describe, write
from keywright.verifier.http.request import Request
from keywright.verifier.http.verify_endpoint import VerifyEndpoint
from keywright.verifier.keys.credentials import Field
from keywright.verifier.rules.gate import RulesHolder
from keywright.verifier.rules.originals import HEADERS, Source, find_original

__all__ = ["AuditedEndpoint"]

_NOT_FOUND = b"HTTP/1.1 404 "


class AuditedEndpoint:
    """A handler before ``endpoint``, which has to watch :attr:`headers` too."""

    def __init__(self, endpoint: VerifyEndpoint, audit: Audit, source: Source, holder: RulesHolder | None) -> None:
        self._endpoint = endpoint
        self._audit = audit
        self._source = source
        self._holder = holder
        self._own = self.headers(source, holder)

    @staticmethod
    def headers(source: Source, holder: RulesHolder | None) -> frozenset[bytes]:
        """What is read for the audit alone, in lower case. Rules have the description of the request read anyway."""
        return frozenset({TRACEPARENT, *(HEADERS[source] if holder is None else ())})

    @property
    def watched(self) -> AbstractSet[bytes]:
        """The endpoint's."""
        return self._endpoint.watched

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """The endpoint's answer, of which a line is written."""
        fields = request.credentials
        # One field alone cannot be taken for a repeated credential, whatever it is.
        if len(fields) > 1:
            request.credentials = [each for each in fields if each[0] not in self._own]
        answer = self._endpoint.answer(request)
        if not isinstance(answer, bytes):
            return self._later(answer, self._describe(request, fields), fields)
        if not answer.startswith(_NOT_FOUND) and self._audit.wants(self._endpoint.decided, request.peer):
            write(self._audit, self._endpoint.decided, self._describe(request, fields), fields)
        return answer

    async def _later(self, answering: Coroutine[Any, Any, bytes], case: Case, fields: Sequence[Field]) -> bytes:
        answer = await answering
        # Nothing else has run since the endpoint decided: its last step and this one are the same turn of the loop.
        if self._audit.wants(self._endpoint.decided, case.peer):
            write(self._audit, self._endpoint.decided, case, fields)
        return answer

    def _describe(self, request: Request, fields: Sequence[Field]) -> Case:
        return describe(request.peer, find_original(self._source, request, fields), fields, self._holder)
