"""The table of a namespace's keys."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from keywright.console.callers.people import SERVICE_ACCOUNT
from keywright.console.pages.actions import notice_of
from keywright.console.pages.listing import STATUSES, gather, read_asked
from keywright.console.pages.refusals import PageRoute, Refusal
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import service_for, view
from keywright.console.problems import ProblemError

__all__ = ["router"]

router = APIRouter(route_class=PageRoute)


@router.get("/")
async def show_keys(request: Request) -> Response:
    """The filters are of the address, so that a search can be kept as a bookmark."""
    viewer = await view(request)
    service = service_for(request, viewer)
    asked = read_asked(request.query_params)
    namespaces = await service.namespaces()
    namespace = request.query_params.get("namespace") or _first_choice(namespaces, viewer.caller.user)
    listing, problem = None, None
    if namespace:
        try:
            listing = await gather(service, namespace, viewer.caller.user, asked)
        except ProblemError as refused:
            if refused.status not in (403, 404, 422):
                raise
            problem = refused
    return render(
        request,
        "keys.html",
        status=200 if problem is None else problem.status,
        namespaces=sorted({*namespaces, namespace} - {""}) if namespaces else [],
        namespace=namespace,
        statuses=STATUSES,
        asked=asked,
        listing=listing,
        problem=Refusal.of(problem) if problem is not None else None,
        notice=notice_of(request.query_params.get("done", "")),
    )


def _first_choice(namespaces: Sequence[str], user: str) -> str:
    """An account's own namespace, if it may be that; else the first."""
    home = user.removeprefix(SERVICE_ACCOUNT).partition(":")[0] if user.startswith(SERVICE_ACCOUNT) else ""
    if home in namespaces or not namespaces:
        return home
    return namespaces[0]
