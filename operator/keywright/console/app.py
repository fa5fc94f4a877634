"""The key service as an ASGI application: the faces that it has, and what holds for all of them."""

from collections import Counter
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from keywright.console.callers.gate import Callers
from keywright.console.connections.bodies import BoundedBodies
from keywright.console.connections.cookies import OwnCookie
from keywright.console.connections.hardening import Hardened
from keywright.console.connections.journal import Journal
from keywright.console.pages import routes as pages
from keywright.console.pages.refusals import no_page
from keywright.console.problems import CONTENT_TYPE, ProblemError, as_problem, render
from keywright.console.rest import routes as rest
from keywright.console.service.served import Served
from keywright.kube.errors import ApiError

__all__ = ["create_app"]

_CODES = {404: "not_found", 405: "invalid_request", 413: "too_large"}
_DETAILS = {
    404: "There is nothing at this address. GET /openapi.json says what there is.",
    405: "That cannot be done to this address. GET /openapi.json says what can.",
}


def create_app(served: Served, callers: Callers, answered: Counter[int]) -> ASGIApp:
    """Connect the parts. ``answered`` is counted up by the status of each answer."""
    app = FastAPI(title="Keywright", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.served = served
    app.state.callers = callers
    app.include_router(rest.router)
    if served.settings.pages:
        app.include_router(pages.router)
        app.add_exception_handler(404, _answer_no_page)
    for kind in (ProblemError, ApiError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_problem)
    return Journal(Hardened(BoundedBodies(OwnCookie(app, callers.sessions.cookie))), answered)


async def _answer_no_page(request: Request, error: Exception) -> Response:
    """A page for who looks around in a browser; for programs, a problem as everywhere."""
    is_browser = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if is_browser and not request.url.path.startswith("/v1/"):
        return no_page(request)
    return await _answer_problem(request, error)


async def _answer_problem(_: Request, error: Exception) -> Response:
    problem = error if isinstance(error, ProblemError) else _problem(error)
    return Response(render(problem), problem.status, problem.headers, CONTENT_TYPE)


def _problem(error: Exception) -> ProblemError:
    match error:
        case ApiError():
            return as_problem(error)
        case RequestValidationError():
            # Which fields are wrong, and never their values.
            wrong = sorted({".".join(map(str, each["loc"][1:])) or "body" for each in error.errors()})
            return ProblemError(422, "invalid_request", f"Not understood: {', '.join(wrong)}.")
        case HTTPException():
            status = HTTPStatus(error.status_code)
            code = _CODES.get(status, "invalid_request")
            detail = _DETAILS.get(status, status.description or status.phrase)
            return ProblemError(status, code, detail, error.headers)
        case _:
            return ProblemError(500, "unavailable", "The key service has a fault. Its log says more.")
