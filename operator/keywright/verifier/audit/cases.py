"""What an audit line tells of a request, read from what came with it."""

import re
from collections.abc import Sequence

from keywright.domain import plainkey
from keywright.domain.plainkey import PlainKey
from keywright.verifier.audit.audit import Audit, Case
from keywright.verifier.keys.credentials import Field
from keywright.verifier.keys.records import Entry
from keywright.verifier.rules.gate import RulesHolder
from keywright.verifier.rules.originals import Original
from keywright.verifier.verdicts import Refusal

__all__ = ["TRACEPARENT", "describe", "write"]

TRACEPARENT = b"traceparent"
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values, version 00 and what may come after it.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def describe(peer: str, original: Original | None, fields: Sequence[Field], holder: RulesHolder | None) -> Case:
    """The case of the request that ``original`` describes; ``None`` if nothing or too much did."""
    traces = [value for name, value in fields if name == TRACEPARENT]
    found = _TRACEPARENT.fullmatch(traces[0]) if len(traces) == 1 else None
    trace = found[1] if found is not None else None
    if original is None:
        return Case(peer, trace=trace)
    rule, rules = None, holder.rules if holder is not None else None
    if rules is not None and not isinstance(decision := rules.decide(original), Refusal):
        rule = decision[0].number if decision[0] is not None else None
    return Case(peer, original[0], original[1], rule, trace)


def write(audit: Audit, decided: Entry | Refusal | None, case: Case, fields: Sequence[Field]) -> None:
    """The line of a decision about a request that presented ``fields``."""
    # Of an allowed key everything is known already, and most are.
    audit.tell(decided, case, _find_presented(fields) if isinstance(decided, Refusal) else None)


def _find_presented(fields: Sequence[Field]) -> bytes | None:
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
