"""The keys of one user wherever they are, and revoking them all when he leaves."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from keywright.console.pages.addresses import owner_address
from keywright.console.pages.refusals import PageRoute
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import receive, service_for, view
from keywright.console.service.addressed import OwnerName

__all__ = ["router"]

router = APIRouter(route_class=PageRoute)


@router.get("/users")
async def ask_for_owner(request: Request) -> Response:
    """Whose keys?"""
    await view(request)
    owner = request.query_params.get("owner", "").strip()
    return RedirectResponse(owner_address(owner), 303) if owner else render(request, "users.html")


@router.get("/users/{owner:path}")
async def show_owner(request: Request, owner: OwnerName) -> Response:
    """His keys; with ``?confirm=revoke`` the question whether all of them shall be revoked, which names them."""
    viewer = await view(request)
    keys = await service_for(request, viewer).keys_of(owner)
    living = [each for each in keys if not each.revoked and not each.is_over]
    template = "user_revoke.html" if request.query_params.get("confirm") == "revoke" else "user.html"
    return render(request, template, owner=owner, keys=keys, living=living)


@router.post("/users/{owner:path}")
async def revoke_all(request: Request, owner: OwnerName) -> Response:
    """Says of each key what has become of it."""
    viewer, form = await receive(request)
    service = service_for(request, viewer)
    outcomes = await service.revoke_all_of(owner, form["reason"].strip()[:512] or None)
    failed = sum(each.problem is not None for each in outcomes)
    return render(request, "user_revoked.html", owner=owner, outcomes=outcomes, failed=failed)
