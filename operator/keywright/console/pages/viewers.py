"""Who looks at a page, and what he sends. A form counts only if it is one of ours, made for his session."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from keywright.console.callers.caller import Caller
from keywright.console.pages.forms import Form
from keywright.console.problems import ProblemError
from keywright.console.service.keys import KeyService

__all__ = ["Viewer", "read_form", "receive", "service_for", "view"]

FIELDS = 200
_URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """``csrf`` goes into each form of his. ``until`` is when his session ends; who comes through a front proxy has
    none, and signs out there.
    """

    caller: Caller
    csrf: str
    until: datetime | None

    @property
    def may_change(self) -> bool:
        """Whether a key's scope stands in the way; what Kubernetes says is known when it is tried."""
        return self.caller.bounds is None or self.caller.bounds.may_manage


async def view(request: Request) -> Viewer:
    """Whoever looks.

    Raises:
        ProblemError: 401 for nobody, who is asked to sign in.

    """
    callers = request.app.state.callers
    visitor = await callers.visitor(request)
    viewer = Viewer(
        caller=visitor.caller,
        csrf=callers.sessions.csrf_token(visitor.session_id),
        until=datetime.fromtimestamp(visitor.expires_at, UTC) if visitor.expires_at is not None else None,
    )
    request.state.viewer = viewer
    request.state.session_id = visitor.session_id
    return viewer


async def receive(request: Request) -> tuple[Viewer, Form]:
    """Whoever sends a form, and the form.

    Raises:
        ProblemError: also for a form that was not made here for this session.

    """
    viewer = await view(request)
    form = await read_form(request)
    if not request.app.state.callers.sessions.is_csrf_token(request.state.session_id, form["csrf"]):
        raise ProblemError(403, "forbidden", "This form was not made for your session. Open its page anew.")
    return viewer, form


async def read_form(request: Request) -> Form:
    """The fields. Files are none.

    Raises:
        ProblemError: if it is no form.

    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _URLENCODED:
        raise ProblemError(415, "invalid_request", "That is not a form of these pages.")
    try:
        async with request.form(max_fields=FIELDS) as fields:
            return Form([(name, value) for name, value in fields.multi_items() if isinstance(value, str)])
    except (MultiPartException, HTTPException):
        raise ProblemError(400, "invalid_request", "The form cannot be read.") from None


def service_for(request: Request, viewer: Viewer) -> KeyService:
    """What he may do with keys."""
    return KeyService(request.app.state.served, viewer.caller)
