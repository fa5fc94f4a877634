"""What the API server refused, translated at the border.

Only the HTTP status and the machine-readable reason are kept. A response body may quote the object that was
sent, and that object may be a Secret.
"""

from keywright.errors import KeywrightError

__all__ = [
    "ApiError",
    "ApiUnavailableError",
    "ConflictError",
    "ForbiddenError",
    "GoneError",
    "NotFoundError",
    "QuietError",
    "from_response",
]


class ApiError(KeywrightError):
    """The API server refused a request. ``status`` is the HTTP status, ``reason`` Kubernetes' own word."""

    def __init__(self, status: int, reason: str, what: str) -> None:
        answered = f"answered {status} {reason}" if status else f"did not answer ({reason})"
        super().__init__(f"{what}: the API server {answered}")
        self.status = status
        self.reason = reason

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


def from_response(status: int, reason: str, what: str) -> ApiError:
    """The exception for one refused request; ``what`` is verb and path."""
    kinds: dict[int, type[ApiError]] = {
        401: ForbiddenError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        410: GoneError,
    }
    kind = kinds.get(status, ApiUnavailableError if status >= 500 or status == 429 else ApiError)
    return kind(status, reason, what)
