"""Which key does a request present, and by which carrier?

A carrier is an Authorization scheme or a header that at least one accepted class names. The query string never
is one. A carrier that is repeated, and two carriers with different keys, leave it open which key is meant (and
which one a proxy or backend would look at), so they are refused before any key is looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keywright.verifier import verdicts
from keywright.verifier.keys.acceptance import Acceptance, Carrier
from keywright.verifier.verdicts import Refusal

__all__ = ["AUTHORIZATION", "Field", "Presented", "find_key"]

AUTHORIZATION = b"authorization"

Field = tuple[bytes, bytes]
"""A header field: name in lower case, value as received."""

_NOBODY: Carrier = {}


@dataclass(slots=True, eq=False)
class Presented:
    """A presented key, and the classes that accept one from where it was found. ``repr`` hides the key."""

    text: bytes
    carrier: Carrier

    def __repr__(self) -> str:
        return "Presented(…)"


def find_key(fields: Sequence[Field], acceptance: Acceptance) -> Presented | Refusal:
    """Find the one presented key among the credential fields of a request, in the order they came."""
    if len(fields) > 1 and len({name for name, _ in fields}) < len(fields):
        return verdicts.REPEATED_CREDENTIAL
    found, accepting = b"", _NOBODY
    for name, value in fields:
        if name == AUTHORIZATION:
            # RFC 9110 section 11.4. White space beyond the one space stays on the key: it is no part of one.
            scheme, _, text = value.partition(b" ")
            carrier = acceptance.schemes.get(scheme.lower())
        else:
            text, carrier = value, acceptance.headers.get(name)
        # Trailing white space is no part of a field value (RFC 9110 section 5.5).
        if text and text[-1] in b" \t":
            text = text.rstrip(b" \t")
        if carrier is None or not text:
            continue
        if not found:
            found, accepting = text, carrier
        elif found == text:
            accepting = {**accepting, **carrier}
        else:
            return verdicts.TWO_KEYS
    return Presented(found, accepting) if found else verdicts.MISSING
