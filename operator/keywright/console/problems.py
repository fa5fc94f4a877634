"""What a caller is told instead of an answer (RFC 9457). Texts name the next step and never hold a key."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from keywright.errors import KeywrightError
from keywright.kube.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    ImpersonationError,
    NotFoundError,
)

__all__ = ["CONTENT_TYPE", "ProblemError", "as_problem", "render"]

CONTENT_TYPE = "application/problem+json"
AGAIN_SECONDS = "5"


class ProblemError(KeywrightError):
    """``status`` is of HTTP, ``code`` one word for programs, ``headers`` go with the answer."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def render(problem: ProblemError) -> bytes:
    """The document of a problem."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    return json.dumps(document).encode("ascii")


def as_problem(error: ApiError) -> ProblemError:
    """What the API server refused, for the one who asked, in so many words: whoever knows more of the request says it
    better. Nothing that the API server said is repeated.
    """
    match error:
        case ImpersonationError():
            return _unavailable(
                "The key service may not act for its callers here: bind ClusterRole keywright-console-acting to its "
                "account, and keywright-console-keys and keywright-console-secrets in each namespace that it serves."
            )
        case ForbiddenError() if error.status == HTTPStatus.FORBIDDEN:
            return ProblemError(403, "forbidden", "You have no right to this. Ask who administers the namespace.")
        case ApiUnavailableError() | ForbiddenError():
            # A 401 is about the service's own account.
            return _unavailable("The API server does not answer the key service. Try again later.")
        case NotFoundError():
            return ProblemError(404, "not_found", "There is no such key, or none that you may see.")
        case ConflictError() if error.reason == "AlreadyExists":
            return ProblemError(409, "already_exists", "There is a key of this name already. Choose another name.")
        case ConflictError():
            return ProblemError(409, "conflict", "The key was changed meanwhile. Look at it again, then try again.")
        case _:
            return ProblemError(422, "invalid_request", "The API server does not take this. Check the values.")


def _unavailable(detail: str) -> ProblemError:
    return ProblemError(503, "unavailable", detail, {"Retry-After": AGAIN_SECONDS})
