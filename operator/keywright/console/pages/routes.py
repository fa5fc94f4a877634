"""The router of the pages."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from keywright.console.pages import creation_pages, key_pages, owner_pages, sign_in_pages, table_page
from keywright.console.pages.addresses import keys_address
from keywright.console.pages.refusals import PageRoute, no_page
from keywright.console.pages.rendering import static_file
from keywright.console.service.addressed import Namespace

__all__ = ["router"]

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/static/{name}")
async def serve_static(request: Request, name: str) -> Response:
    """Style, script and sign. They are the same for everybody, so nobody is asked who he is."""
    return static_file(name) or no_page(request)


@router.get("/keys/{namespace}")
async def show_namespace(namespace: Namespace) -> Response:
    """Whoever cuts an address short wants the table."""
    return RedirectResponse(keys_address(namespace), 303)


# The form for a new key stands before the page of a key, which could be called new.
for each in (table_page, sign_in_pages, creation_pages, key_pages, owner_pages):
    router.include_router(each.router)
