"""The vocabulary of refusals (DESIGN section 7): one value for each thing a client can be told.

A refusal is a constant, chosen by the engine and turned into bytes by :mod:`keywright.verifier.http.answers`. Its
texts are fixed, so no byte of a request can come back in an answer.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "AMBIGUOUS",
    "BUSY",
    "EXPIRED",
    "FORBIDDEN",
    "INSUFFICIENT_ROLE",
    "INSUFFICIENT_SCOPE",
    "INVALID",
    "LIMITS_UNKNOWN",
    "MALFORMED_MISTYPED",
    "MALFORMED_PREFIX",
    "MALFORMED_WHITE_SPACE",
    "MISSING",
    "NOT_A_CALLER",
    "NOT_IN_SYNC",
    "NO_ORIGINAL",
    "NO_RULES",
    "ODD_QUERY",
    "OWNER_MAY_NOT",
    "OWNER_NOT_ASKED",
    "OWNER_UNKNOWN",
    "RATE_LIMITED",
    "REFUSALS",
    "REPEATED_CREDENTIAL",
    "REVOKED",
    "SUSPENDED",
    "TWO_KEYS",
    "Code",
    "Refusal",
]


class Code(StrEnum):
    """The verdict in one word: ``code`` of a problem body and label of a metric."""

    ALLOWED = "allowed"
    MISSING_KEY = "missing_key"
    INVALID_REQUEST = "invalid_request"
    MALFORMED_KEY = "malformed_key"
    INVALID_KEY = "invalid_key"
    EXPIRED_KEY = "expired_key"
    REVOKED_KEY = "revoked_key"
    SUSPENDED_KEY = "suspended_key"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refusal:
    """One refusal. ``reason`` tells those of one ``code`` apart, in metrics. ``error`` is the attribute of its
    challenge (RFC 6750 section 3.1), ``None`` for a challenge without one; ``is_challenged`` says whether it has a
    challenge at all.
    """

    code: Code
    reason: str
    status: int
    detail: str
    error: str | None = None
    is_challenged: bool = True
    retry_after: int | None = None


def _bad_token(code: Code, reason: str, detail: str) -> Refusal:
    return Refusal(code=code, reason=reason, status=401, detail=detail, error="invalid_token")


MISSING = Refusal(
    code=Code.MISSING_KEY,
    reason="missing",
    status=401,
    detail="No API key was presented. Send it in one of the challenged Authorization schemes.",
)
TWO_KEYS = Refusal(
    code=Code.INVALID_REQUEST,
    reason="two_keys",
    status=400,
    detail="Two different keys were presented. Send one.",
    error="invalid_request",
)
REPEATED_CREDENTIAL = Refusal(
    code=Code.INVALID_REQUEST,
    reason="repeated_credential",
    status=400,
    detail="A header that carries a key was sent more than once. Send it once.",
    error="invalid_request",
)
ODD_QUERY = Refusal(
    code=Code.INVALID_REQUEST,
    reason="odd_query",
    status=400,
    detail="The query of /verify takes scope=NAME and deny=nginx and nothing else. Correct the proxy's configuration.",
    error="invalid_request",
)
NO_ORIGINAL = Refusal(
    code=Code.INVALID_REQUEST,
    reason="no_original",
    status=400,
    detail="The proxy did not say exactly once which request this is about. Correct the proxy's configuration.",
    error="invalid_request",
)
AMBIGUOUS = Refusal(
    code=Code.INVALID_REQUEST,
    reason="ambiguous",
    status=400,
    detail="The path or host of the request can be read in more than one way. Send it in its plain form.",
    error="invalid_request",
)
MALFORMED_PREFIX = _bad_token(
    Code.MALFORMED_KEY,
    "malformed_prefix",
    "This is not a key of a class that is accepted here: it has the prefix of another class.",
)
MALFORMED_MISTYPED = _bad_token(
    Code.MALFORMED_KEY,
    "malformed_mistyped",
    "This is not an API key: it is truncated or mistyped. Copy it again, whole.",
)
MALFORMED_WHITE_SPACE = _bad_token(
    Code.MALFORMED_KEY,
    "malformed_white_space",
    "The API key has surrounding white space. Remove it and send the key alone.",
)
INVALID = _bad_token(Code.INVALID_KEY, "invalid", "This API key is not known here.")
EXPIRED = _bad_token(Code.EXPIRED_KEY, "expired", "This API key has expired.")
REVOKED = _bad_token(Code.REVOKED_KEY, "revoked", "This API key has been revoked.")
SUSPENDED = _bad_token(Code.SUSPENDED_KEY, "suspended", "This API key is suspended.")
INSUFFICIENT_SCOPE = Refusal(
    code=Code.INSUFFICIENT_SCOPE,
    reason="insufficient_scope",
    status=403,
    detail="This API key does not have the scope that is required here.",
    error="insufficient_scope",
)
INSUFFICIENT_ROLE = Refusal(
    code=Code.INSUFFICIENT_SCOPE,
    reason="insufficient_role",
    status=403,
    detail="This API key does not have a role that is required here.",
    error="insufficient_scope",
)
# No other key would do, so there is nothing that a challenge could ask for (RFC 6750 section 3.1 has no such error).
FORBIDDEN = Refusal(
    code=Code.FORBIDDEN, reason="forbidden", status=403, detail="This request is allowed to nobody here."
)
OWNER_NOT_ASKED = Refusal(
    code=Code.FORBIDDEN,
    reason="owner_not_asked",
    status=403,
    detail="What keys of this class may do is up to the rights of their owners, which are not asked for here.",
)
OWNER_MAY_NOT = Refusal(
    code=Code.FORBIDDEN,
    reason="owner_may_not",
    status=403,
    detail="This request takes a right in the cluster that the owner of this API key does not have.",
)
NOT_A_CALLER = Refusal(
    code=Code.FORBIDDEN,
    reason="not_a_caller",
    status=403,
    detail="This API key is not among those that may introspect others here.",
)
RATE_LIMITED = Refusal(
    code=Code.RATE_LIMITED,
    reason="rate_limited",
    status=429,
    detail="A rate limit of this API key is used up. RateLimit says which, Retry-After says when to try again.",
    is_challenged=False,
)
NOT_IN_SYNC = Refusal(
    code=Code.UNAVAILABLE,
    reason="not_in_sync",
    status=503,
    detail="The verifier is not in sync with the cluster and does not guess. Try again later.",
    is_challenged=False,
    retry_after=5,
)
NO_RULES = Refusal(
    code=Code.UNAVAILABLE,
    reason="no_rules",
    status=503,
    detail="The verifier has no rules yet and does not guess. Try again later.",
    is_challenged=False,
    retry_after=5,
)
BUSY = Refusal(
    code=Code.UNAVAILABLE,
    reason="busy",
    status=503,
    detail="Too many keys are being checked for the first time. Try again in a moment.",
    is_challenged=False,
    retry_after=1,
)
LIMITS_UNKNOWN = Refusal(
    code=Code.UNAVAILABLE,
    reason="limits_unknown",
    status=503,
    detail="The rate limits cannot be looked up at the moment. Try again in a moment.",
    is_challenged=False,
    retry_after=1,
)
OWNER_UNKNOWN = Refusal(
    code=Code.UNAVAILABLE,
    reason="owner_unknown",
    status=503,
    detail="The rights of the owner of this API key cannot be looked up at the moment. Try again in a moment.",
    is_challenged=False,
    retry_after=1,
)

REFUSALS = (
    MISSING,
    TWO_KEYS,
    REPEATED_CREDENTIAL,
    ODD_QUERY,
    NO_ORIGINAL,
    AMBIGUOUS,
    MALFORMED_PREFIX,
    MALFORMED_MISTYPED,
    MALFORMED_WHITE_SPACE,
    INVALID,
    EXPIRED,
    REVOKED,
    SUSPENDED,
    INSUFFICIENT_SCOPE,
    INSUFFICIENT_ROLE,
    FORBIDDEN,
    OWNER_NOT_ASKED,
    OWNER_MAY_NOT,
    NOT_A_CALLER,
    RATE_LIMITED,
    NOT_IN_SYNC,
    NO_RULES,
    BUSY,
    LIMITS_UNKNOWN,
    OWNER_UNKNOWN,
)
"""Every refusal there is, so that answers can be prepared for all of them."""
