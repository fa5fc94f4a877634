"""Signing in and out. What is pasted is judged once and kept nowhere: the session says who it was, not by what."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from keywright.console.callers.origins import check_origin
from keywright.console.pages.addresses import local_address
from keywright.console.pages.refusals import PageRoute
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import read_form, receive
from keywright.console.problems import ProblemError

__all__ = ["router"]

router = APIRouter(route_class=PageRoute)

_NOTICES = {"ended": "Your session has ended. Nothing was done: sign in and do it again.", "out": "You are signed out."}


@router.get("/sign-in")
async def ask_who(request: Request) -> Response:
    """The form."""
    query = request.query_params
    return _form(
        request, query.get("next", "/"), notice=next((text for name, text in _NOTICES.items() if name in query), "")
    )


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begins a session, or says why not. Another site cannot sign anybody in here."""
    check_origin(request)
    form = await read_form(request)
    try:
        request.state.caller, session = await request.app.state.callers.sign_in(form["credential"])
    except ProblemError as problem:
        refused = problem
    else:
        answer = RedirectResponse(local_address(form["next"]), 303)
        _set_cookie(request, answer, session)
        return answer
    if refused.status not in (400, 401, 403, 422):
        raise refused
    return _form(request, form["next"], status=refused.status, problem=refused.detail)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Ends the session in this browser."""
    await receive(request)
    answer = RedirectResponse("/sign-in?out=1", 303)
    _set_cookie(request, answer, None)
    return answer


def _form(request: Request, wanted: str, *, status: int = 200, problem: str = "", notice: str = "") -> Response:
    settings = request.app.state.served.settings
    taken = {"Kubernetes token": settings.tokens, "Keywright key": settings.keys}
    return render(
        request,
        "sign_in.html",
        status=status,
        next=local_address(wanted),
        problem=problem,
        notice=notice,
        taken=[name for name, is_taken in taken.items() if is_taken],
        minutes=settings.session_minutes,
    )


def _set_cookie(request: Request, answer: Response, value: str | None) -> None:
    sessions = request.app.state.callers.sessions
    answer.set_cookie(
        sessions.cookie,
        value or "",
        max_age=None if value is not None else 0,
        path="/",
        secure=sessions.is_secure,
        httponly=True,
        samesite="strict",
    )
