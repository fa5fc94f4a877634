"""What the API server refused, translated at the border.

Only the HTTP status and the machine-readable reason are kept. A response body may quote the object that was
sent, and that object may be a Secret. Who acts as somebody else keeps what was said to him of other objects, for him.
"""

import re
from collections.abc import Mapping
from typing import Any

from keywright.errors import KeywrightError

__all__ = [
    "ApiError",
    "ApiUnavailableError",
    "ConflictError",
    "ForbiddenError",
    "GoneError",
    "ImpersonationError",
    "NotFoundError",
    "QuietError",
    "from_response",
    "is_about_impersonation",
]


Answer = Mapping[str, Any]


class ApiError(KeywrightError):
    """The API server refused a request. ``status`` is the HTTP status, ``reason`` Kubernetes' own word. ``answer``
    is its ``Status`` object, for nobody but the one who asked, and no part of the text of this error.
    """

    def __init__(self, status: int, reason: str, what: str, answer: Answer | None = None) -> None:
        answered = f"answered {status} {reason}" if status else f"did not answer ({reason})"
        super().__init__(f"{what}: the API server {answered}")
        self.status = status
        self.reason = reason
        self.answer = answer

    @property
    def is_refusal(self) -> bool:
        """Whether the same request would be refused again until somebody changes something."""
        return self.status in (400, 401, 403, 413, 422)


class NotFoundError(ApiError):
    """404: no such object, or no such resource type."""


class ConflictError(ApiError):
    """409: the resourceVersion is not the newest, or the object exists already."""


class GoneError(ApiError):
    """410: a watch asked for a version that the API server no longer has."""


class ForbiddenError(ApiError):
    """401 or 403: this identity may not."""


class ImpersonationError(ForbiddenError):
    """403: this identity may not act as somebody else, or not for this. Nothing was asked of the other's rights."""


class ApiUnavailableError(ApiError):
    """The API server could not be reached, timed out, or asked to be left alone for a while."""


class QuietError(ApiError):
    """A watch brought nothing for longer than bookmarks take. The API server may be gone, or may have had nothing to
    say: whoever watches asks anew, and learns which.
    """

    def __init__(self, what: str) -> None:
        super().__init__(0, "Quiet", what)
        self._what = what

    def __str__(self) -> str:
        return f"{self._what}: nothing came for a while"


# As the API server words it, with the verbs of KEP-5284 or the older one. Names in it are quoted and escaped, so nobody
# can be called so that his own refusal reads like this.
_MAY_NOT_IMPERSONATE = re.compile(
    r'(?:[^" ]+ (?:"(?:[^"\\]|\\.)*" )?is )?forbidden: User "(?:[^"\\]|\\.)*" cannot impersonate\b'
)


def from_response(status: int, reason: str, what: str, answer: Answer | None = None) -> ApiError:
    """The exception for one refused request; ``what`` is verb and path, ``answer`` the ``Status`` object if whoever
    asked may have it.
    """
    kinds: dict[int, type[ApiError]] = {
        401: ForbiddenError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        410: GoneError,
    }
    kind = kinds.get(status, ApiUnavailableError if status >= 500 or status == 429 else ApiError)
    return kind(status, reason, what, answer)


def is_about_impersonation(status: int, answer: Answer | None) -> bool:
    """Whether a refusal is about acting as somebody else, and not about what he may do."""
    return status == 403 and _MAY_NOT_IMPERSONATE.match(str((answer or {}).get("message"))) is not None
