"""What a refusal of the API server means, and the next step. Pure: an attempt and an answer in, a line out."""

import re
import shlex
from dataclasses import dataclass

from keywright.kube.refused import Answer, causes_in, message_in, policy_message, refused_user
from keywright.kube.resources import APIKEYS, SECRETS, Resource

__all__ = ["Attempt", "explain"]

_READING = ("get", "list")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried. ``namespace`` is ``None`` for all of them, ``name`` for a whole collection."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str | None = None

    def __str__(self) -> str:
        what = f"{self.resource.plural} {self.name}" if self.name else self.resource.plural
        return f"{self.verb} {what} in {f'namespace {self.namespace}' if self.namespace else 'all namespaces'}"


def explain(attempt: Attempt, status: int, answer: Answer | None, context: str) -> str:
    """One line for a person. ``answer`` is the Status object that came with it, if one did."""
    message = message_in(answer)
    denied = policy_message(message)
    if denied is not None:
        return f"refused: {denied} (who may do what: docs/guides/permissions.md)"
    match status:
        # Credentials that could not be had are no credentials: there is nobody to give a right to.
        case 401 | 403 if status == 401 or 'User "system:anonymous"' in message:
            return f"the API server does not accept your credentials of context {context}: log in again"
        case 403:
            return _forbidden(attempt, message)
        case 404 if answer is None and attempt.resource == APIKEYS:
            return f"the cluster of context {context} has no ApiKeys: install Keywright there, or use another --context"
        case 404:
            return f"there is no such object ({message or attempt}): look with kubectl apikey list"
        case 409 if (answer or {}).get("reason") == "AlreadyExists":
            return (
                f"there is an ApiKey {attempt.name} in namespace {attempt.namespace}: choose another name, "
                f"or have its key with kubectl apikey reveal {attempt.name}"
            )
        case 409:
            return f"{attempt.name} was changed or replaced meanwhile: look at it, and try again"
        case 400 | 422:
            return f"refused: {causes_in(answer) or message}: correct it and try again"
        case _:
            said = message or "no Kubernetes API server by its answer"
            return f"cannot {attempt}: {status} {said}: try again, and check the context {context}"


def _forbidden(attempt: Attempt, message: str) -> str:
    user = refused_user(message)
    if user is None:
        return f"you may not {attempt}: {message or 'no reason given'}"
    right = f"{attempt.verb} on {attempt.resource.plural}"
    if attempt.resource != APIKEYS:
        role = " (Kubernetes' edit role has it)" if attempt.resource == SECRETS else ""
        return f"you ({user}) may not {attempt}: ask for the right {right}{role} there"
    role = "keywright-view" if attempt.verb in _READING else "keywright-edit"
    return f"you ({user}) may not {attempt}: ask an administrator for {_binding(attempt, role, user)}"


def _binding(attempt: Attempt, role: str, user: str) -> str:
    kind, where = ("rolebinding", f" -n {attempt.namespace}") if attempt.namespace else ("clusterrolebinding", "")
    account = re.fullmatch("system:serviceaccount:([^:]+):([^:]+)", user)
    who = f"--serviceaccount={account[1]}:{account[2]}" if account else f"--user={shlex.quote(user)}"
    name = shlex.quote(f"{role}-{user.rpartition(':')[2]}")
    return f"kubectl create {kind} {name} --clusterrole={role} {who}{where}"
