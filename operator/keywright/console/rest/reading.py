"""What a request says, read strictly: where JSON leaves open what is meant, nothing is guessed."""

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.faults import say_fault
from keywright.console.service.keys import KeyService
from keywright.domain.plainkey import redact

__all__ = [
    "Idempotency",
    "Limit",
    "StrictRoute",
    "service_of",
    "version_of",
]

DEEPEST = 16
MOST_FAULTS = 8

Idempotency = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="A request that is repeated with the same makes nothing twice.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=200, description="The ETag of the key as it is known; 412 if it is not so."),
]


class StrictRequest(Request):
    """Raises JSONDecodeError where a name stands twice, for what JSON does not know, and for depths nobody needs."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            document = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
            _check_depth(document, DEEPEST)
        except (ValueError, RecursionError):
            # Without the text: what it was belongs into no message.
            pass
        else:
            return document
        raise json.JSONDecodeError("no JSON", "", 0)


class StrictRoute(APIRoute):
    """A route whose requests are read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = {each.alias for each in self.dependant.query_params}

        async def strictly(request: Request) -> Response:
            _check_names(request, known)
            try:
                return await handle(StrictRequest(request.scope, request.receive))
            except RequestValidationError as error:
                # It carries what was sent, so nothing is chained to it.
                told = _told(error)
            raise ProblemError(422, "invalid_request", told)

        return strictly


async def service_of(request: Request) -> KeyService:
    """The key service as the one who asks may use it."""
    caller: Caller = await request.app.state.callers.identify(request)
    return KeyService(request.app.state.served, caller)


def version_of(if_match: IfMatch = None) -> str | None:
    """The version that the key has to have, ``None`` for any."""
    if if_match is None or if_match == "*":
        return None
    # A weak one, or a list, is none that we have given out.
    if len(if_match) < 3 or not (if_match[0] == if_match[-1] == '"') or not if_match[1:-1].isalnum():
        raise ProblemError(412, "conflict", "If-Match: that is no ETag of a key. Take it from the answer to a GET.")
    return if_match[1:-1]


Limit = Annotated[int, Query(ge=1, le=500, description="Keys in one answer, at most.")]


def _check_names(request: Request, known: set[str]) -> None:
    """Refuse a parameter that means nothing here: a list with a mistyped filter would be taken for what was meant. And
    whatever is said twice, of which one would be left out.
    """
    named = [name for name, _ in request.query_params.multi_items()]
    if not known.issuperset(named):
        raise ProblemError(422, "invalid_request", f"query: it takes {', '.join(sorted(known)) or 'nothing'}.")
    if len(set(named)) != len(named):
        raise ProblemError(422, "invalid_request", "query: name each parameter once.")
    if any(len(request.headers.getlist(name)) > 1 for name in ("If-Match", "Idempotency-Key")):
        raise ProblemError(422, "invalid_request", "If-Match, Idempotency-Key: send each once.")


def _told(error: RequestValidationError) -> str:
    """Which fields, and what is wrong with each; of what was sent only the names of fields."""
    faults = []
    for each in error.errors()[:MOST_FAULTS]:
        if each["type"] == "json_invalid":
            faults.append("body: it is no JSON document, or one that can be read in two ways")
            continue
        place = ".".join(redact(str(part))[:64] for part in each["loc"][1:])
        faults.append(f"{place or each['loc'][0]}: {say_fault(each)}")
    return "; ".join(faults)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document


def _no_constant(_: str) -> None:
    raise ValueError("no number")


def _check_depth(document: Any, left: int) -> None:
    if left == 0:
        raise ValueError("too deep")
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for each in document:
            _check_depth(each, left - 1)
