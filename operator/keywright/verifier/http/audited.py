"""The verify endpoint with an audit line for each of its decisions."""

import re
from collections.abc import Coroutine, Sequence
from typing import Any

from keywright.domain import plainkey
from keywright.domain.plainkey import PlainKey
from keywright.verifier.audit.audit import Audit, Case
from keywright.verifier.http.request import Request
from keywright.verifier.http.verify_endpoint import VerifyEndpoint
from keywright.verifier.http.watched import Watched
from keywright.verifier.keys.credentials import Field
from keywright.verifier.rules.gate import RulesHolder
from keywright.verifier.rules.originals import HEADERS, Source, find_original
from keywright.verifier.verdicts import Refusal

__all__ = ["TRACEPARENT", "AuditedEndpoint"]

TRACEPARENT = b"traceparent"
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values, version 00 and what may come after it.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NOT_FOUND = b"HTTP/1.1 404 "


class AuditedEndpoint:
    """A handler before ``endpoint``, which has to watch :attr:`headers` too."""

    def __init__(self, endpoint: VerifyEndpoint, audit: Audit, source: Source, holder: RulesHolder | None) -> None:
        self._endpoint = endpoint
        self._audit = audit
        self._source = source
        self._holder = holder

    @staticmethod
    def headers(source: Source, holder: RulesHolder | None) -> frozenset[bytes]:
        """What is read for the audit alone, in lower case. Rules have the request told anyway."""
        return frozenset({TRACEPARENT, *(HEADERS[source] if holder is None else ())})

    @property
    def watched(self) -> Watched:
        """The endpoint's."""
        return self._endpoint.watched

    def answer(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """The endpoint's answer, of which a line is written."""
        fields = request.credentials
        answer = self._endpoint.answer(request)
        if not isinstance(answer, bytes):
            return self._later(answer, self._describe(request), fields)
        if not answer.startswith(_NOT_FOUND) and self._audit.wants(self._endpoint.decided, request.peer):
            self._tell(self._describe(request), fields)
        return answer

    async def _later(self, answering: Coroutine[Any, Any, bytes], case: Case, fields: Sequence[Field]) -> bytes:
        answer = await answering
        # Nothing else has run since the endpoint decided: its last step and this one are the same turn of the loop.
        if self._audit.wants(self._endpoint.decided, case.peer):
            self._tell(case, fields)
        return answer

    def _tell(self, case: Case, fields: Sequence[Field]) -> None:
        decided = self._endpoint.decided
        # Of an allowed key everything is known already, and most are.
        self._audit.tell(decided, case, _presented(fields) if isinstance(decided, Refusal) else None)

    def _describe(self, request: Request) -> Case:
        traces = [value for name, value in request.told if name == TRACEPARENT]
        found = _TRACEPARENT.fullmatch(traces[0]) if len(traces) == 1 else None
        trace = found[1] if found is not None else None
        original = find_original(self._source, request)
        if original is None:
            return Case(request.peer, trace=trace)
        rule, rules = None, self._holder.rules if self._holder is not None else None
        if rules is not None and not isinstance(decision := rules.decide(original), Refusal):
            rule = decision[0].number if decision[0] is not None else None
        return Case(request.peer, original[0], original[1], rule, trace)


def _presented(fields: Sequence[Field]) -> bytes | None:
    """The id of the one well-formed key that was presented, if there was one."""
    key_ids = {key_id for each in fields if (key_id := _key_id(each)) is not None}
    return key_ids.pop() if len(key_ids) == 1 else None


def _key_id(field: Field) -> bytes | None:
    """The id of a well-formed key in a header, after a scheme or alone. Nothing else of it is kept."""
    text = field[1].rstrip(b" \t").rpartition(b" ")[2]
    if len(text) > plainkey.MAX_LENGTH:
        return None
    parsed = plainkey.parse(text.decode("utf-8", "replace"))
    return parsed.key_id.encode("ascii") if isinstance(parsed, PlainKey) else None
