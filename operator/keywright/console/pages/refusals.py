"""Refusals as pages: what happened, and what to do next."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute

from keywright.console.pages.rendering import render
from keywright.console.pages.words import headline, next_step
from keywright.console.problems import ProblemError, as_problem
from keywright.kube.errors import ApiError

__all__ = ["PageRoute", "Refusal", "no_page", "sign_in_address"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem as a page says it."""

    title: str
    detail: str
    next_step: str

    @classmethod
    def of(cls, problem: ProblemError) -> "Refusal":
        """The same for people."""
        return cls(headline(problem.code), problem.detail, next_step(problem.code, problem.detail))


class PageRoute(APIRoute):
    """A route whose refusals are pages. Who is not known is asked to sign in, and comes back to where he was."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_with_pages(request: Request) -> Response:
            try:
                return await handle(request)
            except ProblemError as problem:
                refused = problem
            except ApiError as error:
                refused = as_problem(error)
            except RequestValidationError:
                return no_page(request)
            if refused.status == 401 and request.url.path != "/sign-in":
                return RedirectResponse(sign_in_address(request), 303)
            page = render(request, "problem.html", status=refused.status, problem=Refusal.of(refused))
            page.headers.update({name: value for name, value in refused.headers.items() if name == "Retry-After"})
            return page

        return handle_with_pages


def no_page(request: Request) -> Response:
    """For an address that leads nowhere."""
    told = Refusal("There is no such page", "Nothing is at this address.", "Begin at the list of keys.")
    return render(request, "problem.html", status=404, problem=told)


def sign_in_address(request: Request) -> str:
    """Where to sign in, and what to come back to. A form that was sent is not sent again by that."""
    if request.method != "GET":
        return "/sign-in?ended=1"
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/sign-in" if wanted == "/" else f"/sign-in?next={quote(wanted, safe='')}"
