"""What stands before the verdict on a key: which request it is about, and what that one needs."""

from collections.abc import Sequence
from typing import Protocol

from keywright.verifier import verdicts
from keywright.verifier.credentials import Field
from keywright.verifier.needs import ANY_KEY, Need
from keywright.verifier.originals import HEADERS, Source, find_original
from keywright.verifier.request import Request
from keywright.verifier.rules import Rules, decide
from keywright.verifier.verdicts import Refusal

__all__ = ["Gate", "RulesHolder"]


class RulesHolder(Protocol):
    """Where the newest rules are; ``None`` for as long as there are none."""

    @property
    def rules(self) -> Rules | None: ...


class Gate:
    """Without a rules file (``holder`` is ``None``) any live key passes, whatever the request."""

    def __init__(self, source: Source, holder: RulesHolder | None) -> None:
        self._source = source
        self._holder = holder
        self.headers = frozenset(HEADERS[source] if holder is not None else ())
        """What has to be read of a request beside its credentials, in lower case."""

    def need(self, request: Request, fields: Sequence[Field]) -> Need | Refusal:
        """What a request needs. ``fields`` holds the :attr:`headers` that it has."""
        if self._holder is None:
            return ANY_KEY
        rules = self._holder.rules
        if rules is None:
            return verdicts.NO_RULES
        decision = decide(rules, find_original(self._source, request, fields))
        return decision if isinstance(decision, Refusal) else decision[1]
