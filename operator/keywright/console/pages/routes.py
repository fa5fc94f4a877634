"""The router of the pages."""

from fastapi import APIRouter
from fastapi.responses import Response

from keywright.console.pages import creation_pages, key_pages, owner_pages, sign_in_pages, table_page
from keywright.console.pages.refusals import PageRoute
from keywright.console.pages.rendering import static_file
from keywright.console.problems import ProblemError

__all__ = ["router"]

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/static/{name}")
async def serve_static(name: str) -> Response:
    """Style, script and sign. They are the same for everybody, so nobody is asked who he is."""
    found = static_file(name)
    if found is None:
        raise ProblemError(404, "not_found", "There is no file of that name.")
    return found


# The form for a new key stands before the page of a key, which could be called new.
for each in (table_page, sign_in_pages, creation_pages, key_pages, owner_pages):
    router.include_router(each.router)
