"""Where there are rules: which request is this about, and what does that one need?"""

from collections.abc import Sequence
from typing import Protocol

from keywright.verifier import verdicts
from keywright.verifier.keys.credentials import Field
from keywright.verifier.rules.needs import Need
from keywright.verifier.rules.originals import HEADERS, Head, Original, Source, find_original
from keywright.verifier.rules.rules import Rules
from keywright.verifier.verdicts import Refusal

__all__ = ["Gate", "RulesHolder"]


class RulesHolder(Protocol):
    """Where the newest rules are; ``None`` for as long as there are none."""

    @property
    def rules(self) -> Rules | None: ...


class Gate:
    """Holds the rules of the moment against what the proxy says of a request."""

    def __init__(self, source: Source, holder: RulesHolder) -> None:
        self._source = source
        self._holder = holder
        self.headers = frozenset(HEADERS[source])
        """What has to be read of a request beside its credentials, in lower case."""

    def need(self, request: Head, fields: Sequence[Field]) -> Need | Refusal:
        """What the request needs that a request to the verifier is about. ``fields`` holds its :attr:`headers`."""
        return self.decide(find_original(self._source, request, fields))

    def decide(self, original: Original | None) -> Need | Refusal:
        """What an original request needs; ``None`` for one that was not described."""
        rules = self._holder.rules
        if rules is None:
            return verdicts.NO_RULES
        if original is None:
            return verdicts.NO_ORIGINAL
        decision = rules.decide(original)
        return decision if isinstance(decision, Refusal) else decision[1]

    def credentials(self, fields: list[Field]) -> list[Field]:
        """The fields without those that describe the request, which present no key."""
        return [each for each in fields if each[0] not in self.headers] if self.headers else fields
