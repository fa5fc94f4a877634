"""Making a key: the form, and the one answer that shows the key."""

from collections.abc import Sequence
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from keywright.console.pages.addresses import address
from keywright.console.pages.expiries import choices, last_date
from keywright.console.pages.forms import Filled, blank, new_request_id, read_filled, to_new_key
from keywright.console.pages.refusals import PageRoute, Refusal
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import receive, service_for, view
from keywright.console.pages.words import carrier_of
from keywright.console.problems import ProblemError
from keywright.console.service.addressed import Namespace
from keywright.console.service.views import ClassView

__all__ = ["router"]

router = APIRouter(route_class=PageRoute)


@router.get("/keys/{namespace}/new")
async def ask_for_key(request: Request, namespace: Namespace) -> Response:
    """The form, for the class that the address names or the default one."""
    viewer = await view(request)
    classes = await service_for(request, viewer).classes()
    chosen = _choose(classes, request.query_params.get("class", ""))
    return _form(request, namespace, classes, chosen, blank(chosen))


@router.post("/keys/{namespace}/new")
async def make_key(request: Request, namespace: Namespace) -> Response:
    """The key is in this answer and in no other. Sent again, the form makes no second one."""
    viewer, form = await receive(request)
    service = service_for(request, viewer)
    filled = read_filled(form)
    # Before there is a key: nothing may fail between its making and the page that shows it.
    classes = await service.classes()
    try:
        new = to_new_key(filled, form["class"], viewer.caller)
        issued = await service.create(namespace, new, idempotency_key=form["request"] or new_request_id())
    except ProblemError as problem:
        refused = problem
    else:
        if await request.is_disconnected():
            # Nobody is there to have it any more.
            await service.discard(issued)
            request.state.is_taken_back = True
        carrier = carrier_of(classes, issued.key.class_name)
        page = render(
            request,
            "made.html",
            status=201,
            key=issued.key,
            plain=issued.plain.text,
            carrier=carrier,
            is_rotated=False,
        )
        page.headers["Location"] = address(issued.key)
        return page
    if refused.code == "already_delivered":
        name = refused.headers.get("Location", "").rpartition("/")[2]
        # Of one that is called so this would be the address of the form.
        name = name if name != "new" else ""
        return render(request, "shown_once.html", status=409, namespace=namespace, name=name)
    if refused.status not in (400, 403, 409, 422):
        raise refused
    return _form(request, namespace, classes, _choose(classes, form["class"]), filled, refused)


def _form(
    request: Request,
    namespace: str,
    classes: Sequence[ClassView],
    chosen: ClassView,
    filled: Filled,
    refused: ProblemError | None = None,
) -> Response:
    return render(
        request,
        "new.html",
        status=200 if refused is None else refused.status,
        namespace=namespace,
        classes=classes,
        chosen=chosen,
        filled=filled,
        expiries=choices(chosen),
        last_date=last_date(chosen, datetime.now(UTC)),
        request_id=new_request_id(),
        problem=Refusal.of(refused) if refused is not None else None,
    )


def _choose(classes: Sequence[ClassView], name: str) -> ClassView:
    for each in classes:
        if each.name == name or (not name and each.is_default):
            return each
    if not classes:
        raise ProblemError(404, "not_found", "There is no class that keys could be of.")
    return classes[0]
