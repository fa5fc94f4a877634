"""What a refusal of the API server means to the caller. Pure: an error in, a problem out.

What the API server says of an ApiKey is for whoever asked; of a Secret it is for nobody.
"""

import re

from keywright.console.problems import ProblemError, as_problem
from keywright.domain.plainkey import redact
from keywright.kube.errors import ApiError, ApiUnavailableError, ForbiddenError, GoneError, ImpersonationError
from keywright.kube.refused import causes_in, message_in, policy_message, refused_user
from keywright.kube.resources import APIKEYS, SECRETS, Resource

__all__ = ["UnansweredError", "problem_of"]

# In `spec.ttl: Invalid value: "x": …` the value is the caller's, and is not repeated.
_VALUE = re.compile(r'(?:Invalid|Unsupported|Duplicate) value: (?:"(?:[^"\\]|\\.)*"|[^":,]*)(?:: )?')
# An API server that has only just started may not know yet what a policy refers to (docs/decisions/0008).
_NOT_YET = "paramKind"
_READING = ("get", "list")


class UnansweredError(ProblemError):
    """The API server did not say what has become of the request: it may have been carried out, or may be yet."""


def problem_of(error: ApiError, verb: str, resource: Resource) -> ProblemError:
    """The problem that tells the caller what to do."""
    answer = error.answer if resource != SECRETS else None
    policy, causes = policy_message(message_in(answer)), causes_in(answer)
    match error:
        case ApiUnavailableError():
            told = as_problem(error)
            return UnansweredError(told.status, told.code, told.detail, told.headers)
        case ImpersonationError() | ApiError(status=401):
            return as_problem(error)
        case ApiError(status=422) if policy is not None and _NOT_YET in policy:
            return ProblemError(
                503,
                "unavailable",
                "The API server has only just started. Try again in half a minute.",
                {"Retry-After": "30"},
            )
        case ForbiddenError():
            return ProblemError(403, "forbidden", redact(_why(message_in(answer), verb, resource)))
        case GoneError():
            return ProblemError(422, "invalid_request", "cursor: it is too old. Begin the list again.")
        case ApiError(status=413):
            return ProblemError(413, "too_large", "The API server finds that too large.")
        case ApiError(status=400 | 422) if policy is not None or causes:
            return ProblemError(422, "invalid_request", redact(policy or _VALUE.sub("", causes)))
        case _:
            return as_problem(error)


def _why(message: str, verb: str, resource: Resource) -> str:
    """What a policy says, or another part of the API server that is not RBAC: a quota, a namespace that goes."""
    policy = policy_message(message)
    if policy is not None:
        return policy
    _, is_told, reason = message.partition(" is forbidden: ")
    return reason if is_told and refused_user(message) is None else _may_not(verb, resource)


def _may_not(verb: str, resource: Resource) -> str:
    if resource == APIKEYS:
        role = "keywright-view" if verb in _READING else "keywright-edit"
        return f"You may not {verb} {resource.plural} here. Ask an administrator for the ClusterRole {role}."
    return f"You may not {verb} {resource.plural} here. Ask an administrator for that right."
